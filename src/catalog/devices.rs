//! The thin devices of a pool.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};

use super::{Catalog, CatalogError, Durability, Prepared};
use crate::dm::Name;
use crate::units::{Bytes, DeviceId, TransactionId};

/// A thin device that the catalog knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id in the pool.
    pub id: DeviceId,
    /// Its device-mapper name when it is active.
    pub node: Name,
    /// What it is for.
    pub kind: DeviceKind,
    /// How far its life has come.
    pub state: DeviceState,
    /// What it is a snapshot of; the base has none. The origin may be gone since.
    pub origin: Option<DeviceId>,
    /// Its length. The pool keeps none: this is the only record of it.
    pub size: Bytes,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Whether the file system in it may still be smaller: it got a larger size, and whoever was to grow the file system
    /// has not come to the end.
    pub growing: bool,
}

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// An empty file system that everything descends from.
    Base,
    /// A layer of an image: never changed once it is ready.
    Image,
    /// A container's: writable.
    Container,
}

/// How far a device's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// The pool may have it or not: an intent says.
    Pending,
    /// The pool has it and somebody fills it. Should that process die, the device is of no use to anybody.
    Draft,
    /// It is there and acknowledged.
    Ready,
    /// It is to be deleted, as soon as nobody uses it.
    Deleted,
}

/// How many ready devices there are of each kind, and how many wait for their deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bases.
    pub bases: u64,
    /// Image layers.
    pub layers: u64,
    /// Images, by name.
    pub images: u64,
    /// Containers.
    pub containers: u64,
    /// Devices that wait for their deletion.
    pub deleted: u64,
}

/// Stores an enumeration as a word that a person can read in the file.
macro_rules! stored_as_word {
    ($type:ty { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
                Ok(match self { $(Self::$variant => $word),+ }.into())
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Self::$variant),)+
                    other => Err(FromSqlError::Other(format!("'{other}' is not known here").into())),
                }
            }
        }
    };
}

stored_as_word!(DeviceKind { Base => "base", Image => "image", Container => "container" });
stored_as_word!(DeviceState { Pending => "pending", Draft => "draft", Ready => "ready", Deleted => "deleted" });

impl ToSql for DeviceId {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(i64::from(self.get()).into())
    }
}

impl FromSql for DeviceId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let id = value.as_i64()?;
        u32::try_from(id).ok().and_then(|id| id.try_into().ok()).ok_or(FromSqlError::OutOfRange(id))
    }
}

impl ToSql for Bytes {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        // SQLite's integers are signed, and a size that came back negative could never be read again.
        let size =
            i64::try_from(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(size.into())
    }
}

impl FromSql for Bytes {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let size = value.as_i64()?;
        u64::try_from(size).map(Bytes).map_err(|_| FromSqlError::OutOfRange(size))
    }
}

impl Catalog {
    /// The ids of all devices, whatever their state.
    pub fn device_ids(&self) -> Result<Vec<DeviceId>, CatalogError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id FROM device ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// One device.
    pub fn device(&self, id: DeviceId) -> Result<Option<Device>, CatalogError> {
        self.read(|connection| {
            connection.ask("SELECT * FROM device WHERE id = ?1", [id], from_row).optional()
        })
    }

    /// The base, once it is ready.
    pub fn base(&self) -> Result<Option<Device>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM device WHERE kind = 'base' AND state = 'ready'";
            connection.ask(query, [], from_row).optional()
        })
    }

    /// Every device in a state, by id.
    pub fn devices_in(&self, state: DeviceState) -> Result<Vec<Device>, CatalogError> {
        self.read(|connection| {
            // The index has those that aren't ready, and SQLite takes it only if the query says that these are meant.
            let those = if state == DeviceState::Ready { "" } else { "AND state != 'ready'" };
            let query = format!("SELECT * FROM device WHERE state = ?1 {those} ORDER BY id");
            connection.prepare_cached(&query)?.query_map([state], from_row)?.collect()
        })
    }

    /// How many devices there are. Nearly all are containers: they are what is left of all, which `SQLite` counts page by page
    /// (its `OP_Count`), when the others are taken off, which it counts one by one.
    pub fn counts(&self) -> Result<Counts, CatalogError> {
        const COUNTS: &str = "
            WITH counted AS (
                SELECT (SELECT count(*) FROM device) AS devices,
                       (SELECT count(*) FROM device WHERE state != 'ready') AS unready,
                       (SELECT count(*) FROM device WHERE kind = 'base' AND state = 'ready') AS bases,
                       (SELECT count(*) FROM device WHERE kind = 'image' AND state = 'ready') AS layers)
            SELECT bases, layers, max(devices - unready - bases - layers, 0) AS containers,
                   (SELECT count(*) FROM image) AS images,
                   (SELECT count(*) FROM device WHERE state != 'ready' AND state = 'deleted') AS deleted
            FROM counted";
        self.read(|connection| {
            connection.ask(COUNTS, [], |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
                Ok(Counts {
                    bases: count("bases")?,
                    layers: count("layers")?,
                    images: count("images")?,
                    containers: count("containers")?,
                    deleted: count("deleted")?,
                })
            })
        })
    }

    /// How many devices there are, whatever their state.
    pub fn device_count(&self) -> Result<u64, CatalogError> {
        let count = |row: &Row<'_>| row.get::<_, i64>(0).map(i64::cast_unsigned);
        self.read(|connection| connection.ask("SELECT count(*) FROM device", [], count))
    }

    /// Records how far a device's life has come.
    pub fn set_device_state(
        &mut self,
        id: DeviceId,
        state: DeviceState,
        durability: Durability,
    ) -> Result<(), CatalogError> {
        self.change(durability, |transaction| set_state(transaction, id, state))
    }

    /// Records, durably, that a device has this size from now on, and that the file system in it is still to follow. What
    /// else belongs to it is written by `and`.
    pub(crate) fn begin_device_growth(
        &mut self,
        id: DeviceId,
        size: Bytes,
        and: impl FnOnce(&Transaction<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let query = "UPDATE device SET size = ?2, growing = 1 WHERE id = ?1";
            transaction.tell(query, (id, size))?;
            and(transaction)
        })
    }

    /// The devices that are to grow, or whose file system is, by id.
    pub fn growing_devices(&self) -> Result<Vec<Device>, CatalogError> {
        self.read(|connection| {
            let mut query = connection
                .prepare_cached("SELECT * FROM device WHERE growing = 1 AND state = 'ready' ORDER BY id")?;
            query.query_map([], from_row)?.collect()
        })
    }

    /// Records that the file system fills its device. Should a power cut lose this, it is only found once more that it does.
    pub fn end_device_growth(&mut self, id: DeviceId) -> Result<(), CatalogError> {
        self.change(Durability::Ordered, |transaction| {
            transaction.tell("UPDATE device SET growing = 0 WHERE id = ?1", [id]).map(drop)
        })
    }

    /// An id above `after` that no device has, or `None` when all 2^24 are taken. The one after the last while
    /// there is such a one; only then gaps are searched, which reads all ids.
    pub fn free_id(&self, after: DeviceId) -> Result<Option<DeviceId>, CatalogError> {
        const LAST: &str = "SELECT max(coalesce(max(id), 0), ?1) + 1 FROM device";
        const GAP: &str = "SELECT id + 1 FROM device AS one WHERE id >= ?1
                           AND NOT EXISTS (SELECT 1 FROM device WHERE id = one.id + 1) ORDER BY id LIMIT 1";
        let in_range = |id: i64| u32::try_from(id).ok().and_then(|id| DeviceId::try_from(id).ok());
        self.read(|connection| {
            let after_last = connection.ask(LAST, [after], |row| row.get(0))?;
            if let Some(id) = in_range(after_last) {
                return Ok(Some(id));
            }
            let gap = connection.ask(GAP, [after], |row| row.get(0)).optional()?;
            Ok(gap.and_then(in_range))
        })
    }

    /// The device that has, or had while it was active, a device-mapper name.
    pub fn device_by_node(&self, node: &Name) -> Result<Option<Device>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM device WHERE node = ?1";
            connection.ask(query, [node.as_str()], from_row).optional()
        })
    }
}

/// Writes down a new device, and the pool's transaction id when it was made. The kernel keeps that with the device, so it tells
/// this device from any other that has, had or will have its id.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    device: &Device,
    made_at: TransactionId,
) -> Result<(), rusqlite::Error> {
    let change = "INSERT INTO device (id, node, kind, state, origin, size, created, growing, made_at)
                  VALUES (:id, :node, :kind, :state, :origin, :size, :created, :growing, :made_at)";
    let values = named_params! {
        ":id": device.id, ":node": device.node.as_str(), ":kind": device.kind, ":state": device.state, ":origin": device.origin,
        ":size": device.size, ":created": device.created, ":growing": device.growing, ":made_at": made_at.0.cast_signed(),
    };
    transaction.tell(change, values).map(drop)
}

pub(super) fn set_state(
    transaction: &Transaction<'_>,
    id: DeviceId,
    state: DeviceState,
) -> Result<(), rusqlite::Error> {
    transaction.tell("UPDATE device SET state = ?2 WHERE id = ?1", (id, state)).map(drop)
}

/// Whether a device is there and acknowledged.
pub(super) fn is_ready(transaction: &Transaction<'_>, id: DeviceId) -> Result<bool, rusqlite::Error> {
    let query = "SELECT EXISTS (SELECT 1 FROM device WHERE id = ?1 AND state = 'ready')";
    transaction.ask(query, [id], |row| row.get(0))
}

pub(super) fn delete(transaction: &Transaction<'_>, id: DeviceId) -> Result<(), rusqlite::Error> {
    transaction.tell("DELETE FROM device WHERE id = ?1", [id]).map(drop)
}

pub(super) fn from_row(row: &Row<'_>) -> Result<Device, rusqlite::Error> {
    let node: String = row.get("node")?;
    Ok(Device {
        id: row.get("id")?,
        node: Name::new(node)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))?,
        kind: row.get("kind")?,
        state: row.get("state")?,
        origin: row.get("origin")?,
        size: row.get("size")?,
        created: row.get("created")?,
        growing: row.get("growing")?,
    })
}

/// A device that must be there, since something refers to it.
pub(super) fn get(connection: &Connection, id: DeviceId) -> Result<Device, rusqlite::Error> {
    connection.ask("SELECT * FROM device WHERE id = ?1", [id], from_row)
}

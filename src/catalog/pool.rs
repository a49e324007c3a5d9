//! The record of the pool itself.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use serde::{Deserialize, Serialize};

use super::{Catalog, CatalogError, Durability, PoolFile, Prepared};
use crate::backing::Backing;
use crate::fs::FileSystem;
use crate::thin_tools::Checked;
use crate::units::{BlockSize, Bytes, DeviceId, Percent, TransactionId};

/// A pool as it was set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    /// What all its device-mapper devices carry in their uuids.
    pub uuid: uuid::Uuid,
    /// How far its life has come.
    pub state: PoolState,
    /// The pool's transaction id, as far as outcomes are known.
    pub transaction_id: TransactionId,
    /// When it was set up, in seconds since 1970.
    pub created: i64,
    /// Where its blocks come from.
    pub backing: Backing,
    /// What was decided at setup, for the pool's whole life.
    pub policy: Policy,
    /// Whether it was deactivated in order since it was last active: then its metadata is as the kernel left it.
    pub clean: bool,
}

/// A check of a pool's metadata before it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataCheck {
    /// When, in seconds since 1970.
    pub at: i64,
    /// Whether the pool had been put to rest in order.
    pub clean: bool,
    /// What came out.
    pub checked: Checked,
}

/// How far a pool's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolState {
    /// A setup is at work, or was killed. Nothing in it was acknowledged yet.
    SettingUp,
    /// It can be used.
    Ready,
    /// A destroy is at work, or was killed. Nothing in it is to be kept.
    Destroying,
}

/// What was decided at setup. It is stored with the pool, so that no configuration file that changed later can
/// make a pool another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is one of the user's settings")]
pub struct Policy {
    /// The size of the data device.
    pub data_size: Bytes,
    /// The size of the metadata device.
    pub metadata_size: Bytes,
    /// The size of the data blocks.
    pub block_size: BlockSize,
    /// The size of the base device.
    pub base_size: Bytes,
    /// The file system of everything in the pool.
    pub filesystem: FileSystem,
    /// Arguments that mkfs was given besides ours.
    pub mkfs_arguments: Vec<String>,
    /// Options of every mount.
    pub mount_options: Vec<String>,
    /// Whether new blocks are zeroed.
    pub zero_new_blocks: bool,
    /// Whether a device's blocks are discarded before it is deleted.
    pub discard_on_remove: bool,
    /// No new device is made when less than this share of data or of metadata is free. 0% is off.
    pub min_free_space: Percent,
    /// Whether busy devices are removed at their last close.
    pub deferred_removal: bool,
    /// Whether devices still in use can be deleted, and are gone when they no longer are.
    pub deferred_deletion: bool,
    /// How often XFS retries metadata writes that find no space; the kernel's default is for ever.
    pub xfs_nospace_max_retries: Option<u32>,
    /// How full the data gets before the pool is to be grown.
    #[serde(default = "usual_threshold")]
    pub autoextend_threshold: Percent,
    /// By how much of its size it is to be grown then.
    #[serde(default = "usual_growth")]
    pub autoextend_percent: Percent,
}

/// What pools had before it could be set.
fn usual_threshold() -> Percent {
    percent(80)
}

/// The same.
fn usual_growth() -> Percent {
    percent(20)
}

fn percent(number: u8) -> Percent {
    // Both are percentages.
    Percent::try_from(number).unwrap_or_default()
}

impl PoolState {
    fn as_str(self) -> &'static str {
        match self {
            Self::SettingUp => "setting-up",
            Self::Ready => "ready",
            Self::Destroying => "destroying",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::SettingUp, Self::Ready, Self::Destroying].into_iter().find(|state| state.as_str() == text)
    }
}

impl Catalog {
    /// The pool's record, or `None` if a setup was killed before it wrote one.
    pub fn pool(&self) -> Result<Option<PoolRecord>, CatalogError> {
        self.read(|connection| connection.ask("SELECT * FROM pool", [], from_row).optional())
    }

    /// Records that a pool is being set up.
    pub fn begin_pool(&mut self, pool: &PoolRecord) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| insert(transaction, pool))
    }

    /// Records what a setup has made of the pool's backing by now, and how large that came out.
    pub fn set_backing(&mut self, backing: &Backing, policy: &Policy) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let values = [json(backing)?, json(policy)?];
            transaction.tell("UPDATE pool SET backing = ?1, policy = ?2", values).map(drop)
        })?;
        self.keep_pool_file()
    }

    /// Records, durably, that the base has this size from now on, and that the file system in it is still to follow.
    pub fn begin_base_growth(&mut self, base: DeviceId, policy: &Policy) -> Result<(), CatalogError> {
        let values = [json(policy).map_err(self.failed("write"))?];
        self.begin_device_growth(base, policy.base_size, |transaction| {
            transaction.tell("UPDATE pool SET policy = ?1", values).map(drop)
        })
    }

    /// What the last check of the metadata came to.
    pub fn metadata_check(&self) -> Result<Option<MetadataCheck>, CatalogError> {
        self.read(|connection| {
            let checked = connection.ask("SELECT checked FROM pool", [], |row| {
                let known = row.get::<_, Option<String>>("checked")?;
                known.map(|_| from_json(row, "checked")).transpose()
            });
            checked.optional().map(Option::flatten)
        })
    }

    /// Records what a check of the metadata came to. A power cut may lose it: then the next activation checks again.
    pub fn set_metadata_check(&mut self, check: &MetadataCheck) -> Result<(), CatalogError> {
        self.change(Durability::Ordered, |transaction| {
            transaction.tell("UPDATE pool SET checked = ?1", [json(check)?]).map(drop)
        })
    }

    /// Records whether the pool is at rest in good order. That it no longer is must be known before it is active.
    pub fn set_clean(&mut self, clean: bool) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            transaction.tell("UPDATE pool SET clean = ?1", [clean]).map(drop)
        })
    }

    /// Records how far the pool's life has come. One that is ready is written down in a second place too.
    pub fn set_pool_state(&mut self, state: PoolState) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            transaction.tell("UPDATE pool SET state = ?1", [state.as_str()]).map(drop)
        })?;
        match state {
            PoolState::Ready => self.keep_pool_file(),
            PoolState::SettingUp | PoolState::Destroying => PoolFile::remove(&self.path),
        }
    }

    /// Writes down in a second place what the pool is. A pool that is only half set up has no such file.
    pub fn keep_pool_file(&self) -> Result<(), CatalogError> {
        match self.pool()? {
            Some(pool) if pool.state == PoolState::Ready => PoolFile::of(&pool).keep(&self.path),
            _ => Ok(()),
        }
    }

    /// What is known of the pool's snapshot clock.
    pub fn clock(&self) -> Result<Option<Clock>, CatalogError> {
        self.read(|connection| {
            let clock = connection.ask("SELECT clock FROM pool", [], |row| {
                let known = row.get::<_, Option<String>>("clock")?;
                known.map(|_| from_json(row, "clock")).transpose()
            });
            clock.optional().map(Option::flatten)
        })
    }

    /// Records where the pool's snapshot clock stood.
    pub fn set_clock(&mut self, clock: Clock) -> Result<(), CatalogError> {
        self.change(Durability::Ordered, |transaction| {
            transaction.tell("UPDATE pool SET clock = ?1", [json(&clock)?]).map(drop)
        })
    }
}

/// Where a pool's snapshot clock stood at a moment: it grows by one with each snapshot, and so with one of the changes
/// that raise the transaction id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// The clock.
    pub time: u32,
    /// The pool's transaction id at that moment.
    pub transaction: TransactionId,
}

impl Clock {
    /// When the clock has come so far, no snapshot more may be made. The kernel packs it into the lower 24 bits of each
    /// mapping (`pack_block_time` in drivers/md/dm-thin-metadata.c) and doesn't look: the bits beyond would become part of
    /// the block's number.
    pub const END: u64 = 1 << 24;

    /// The most that the clock can show at a later transaction id.
    #[must_use]
    pub fn at_most(&self, now: TransactionId) -> u64 {
        u64::from(self.time).saturating_add(now.0.saturating_sub(self.transaction.0))
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, pool: &PoolRecord) -> Result<(), rusqlite::Error> {
    transaction.tell(
        "INSERT INTO pool (one, uuid, state, transaction_id, created, backing, policy, clean)
         VALUES (1, :uuid, :state, :transaction_id, :created, :backing, :policy, :clean)",
        named_params! {
            ":uuid": pool.uuid.to_string(),
            ":state": pool.state.as_str(),
            ":transaction_id": pool.transaction_id.0.cast_signed(),
            ":created": pool.created,
            ":backing": json(&pool.backing)?,
            ":policy": json(&pool.policy)?,
            ":clean": pool.clean,
        },
    )?;
    Ok(())
}

pub(super) fn from_row(row: &Row<'_>) -> Result<PoolRecord, rusqlite::Error> {
    let uuid: String = row.get("uuid")?;
    let state: String = row.get("state")?;
    let wrong = |what: &str| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.to_owned().into());
    Ok(PoolRecord {
        uuid: uuid.parse().map_err(|_| wrong("the pool's uuid is not one"))?,
        state: PoolState::parse(&state).ok_or_else(|| wrong("the pool's state is unknown"))?,
        transaction_id: transaction_id(row, "transaction_id")?,
        created: row.get("created")?,
        backing: from_json(row, "backing")?,
        policy: from_json(row, "policy")?,
        clean: row.get("clean")?,
    })
}

/// The transaction id of the last change whose outcome is known.
pub(super) fn known_transaction_id(connection: &Connection) -> Result<TransactionId, rusqlite::Error> {
    connection.ask("SELECT transaction_id FROM pool", [], |row| transaction_id(row, "transaction_id"))
}

/// SQLite's integers are signed; the same 64 bits go in and come out.
pub(super) fn transaction_id(row: &Row<'_>, column: &str) -> Result<TransactionId, rusqlite::Error> {
    row.get::<_, i64>(column).map(|id| TransactionId(id.cast_unsigned()))
}

pub(super) fn json(value: &impl Serialize) -> Result<String, rusqlite::Error> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn from_json<T: for<'a> Deserialize<'a>>(
    row: &Row<'_>,
    column: &str,
) -> Result<T, rusqlite::Error> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

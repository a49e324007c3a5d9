//! The records as they are, whether they can be understood or not.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};

use super::{Catalog, CatalogError, Device, containers, devices, images};
use crate::units::{DeviceId, TransactionId};

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// An image.
    Image,
    /// A container.
    Container,
    /// A layer.
    Layer,
    /// A device. The last: all others refer to one.
    Device,
}

/// By what a record is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A device's id, whether it can be one or not.
    Number(i64),
    /// A name, or a layer's chain id.
    Text(String),
}

/// A record, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is of.
    pub kind: RecordKind,
    /// By what it is found.
    pub key: Key,
    /// Its columns.
    pub columns: Map<String, Value>,
}

/// A record that can't be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub record: Record,
    /// Why not.
    pub why: String,
}

/// A device that the catalog has, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The device.
    pub device: Device,
    /// The pool's transaction id when it was made; not known of devices of older catalogs.
    pub made_at: Option<TransactionId>,
    /// The container's name, if it is one's.
    pub container: Option<String>,
    /// Whether it is a finished layer's.
    pub is_layer: bool,
    /// Whether it is to have its node whenever the pool is active.
    pub active: bool,
}

impl RecordKind {
    /// All of them, those first that refer to others.
    pub const ALL: [RecordKind; 4] = [Self::Image, Self::Container, Self::Layer, Self::Device];

    /// The word for it, which is also its table's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Container => "container",
            Self::Layer => "layer",
            Self::Device => "device",
        }
    }

    pub(super) fn key_column(self) -> &'static str {
        match self {
            Self::Image | Self::Container => "name",
            Self::Layer => "chain",
            Self::Device => "id",
        }
    }

    /// Whether a row can be understood.
    fn parse(self, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        match self {
            Self::Image => images::readable(row),
            Self::Container => containers::readable(row),
            Self::Layer => images::layer_from_row(row).map(drop),
            Self::Device => devices::from_row(row).map(drop),
        }
    }

    /// Which records of this kind refer to what is not there, and how that is said.
    fn dangling(self) -> &'static [(&'static str, &'static str)] {
        const NO_DEVICE: (&str, &str) =
            ("device NOT IN (SELECT id FROM device)", "its device is not in the catalog");
        match self {
            Self::Image => &[
                NO_DEVICE,
                ("chain NOT IN (SELECT chain FROM layer)", "its uppermost layer is not in the catalog"),
            ],
            Self::Container | Self::Layer => &[NO_DEVICE],
            Self::Device => &[
                (
                    "kind = 'image' AND state = 'ready' AND id NOT IN (SELECT device FROM layer)",
                    "it is an image's, and no layer has it",
                ),
                (
                    "kind = 'container' AND state = 'ready' AND id NOT IN (SELECT device FROM container)",
                    "it is a container's, and no container has it",
                ),
                (
                    "state = 'pending' AND id NOT IN (SELECT device FROM intent)",
                    "it was about to be made, and nothing says by which change",
                ),
            ],
        }
    }
}

impl Catalog {
    /// What SQLite has to say against the file itself: nothing if it is sound.
    pub fn damages(&self) -> Result<Vec<String>, CatalogError> {
        self.read(|connection| {
            let mut query = connection.prepare("PRAGMA integrity_check(16)")?;
            let said = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            Ok(said.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Every record that can't be understood, or that refers to what is not there.
    pub fn suspects(&self) -> Result<Vec<Suspect>, CatalogError> {
        self.read(|connection| {
            let mut suspects = unreadable(connection)?;
            for kind in RecordKind::ALL {
                for (condition, why) in kind.dangling() {
                    let found = records(connection, kind, condition, ())?.into_iter();
                    let new = found.map(|(record, _)| record).filter(|record| {
                        !suspects
                            .iter()
                            .any(|suspect| suspect.record.key == record.key && suspect.record.kind == kind)
                    });
                    let new: Vec<_> = new.map(|record| Suspect { record, why: (*why).to_owned() }).collect();
                    suspects.extend(new);
                }
            }
            Ok(suspects)
        })
    }

    /// Every device that can be understood, by id.
    pub fn entries(&self) -> Result<Vec<Entry>, CatalogError> {
        self.read(|connection| {
            let mut query = connection.prepare(
                "SELECT device.*, container.name AS container, container.active AS active,
                        layer.chain NOT NULL AS is_layer
                 FROM device LEFT JOIN container ON container.device = device.id
                             LEFT JOIN layer ON layer.device = device.id ORDER BY device.id",
            )?;
            let entries = query.query_map([], |row| Ok(entry(row).ok()))?;
            entries.filter_map(Result::transpose).collect()
        })
    }

    /// Every finished device that can be understood, by id, with the transaction at which it was made if that is known. A
    /// pool may have thousands, and each activation asks: so no more is read, and no column is looked up by its name.
    pub fn ready_devices(&self) -> Result<Vec<(DeviceId, Option<TransactionId>)>, CatalogError> {
        self.read(|connection| {
            let mut query =
                connection.prepare("SELECT id, made_at FROM device WHERE state = 'ready' ORDER BY id")?;
            let devices = query.query_map([], |row| {
                let (id, made_at) = (row.get(0), row.get::<_, Option<i64>>(1));
                let made_at = made_at.map(|at| at.map(|id| TransactionId(id.cast_unsigned())));
                Ok(id.ok().zip(made_at.ok()))
            })?;
            devices.filter_map(Result::transpose).collect()
        })
    }

    /// The ids of all records of devices, understood or not.
    pub fn raw_device_ids(&self) -> Result<Vec<i64>, CatalogError> {
        self.read(|connection| {
            connection.prepare("SELECT id FROM device")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// The layers whose parent is not there, by chain id, each with its parent's.
    pub fn layers_without_parent(&self) -> Result<Vec<(String, String)>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT chain, parent FROM layer WHERE parent NOT IN (SELECT chain FROM layer) ORDER BY chain";
            connection.prepare(query)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// The record of a device, and those of whatever has it, as they stand in the file.
    pub fn records_of(&self, device: DeviceId) -> Result<Vec<Record>, CatalogError> {
        self.read(|connection| records_of(connection, i64::from(device.get())))
    }
}

fn entry(row: &Row<'_>) -> Result<Entry, rusqlite::Error> {
    Ok(Entry {
        device: devices::from_row(row)?,
        made_at: row.get::<_, Option<i64>>("made_at")?.map(|id| TransactionId(id.cast_unsigned())),
        container: row.get("container")?,
        is_layer: row.get("is_layer")?,
        active: row.get::<_, Option<bool>>("active")?.unwrap_or_default(),
    })
}

fn unreadable(connection: &Connection) -> Result<Vec<Suspect>, rusqlite::Error> {
    let mut suspects = Vec::new();
    for kind in RecordKind::ALL {
        for (record, parsed) in records(connection, kind, "1", ())? {
            suspects.extend(parsed.err().map(|error| Suspect { record, why: error.to_string() }));
        }
    }
    Ok(suspects)
}

/// Whether a record can be understood, or why not.
type Understood = Result<(), rusqlite::Error>;

/// The records of a kind for which a condition holds, each with whether it can be understood.
pub(super) fn records(
    connection: &Connection,
    kind: RecordKind,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<(Record, Understood)>, rusqlite::Error> {
    let (table, key) = (kind.as_str(), kind.key_column());
    let mut query = connection.prepare(&format!("SELECT * FROM {table} WHERE {condition} ORDER BY {key}"))?;
    let rows = query.query_map(values, |row| Ok((record(kind, row)?, kind.parse(row))))?;
    rows.collect()
}

/// The records that have a device, and its own.
pub(super) fn records_of(connection: &Connection, device: i64) -> Result<Vec<Record>, rusqlite::Error> {
    let mut all = Vec::new();
    for kind in RecordKind::ALL {
        let column = if kind == RecordKind::Device { "id" } else { "device" };
        let found = records(connection, kind, &format!("{column} = ?1"), [device])?;
        all.extend(found.into_iter().map(|(record, _)| record));
    }
    Ok(all)
}

/// One record by its key, if it is there.
pub(super) fn record_by_key(
    connection: &Connection,
    kind: RecordKind,
    key: &Key,
) -> Result<Option<Record>, rusqlite::Error> {
    let query = format!("SELECT * FROM {} WHERE {} = ?1", kind.as_str(), kind.key_column());
    connection.query_row(&query, [key], |row| record(kind, row)).optional()
}

pub(super) fn record(kind: RecordKind, row: &Row<'_>) -> Result<Record, rusqlite::Error> {
    let mut columns = Map::new();
    for (index, name) in row.as_ref().column_names().enumerate() {
        columns.insert(name.to_owned(), json(row.get_ref(index)?));
    }
    Ok(Record { kind, key: row.get(kind.key_column())?, columns })
}

/// A value as JSON has it. Bytes that are no text, which no table of ours takes, as text all the same.
fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}

impl Record {
    /// The device it is of, or has.
    #[must_use]
    pub fn device(&self) -> Option<i64> {
        match (&self.key, self.kind) {
            (Key::Number(id), RecordKind::Device) => Some(*id),
            _ => self.columns.get("device")?.as_i64(),
        }
    }
}

/// As a sentence names it: `container 'web'`, `device 7`.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Key::Number(id) => write!(f, "{} {id}", self.kind.as_str()),
            Key::Text(name) => write!(f, "{} '{name}'", self.kind.as_str()),
        }
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Integer(number) => Self::Number(number),
            other => Self::Text(other.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())?),
        })
    }
}

//! Where records are kept that can't be trusted: nothing is ever dropped without a trace.

use rusqlite::Transaction;

use super::records::{record_by_key, records_of};
use super::{Catalog, CatalogError, Device, Durability, Prepared, Record, Suspect, devices};
use crate::units::{Bytes, DeviceId, TransactionId};

/// A record that was put into quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number.
    pub number: i64,
    /// What it was: `container 'web'`.
    pub what: String,
    /// Its columns, as JSON.
    pub record: String,
    /// Why it can't be trusted.
    pub why: String,
    /// Since when it is here, in seconds since 1970.
    pub since: i64,
}

impl Catalog {
    /// What is in quarantine, in the order in which it got there.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, CatalogError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT * FROM quarantine ORDER BY number")?;
            let rows = query.query_map([], |row| {
                Ok(Quarantined {
                    number: row.get("number")?,
                    what: row.get("what")?,
                    record: row.get("record")?,
                    why: row.get("why")?,
                    since: row.get("since")?,
                })
            })?;
            rows.collect()
        })
    }

    /// Puts a record into quarantine; that of a device with all that have it. One that has changed since it was looked at
    /// stays.
    pub fn quarantine(&mut self, suspect: &Suspect, now: i64) -> Result<(), CatalogError> {
        let Suspect { record, why } = suspect;
        self.change(Durability::Synced, |transaction| {
            if record_by_key(transaction, record.kind, &record.key)?.as_ref() != Some(record) {
                return Ok(());
            }
            let dependent = match record.kind {
                super::RecordKind::Device => match record.device() {
                    Some(device) => records_of(transaction, device)?,
                    None => Vec::new(),
                },
                _ => Vec::new(),
            };
            for other in dependent.iter().filter(|other| other.kind != record.kind) {
                put_away(transaction, other, &format!("its device was put into quarantine: {why}"), now)?;
            }
            put_away(transaction, record, why, now)
        })
    }

    /// Takes a device of the pool's into the catalog that no record knows: as a container, if it gets a name, else as
    /// one that waits for its deletion. `false`, and nothing is written, if a record has its id by now.
    pub fn adopt(
        &mut self,
        device: &Device,
        made_at: TransactionId,
        container: Option<(&str, &str)>,
    ) -> Result<bool, CatalogError> {
        let adopted = self.change_if(Durability::Synced, |transaction| {
            let taken = "SELECT EXISTS (SELECT 1 FROM device WHERE id = ?1)";
            if transaction.ask(taken, [device.id], |row| row.get(0))? {
                return Ok(None);
            }
            insert_adopted(transaction, device, made_at, container).map(Some)
        })?;
        Ok(adopted.is_some())
    }

    /// Corrects a device's size to what was measured.
    pub fn set_device_size(&mut self, id: DeviceId, size: Bytes) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            transaction.tell("UPDATE device SET size = ?2 WHERE id = ?1", (id, size)).map(drop)
        })
    }

    /// Takes over the pool's transaction id, once every record was compared with what the pool has. An intent of another
    /// moment goes.
    pub fn take_transaction_id(&mut self, id: TransactionId) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            transaction.tell("UPDATE pool SET transaction_id = ?1", [id.0.cast_signed()])?;
            transaction.tell("DELETE FROM intent", []).map(drop)
        })
    }
}

fn insert_adopted(
    transaction: &Transaction<'_>,
    device: &Device,
    made_at: TransactionId,
    container: Option<(&str, &str)>,
) -> Result<(), rusqlite::Error> {
    devices::insert(transaction, device, made_at)?;
    if let Some((name, image)) = container {
        transaction.tell(
            "INSERT INTO container (name, device, image, created) VALUES (?1, ?2, ?3, ?4)",
            rusqlite::params![name, device.id, image, device.created],
        )?;
    }
    Ok(())
}

fn put_away(
    transaction: &Transaction<'_>,
    record: &Record,
    why: &str,
    now: i64,
) -> Result<(), rusqlite::Error> {
    let json = serde_json::Value::Object(record.columns.clone()).to_string();
    transaction.tell(
        "INSERT INTO quarantine (what, record, why, since) VALUES (?1, ?2, ?3, ?4)",
        rusqlite::params![record.to_string(), json, why, now],
    )?;
    let (table, key) = (record.kind.as_str(), record.kind.key_column());
    transaction.tell(&format!("DELETE FROM {table} WHERE {key} = ?1"), [&record.key]).map(drop)
}

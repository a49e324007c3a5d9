//! A catalog made anew: of what can still be read of a damaged one, as far as that goes.

use std::path::Path;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OpenFlags, Transaction, params_from_iter};
use serde_json::Value;

use super::records::record;
use super::{Catalog, CatalogError, Durability, PoolRecord, Quarantined, Record, RecordKind, pool};

/// What could still be read of a catalog.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// The record of the pool.
    pub pool: Option<PoolRecord>,
    /// Records, not yet believed.
    pub records: Vec<Record>,
    /// What was in quarantine.
    pub quarantined: Vec<Quarantined>,
}

impl Salvaged {
    /// Reads what can be read. Whatever is too damaged for that is passed over: the pool knows its devices by itself.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "nothing is made or changed")]
    pub fn read(path: &Path) -> Self {
        let Ok(connection) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY) else {
            return Self::default();
        };
        let pool = connection.query_row("SELECT * FROM pool", [], pool::from_row).ok();
        let mut records = Vec::new();
        // Those first that others refer to.
        for kind in RecordKind::ALL.into_iter().rev() {
            // What lies behind a damaged page is reached from the other end.
            for order in ["ASC", "DESC"] {
                for record in readable(&connection, kind, order) {
                    if !records.iter().any(|known: &Record| known.kind == kind && known.key == record.key) {
                        records.push(record);
                    }
                }
            }
        }
        let catalog = Catalog { path: path.to_owned(), connection, changed: false };
        Self { pool, records, quarantined: catalog.quarantined().unwrap_or_default() }
    }
}

/// The rows of a table up to the first that can't be read.
fn readable(connection: &Connection, kind: RecordKind, order: &str) -> Vec<Record> {
    let (table, key) = (kind.as_str(), kind.key_column());
    let query = format!("SELECT * FROM {table} ORDER BY {key} {order}");
    let Ok(mut query) = connection.prepare(&query) else { return Vec::new() };
    let Ok(rows) = query.query_map([], |row| record(kind, row)) else { return Vec::new() };
    rows.map_while(Result::ok).collect()
}

impl Catalog {
    /// Writes down all of a new catalog in one step. A record that doesn't fit goes into quarantine.
    pub fn fill(&mut self, pool: &PoolRecord, salvaged: &Salvaged, now: i64) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            pool::insert(transaction, pool)?;
            for Quarantined { what, record, why, since, .. } in &salvaged.quarantined {
                put_away(transaction, what, record, why, *since)?;
            }
            for record in &salvaged.records {
                if let Err(error) = insert(transaction, record) {
                    let json = Value::Object(record.columns.clone()).to_string();
                    let why = format!("it was read from a damaged catalog and doesn't fit: {error}");
                    put_away(transaction, &record.to_string(), &json, &why, now)?;
                }
            }
            Ok(())
        })
    }
}

fn insert(transaction: &Transaction<'_>, record: &Record) -> Result<(), rusqlite::Error> {
    let table = record.kind.as_str();
    let mut known = transaction.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let known = known.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let columns: Vec<_> = record.columns.iter().filter(|(name, _)| known.contains(name)).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let places = vec!["?"; names.len()].join(", ");
    let query = format!("INSERT INTO {table} ({}) VALUES ({places})", names.join(", "));
    transaction.execute(&query, params_from_iter(columns.iter().map(|(_, value)| sql(value)))).map(drop)
}

fn sql(value: &Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Number(number) => number.as_i64().map_or(SqlValue::Null, SqlValue::Integer),
        Value::String(text) => SqlValue::Text(text.clone()),
        other => SqlValue::Text(other.to_string()),
    }
}

fn put_away(
    transaction: &Transaction<'_>,
    what: &str,
    record: &str,
    why: &str,
    since: i64,
) -> Result<(), rusqlite::Error> {
    transaction
        .execute(
            "INSERT INTO quarantine (what, record, why, since) VALUES (?1, ?2, ?3, ?4)",
            rusqlite::params![what, record, why, since],
        )
        .map(drop)
}

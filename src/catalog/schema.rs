//! The tables.

use rusqlite::Connection;

/// The layout's number, kept in SQLite's `user_version`. 0 is an empty file.
pub(super) const VERSION: i64 = 1;

/// What tells a catalog from any other SQLite file: "tpol", in SQLite's `application_id`.
const APPLICATION: i64 = 0x7470_6F6C;

const TABLES: &str = "
    CREATE TABLE pool (
        one             INTEGER PRIMARY KEY CHECK (one = 1),
        uuid            TEXT NOT NULL,
        state           TEXT NOT NULL,
        transaction_id  INTEGER NOT NULL,
        created         INTEGER NOT NULL,
        files           TEXT NOT NULL,
        file_ids        TEXT,
        policy          TEXT NOT NULL
    ) STRICT;
    CREATE TABLE device (
        id              INTEGER PRIMARY KEY,
        node            TEXT NOT NULL UNIQUE,
        kind            TEXT NOT NULL,
        state           TEXT NOT NULL,
        origin          INTEGER,
        size            INTEGER NOT NULL,
        created         INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX device_by_origin ON device (origin);
    CREATE INDEX device_by_state ON device (state) WHERE state != 'ready';
    CREATE INDEX device_by_kind ON device (kind, state);
    CREATE TABLE intent (
        one             INTEGER PRIMARY KEY CHECK (one = 1),
        action          TEXT NOT NULL,
        device          INTEGER NOT NULL,
        origin          INTEGER,
        becomes         TEXT NOT NULL,
        transaction_id  INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE layer (
        chain           TEXT PRIMARY KEY,
        diff            TEXT NOT NULL,
        parent          TEXT,
        content         INTEGER NOT NULL,
        device          INTEGER NOT NULL UNIQUE REFERENCES device (id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE image (
        name            TEXT PRIMARY KEY,
        device          INTEGER NOT NULL REFERENCES device (id),
        chain           TEXT NOT NULL,
        config          TEXT,
        created         INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_by_device ON image (device);
    CREATE TABLE container (
        name            TEXT PRIMARY KEY,
        device          INTEGER NOT NULL UNIQUE REFERENCES device (id) ON DELETE CASCADE,
        image           TEXT NOT NULL,
        created         INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// What a SQLite file is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is in it: the process that made it died before anything was.
    Empty,
    /// A catalog of this layout.
    Catalog(i64),
    /// Somebody else's.
    Stranger,
}

/// Looks what a file is.
pub(super) fn find(connection: &Connection) -> Result<Found, rusqlite::Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (number("application_id")?, tables) {
        (APPLICATION, _) => Found::Catalog(number("user_version")?),
        (0, 0) => Found::Empty,
        _ => Found::Stranger,
    })
}

/// Makes the tables in a file that has none.
pub(super) fn create(connection: &rusqlite::Transaction<'_>) -> Result<(), rusqlite::Error> {
    if find(connection)? == Found::Empty {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(())
}

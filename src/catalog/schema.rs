//! The tables.

use rusqlite::Connection;

/// The layout's number, kept in SQLite's `user_version`. 0 is an empty file.
pub(super) const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE pool (
        one             INTEGER PRIMARY KEY CHECK (one = 1),
        uuid            TEXT NOT NULL,
        state           TEXT NOT NULL,
        transaction_id  INTEGER NOT NULL,
        created         INTEGER NOT NULL,
        files           TEXT NOT NULL,
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

/// The layout that a file has.
pub(super) fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables in a file that has none.
pub(super) fn create(connection: &rusqlite::Transaction<'_>) -> Result<(), rusqlite::Error> {
    if version(connection)? == 0 {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(())
}

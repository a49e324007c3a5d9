//! The tables.

use rusqlite::Connection;

/// The layout's number, kept in SQLite's `user_version`. 0 is an empty file.
pub(super) const VERSION: i64 = 5;

/// What tells a catalog from any other SQLite file: "tpol", in SQLite's `application_id`.
const APPLICATION: i64 = 0x7470_6F6C;

const TABLES: &str = "
    CREATE TABLE pool (
        one             INTEGER PRIMARY KEY CHECK (one = 1),
        uuid            TEXT NOT NULL,
        state           TEXT NOT NULL,
        transaction_id  INTEGER NOT NULL,
        created         INTEGER NOT NULL,
        backing         TEXT NOT NULL,
        policy          TEXT NOT NULL,
        clean           INTEGER NOT NULL DEFAULT 0,
        checked         TEXT,
        growth          TEXT,
        clock           TEXT,
        replacement     TEXT
    ) STRICT;
    CREATE TABLE device (
        id              INTEGER PRIMARY KEY,
        node            TEXT NOT NULL UNIQUE,
        kind            TEXT NOT NULL,
        state           TEXT NOT NULL,
        origin          INTEGER,
        size            INTEGER NOT NULL,
        created         INTEGER NOT NULL,
        made_at         INTEGER,
        growing         INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX device_by_origin ON device (origin);
    CREATE INDEX device_by_state ON device (state) WHERE state != 'ready';
    CREATE INDEX device_by_kind ON device (kind, state);
    CREATE INDEX device_growing ON device (id) WHERE growing = 1;
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
        created         INTEGER NOT NULL,
        active          INTEGER NOT NULL DEFAULT 0,
        labels          TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE quarantine (
        number          INTEGER PRIMARY KEY,
        what            TEXT NOT NULL,
        record          TEXT NOT NULL,
        why             TEXT NOT NULL,
        since           INTEGER NOT NULL
    ) STRICT;
";

/// From layout 1, which knew pools on loop files only and didn't remember what was active.
const FROM_1: &str = "
    ALTER TABLE pool RENAME COLUMN files TO backing;
    UPDATE pool SET backing = json_object('kind', 'loop', 'files', json(backing), 'ids', json(coalesce(file_ids, 'null')));
    ALTER TABLE pool DROP COLUMN file_ids;
    ALTER TABLE pool ADD COLUMN clean INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pool ADD COLUMN checked TEXT;
    ALTER TABLE container ADD COLUMN active INTEGER NOT NULL DEFAULT 0;
";

/// From layout 2, in which containers had no labels, nothing could grow, and every record was taken for good.
const FROM_2: &str = "
    ALTER TABLE pool ADD COLUMN clock TEXT;
    ALTER TABLE device ADD COLUMN made_at INTEGER;
    ALTER TABLE container ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE device ADD COLUMN growing INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE quarantine (
        number INTEGER PRIMARY KEY, what TEXT NOT NULL, record TEXT NOT NULL, why TEXT NOT NULL,
        since INTEGER NOT NULL) STRICT;
    ALTER TABLE pool ADD COLUMN growth TEXT;
";

/// From layout 3, in which metadata was not replaced.
const FROM_3: &str = "
    ALTER TABLE pool ADD COLUMN replacement TEXT;
";

/// From layout 4, in which every removal read all devices to find those that grow. The other indexes are missing where an even
/// older layout came from.
const FROM_4: &str = "
    CREATE INDEX IF NOT EXISTS device_by_origin ON device (origin);
    CREATE INDEX IF NOT EXISTS device_by_state ON device (state) WHERE state != 'ready';
    CREATE INDEX IF NOT EXISTS device_by_kind ON device (kind, state);
    CREATE INDEX IF NOT EXISTS device_growing ON device (id) WHERE growing = 1;
";

/// What leads from each older layout to the next.
const STEPS: [(i64, &str); 4] = [(1, FROM_1), (2, FROM_2), (3, FROM_3), (4, FROM_4)];

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

/// Brings a catalog that an older version made to today's layout, unless another process just did.
pub(super) fn migrate(connection: &rusqlite::Transaction<'_>) -> Result<(), rusqlite::Error> {
    for (from, step) in STEPS {
        if find(connection)? == Found::Catalog(from) {
            connection.execute_batch(step)?;
            connection.pragma_update(None, "user_version", from + 1)?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;
    use crate::backing::{Backing, LoopFiles};
    use crate::catalog::PoolState;
    use crate::units::TransactionId;

    /// The tables of layout 1, with a pool as that version wrote it.
    const LAYOUT_1: &str = r#"
        CREATE TABLE pool (
            one INTEGER PRIMARY KEY CHECK (one = 1), uuid TEXT NOT NULL, state TEXT NOT NULL,
            transaction_id INTEGER NOT NULL, created INTEGER NOT NULL, files TEXT NOT NULL, file_ids TEXT,
            policy TEXT NOT NULL) STRICT;
        CREATE TABLE device (
            id INTEGER PRIMARY KEY, node TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, state TEXT NOT NULL,
            origin INTEGER, size INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;
        CREATE TABLE container (
            name TEXT PRIMARY KEY, device INTEGER NOT NULL UNIQUE, image TEXT NOT NULL,
            created INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO pool VALUES (1, 'a3bb189e-8bf9-3888-9912-ace4e6543002', 'ready', 7, 1700000000,
            '{"data":"/srv/data","metadata":"/srv/metadata"}', '{"data":11,"metadata":12}',
            '{"data_size":1073741824,"metadata_size":2097152,"block_size":65536,"base_size":1073741824,
              "filesystem":"ext4","mkfs_arguments":[],"mount_options":[],"zero_new_blocks":true,
              "discard_on_remove":true,"min_free_space":10,"deferred_removal":true,"deferred_deletion":true,
              "xfs_nospace_max_retries":null}');
        PRAGMA application_id = 0x74706F6C;
        PRAGMA user_version = 1;"#;

    #[test]
    fn a_pool_of_the_first_layout_is_not_lost() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("catalog.db");
        Connection::open(&path).expect("made").execute_batch(LAYOUT_1).expect("written");
        for _ in 0..2 {
            let catalog = Catalog::open(&path).expect("opens").expect("is one");
            let pool = catalog.pool().expect("reads").expect("is there");
            assert_eq!((pool.state, pool.transaction_id), (PoolState::Ready, TransactionId(7)));
            let Backing::Loop(backing) = pool.backing else { panic!("not loop files") };
            let files = LoopFiles { data: "/srv/data".into(), metadata: "/srv/metadata".into() };
            assert_eq!(backing.files, files);
            assert!(backing.ids.is_some() && !pool.clean);
        }
    }
}

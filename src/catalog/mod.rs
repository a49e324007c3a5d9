//! A pool's own record of its devices, in one SQLite file on the host's file system.
//!
//! Every change is written twice: the [`Intent`] before the kernel is asked, durably, and the outcome after it.
//! The pool's transaction id says which of the two holds when the process died in between: it is raised by the
//! kernel as the last step of the change, in the same durable commit. So the outcome need not be synced: should a
//! power cut lose it, the intent is still there, and the transaction id tells that it was carried out.

mod containers;
mod devices;
mod error;
mod growth;
mod images;
mod intent;
mod pool;
mod pool_file;
mod prepared;
mod quarantine;
mod records;
mod replacement;
mod salvage;
mod schema;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use self::prepared::Prepared;
use self::schema::Found;
pub use containers::Container;
pub use devices::{Counts, Device, DeviceKind, DeviceState};
pub use error::CatalogError;
pub use growth::PoolGrowth;
pub use images::{Image, Layer};
pub use intent::{Action, Intent};
pub use pool::{Clock, MetadataCheck, Policy, PoolRecord, PoolState};
pub use pool_file::PoolFile;
pub use quarantine::Quarantined;
pub use records::{Entry, Key, Record, RecordKind, Suspect};
pub use replacement::Replacement;
pub use salvage::Salvaged;

/// How long a statement may wait for another process's statement. Locks of the pool keep writers apart; this
/// only bounds what they can't see, such as somebody's `sqlite3` on the file.
const BUSY: Duration = Duration::from_secs(10);

/// Between two tries to fold the log.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a write-ahead log is left to the next command: 128 pages, each with its header. Who opens the catalog while nobody else
/// has it open reads all of the log first (`walIndexRecover` of SQLite), as nearly every command does.
const LONG_LOG: u64 = 128 * (4096 + 24);

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    connection: Connection,
    /// Whether anything was committed by it.
    changed: bool,
}

/// How sure a commit must be before it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: a power cut later can't undo it.
    Synced,
    /// In the file, in order after everything before it. A power cut may undo it, a crash of ours can't.
    Ordered,
}

impl Catalog {
    /// Makes a new catalog, or opens one that a killed setup left.
    pub fn create(path: &Path) -> Result<Self, CatalogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut catalog = steps::around(format_args!("create the catalog"), || Self::open_with(path, flags))?;
        catalog.change(Durability::Synced, schema::create)?;
        Ok(catalog)
    }

    /// Opens the catalog of a pool, or `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, CatalogError> {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => return Err(CatalogError::Reach { path: path.to_owned(), source }),
        }
        let mut catalog = Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        match catalog.read(schema::find)? {
            Found::Empty => Ok(None),
            Found::Catalog(schema::VERSION) => Ok(Some(catalog)),
            Found::Catalog(1..schema::VERSION) => {
                catalog.change(Durability::Synced, schema::migrate)?;
                Ok(Some(catalog))
            }
            Found::Catalog(found) => {
                Err(CatalogError::Version { path: path.to_owned(), found, known: schema::VERSION })
            }
            Found::Stranger => Err(CatalogError::Stranger(path.to_owned())),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "creating one is the step of the only caller that does")]
    fn open_with(path: &Path, flags: OpenFlags) -> Result<Self, CatalogError> {
        let failed = |source| CatalogError::of_sqlite(path, "open", source);
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(prepared::MOST);
        // A write-ahead log: readers never wait for a writer. It is not folded back into the file at each close,
        // which would sync twice in every command, but when it has grown (`empty_log`).
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection, changed: false })
    }

    /// Makes a change as a whole or not at all.
    fn change<T>(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, CatalogError> {
        // `None` never comes out of this one.
        let made = self.change_if(durability, |transaction| change(transaction).map(Some))?;
        made.ok_or_else(|| self.failed("write")(rusqlite::Error::QueryReturnedNoRows))
    }

    /// Makes a change as a whole, or not at all if it comes to nothing.
    #[allow(clippy::disallowed_methods, reason = "this is the step")]
    fn change_if<T>(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> Result<Option<T>, rusqlite::Error>,
    ) -> Result<Option<T>, CatalogError> {
        let path = self.path.clone();
        let failed = |source| CatalogError::of_sqlite(&path, "write", source);
        let synchronous = match durability {
            Durability::Synced => "full",
            Durability::Ordered => "normal",
        };
        self.connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let value = change(&transaction).map_err(failed)?;
        // Dropped uncommitted, a transaction is rolled back.
        if value.is_some() {
            steps::around(format_args!("commit, {durability:?}"), || transaction.commit()).map_err(failed)?;
            self.changed = true;
        }
        Ok(value)
    }

    /// Reads one consistent state.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, CatalogError> {
        read(&self.connection).map_err(self.failed("read"))
    }

    fn failed(&self, action: &'static str) -> impl Fn(rusqlite::Error) -> CatalogError {
        let path = self.path.clone();
        move |source| CatalogError::of_sqlite(&path, action, source)
    }

    /// Folds the write-ahead log back into the file, so that the file alone is the whole catalog: for a backup, and
    /// before the two are removed one after the other. Who reads it for seconds keeps the log.
    pub fn fold(&self) -> Result<(), CatalogError> {
        let deadline = Instant::now() + BUSY;
        steps::around(format_args!("fold the catalog's log"), || {
            while !self.truncate_log()? {
                if Instant::now() > deadline {
                    tracing::warn!(path = %self.path.display(), "somebody reads it: a part of it stays in its log");
                    break;
                }
                std::thread::sleep(PAUSE);
            }
            Ok(())
        })
    }

    /// Whether it was changed here, and has a log that is long for the next who opens it. It isn't shortened by SQLite's own
    /// `wal_autocheckpoint` either, which leaves the log as it is until the next commit of the same process; and few make another.
    pub(crate) fn leaves_a_long_log(&self) -> bool {
        let [_, log, _] = Self::files(&self.path);
        self.changed && log.metadata().is_ok_and(|log| log.len() > LONG_LOG)
    }

    /// Empties the log, unless somebody reads at this moment. Nobody is to be about to write, who would have to wait.
    pub(crate) fn empty_log(&self) -> Result<(), CatalogError> {
        self.connection.busy_timeout(Duration::ZERO).map_err(self.failed("write"))?;
        self.truncate_log().map(drop)
    }

    /// `false` if somebody was in the way: SQLite tells that in the first column, and doesn't wait for everybody.
    fn truncate_log(&self) -> Result<bool, CatalogError> {
        let busy = self.read(|connection| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        })?;
        Ok(!busy)
    }

    /// The catalog's file and the two that SQLite keeps beside it, in the order in which they may be removed: SQLite
    /// ignores and removes a log that has lost its database, but would take an old database without its log for
    /// the truth.
    #[must_use]
    pub fn files(path: &Path) -> [PathBuf; 3] {
        let beside = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        [path.to_owned(), beside("-wal"), beside("-shm")]
    }
}

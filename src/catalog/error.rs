//! What can go wrong with a catalog.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// An error of the catalog.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// It can't even be looked for.
    #[error("the catalog {path} can't be reached: {source}")]
    Reach {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file is damaged.
    #[error(
        "the catalog {path} is damaged ({source}); nothing was changed. `thinpool repair --rebuild-catalog` makes a new one \
         of what can still be read and of what the pool itself knows, and keeps the damaged file"
    )]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What SQLite says of it.
        source: rusqlite::Error,
    },
    /// It is a database in good order, but a record in it says what this program can't understand.
    #[error(
        "the catalog {path} has a record that can't be understood ({source}); `thinpool check` names it, `thinpool repair` \
         puts it into quarantine"
    )]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// What is wrong with the record.
        source: rusqlite::Error,
    },
    /// The copy of the pool's record beside it can't be written or read.
    #[error("could not {action} {path}: {source}")]
    PoolFile {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite failed.
    #[error("could not {action} the catalog {path}: {source}")]
    Sqlite {
        /// Its file.
        path: PathBuf,
        /// `open`, `read` or `write`.
        action: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// It is a SQLite file of somebody else's.
    #[error(
        "{0} is a database, but not a catalog of thinpool's: nothing was done to it; is this the right directory?"
    )]
    Stranger(PathBuf),
    /// It was made by another version of this program.
    #[error(
        "the catalog {path} has layout {found}, this version of thinpool knows {known}: use the version that made it, or a newer one"
    )]
    Version {
        /// Its file.
        path: PathBuf,
        /// The layout's number.
        found: i64,
        /// The number this version writes.
        known: i64,
    },
}

impl CatalogError {
    /// What SQLite says, by what it means for who has to do something about it.
    pub(super) fn of_sqlite(path: &Path, action: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, source },
            _ if matches!(
                source,
                FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)
            ) =>
            {
                Self::Unreadable { path, source }
            }
            _ => Self::Sqlite { path, action, source },
        }
    }
}

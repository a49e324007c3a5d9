//! What can go wrong with a catalog.

use std::io;
use std::path::PathBuf;

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

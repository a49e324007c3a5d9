//! What can keep metadata from being backed up or replaced, told for people.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Generation;
use crate::thin_tools::ToolError;
use crate::units::DataBlocks;

/// Why metadata was not replaced. Unless the sentence says otherwise, nothing was changed.
#[derive(Debug, Error)]
pub enum RescueError {
    /// There is no backup.
    #[error(
        "there is no backup of the metadata of the pool '{0}': each `thinpool deactivate` in order makes one, and `thinpool \
         metadata backup`. Damaged metadata may be mended without one: `thinpool repair`"
    )]
    NoBackup(String),
    /// There is none of that number.
    #[error(
        "there is no backup {asked} of the metadata of the pool '{pool}'; `thinpool metadata list` shows those there are"
    )]
    NoSuchBackup {
        /// The pool.
        pool: String,
        /// What was asked for.
        asked: Generation,
    },
    /// It can't be read.
    #[error(
        "the backup {} can't be read: {source}. `thinpool metadata list` shows the others, `thinpool metadata restore` takes \
         the number of one", .path.display()
    )]
    BackupUnreadable {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is another pool's.
    #[error(
        "the backup {} is of another pool (its uuid is {found}, and this one's is {expected}); put it back where it belongs, \
         and take another one of `thinpool metadata list`", .path.display()
    )]
    OtherPool {
        /// Its file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The pool is smaller than it was.
    #[error(
        "the backup {} counts {} blocks of data, and the pool has only {}; take another one of `thinpool metadata list`",
        .path.display(), .backup.0, .pool.0
    )]
    TooLarge {
        /// Its file.
        path: PathBuf,
        /// What it counts.
        backup: DataBlocks,
        /// What there is.
        pool: DataBlocks,
    },
    /// It is in use.
    #[error(
        "the pool '{0}' is active, and only the metadata of one at rest can be replaced: `thinpool deactivate` first"
    )]
    Active(String),
    /// It isn't ours.
    #[error(
        "the thin pool {0} is somebody else's, and its metadata as well: whoever made it can restore or repair it"
    )]
    SomebodyElses(String),
    /// New metadata was made for another kind of backing than the pool has. No command of ours leaves that.
    #[error(
        "the catalog of the pool '{0}' says that new metadata is to be put in place which was made for another backing than the \
         pool has by now: it seems to be of two moments. Nothing was changed; put a backup of the catalog back, or let `thinpool repair \
         --rebuild-catalog` make it anew"
    )]
    OtherBacking(String),
    /// What makes metadata failed.
    #[error("new metadata could not be made: {0}. The old is as it was")]
    Tool(#[from] ToolError),
    /// What was made isn't what it should be.
    #[error(
        "the new metadata is not sound, so the old was left as it was: {said}. `thinpool metadata restore` takes the number \
         of another backup"
    )]
    NotSound {
        /// What the check said.
        said: String,
    },
}

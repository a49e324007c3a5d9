//! What brings a pool back whose metadata is lost: backups of it, and new metadata in the place of the damaged.
//!
//! A backup is the XML that thin_restore(8) reads, compressed, so that nobody needs this program to use one. New metadata,
//! of whatever it is made, is made beside the old, checked in full, and only then put in its place; the old is kept. After
//! that catalog and pool are brought together as they are whenever one of the two is of another moment.

mod backup;
mod backups;
mod error;
mod generation;
mod plan;
mod renew;
mod replace;
mod restore;
mod save;

pub(super) use backup::remove_all as remove_backups;
pub use backups::{Backups, UnreadableBackup};
pub use error::RescueError;
pub use generation::{BackedUp, BackedUpDevice, BackupMoment, Generation, MetadataBackup};
pub use plan::Outlook;
pub use renew::{MadeOf, RenewalPlan, Renewed};
pub use replace::Kept;
pub use restore::{RestorePlan, Restored};

/// A moment, in seconds since 1970, as it stands in a file's name: `20261128T134500Z`.
fn in_a_name(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
    time.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

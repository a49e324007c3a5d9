//! Backups of the metadata on a schedule of changes: what came after the newest backup is lost when one is needed, so the
//! next is taken when that has become much.
//!
//! A process of its own takes it. So the monitor stays as small as it is and goes on watching, whatever the metadata has
//! of mappings; and one that is killed meanwhile leaves what any killed command leaves.

use std::fmt;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use lvm::RunError;
use thiserror::Error;

use super::RETRY;
use crate::dm::{Mode, PoolUsage};
use crate::pool::{BackupMoment, Location, PoolError};

/// How long after a backup of ours the next one begins at the earliest, and after one that failed the next attempt.
pub const REST: Duration = Duration::from_secs(10 * 60);

/// How many times as long as the last one took the rest is at least: a twentieth of the time goes into backups, no more,
/// however much metadata there is.
const REST_FOR_WORK: u32 = 20;

/// What share of the pool, as so many parts of it, may be filled or freed before that is a reason for a backup by itself: a
/// device that is only written to changes no transaction id.
const PARTS_OF_DATA: u64 = 10;

/// Takes a backup, and comes back with what it says when it is there.
pub type Take = Arc<dyn Fn() -> Result<String, RunError> + Send + Sync>;

/// When backups are taken, and by whom.
#[derive(Clone)]
pub struct Schedule {
    /// After how many changes, each of which is a transaction of the pool: a device is made or removed.
    pub changes: u32,
    /// By whom.
    pub take: Take,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// Nobody knows what was backed up before.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Who was to take it says why not.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is nobody to wait for it.
    #[error("there is no thread for it: {0}")]
    Thread(std::io::Error),
    /// Whoever waited for it came to an end before it did.
    #[error("the thread that waited for it has died; the journal says why")]
    Died,
}

/// What there is to say of backups.
#[derive(Debug)]
pub(super) enum News {
    /// One is there that was asked for, and says this.
    Taken(String),
    /// There is no lack of one, whoever took it.
    NoneLacking,
    /// There is none.
    Failed(BackupError),
}

/// Has the backups of a pool taken that is watched over.
#[derive(Debug)]
pub(super) struct Scheduler {
    schedule: Option<Schedule>,
    /// The pool's uuid.
    pool: String,
    /// The moment of the newest one, as far as is known. There may be a newer one by now.
    newest: Newest,
    running: Option<JoinHandle<Ended>>,
    not_before: Option<Instant>,
}

/// What is known of the newest backup.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Newest {
    /// Nobody has looked.
    Unknown,
    /// There is none.
    None,
    /// It is of this moment.
    Of(BackupMoment),
}

/// A backup that somebody was asked for, and that is over.
#[derive(Debug)]
struct Ended {
    outcome: Result<String, RunError>,
    took: Duration,
}

impl Newest {
    /// Whether much has changed since then. A pool at an earlier transaction was restored, and has changed altogether.
    fn is_far_from(&self, usage: &PoolUsage, changes: u32) -> bool {
        let now = usage.transaction_id.0;
        match self {
            Self::Unknown => false,
            Self::None => now > 0,
            Self::Of(moment) => {
                let since = now.checked_sub(moment.transaction_id.0);
                let data = usage.data.used.0.abs_diff(moment.used_blocks.0);
                since.is_none_or(|since| since >= changes.into()) || data > usage.data.total.0 / PARTS_OF_DATA
            }
        }
    }
}

impl Scheduler {
    /// For the pool with this uuid.
    pub fn new(schedule: Option<Schedule>, pool: String) -> Self {
        Self { schedule, pool, newest: Newest::Unknown, running: None, not_before: None }
    }

    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What came of the backup that was begun, once it is over.
    pub fn finish(&mut self, now: Instant) -> Option<News> {
        let Ok(Ended { outcome, took }) = self.running.take_if(|running| running.is_finished())?.join()
        else {
            return Some(News::Failed(BackupError::Died));
        };
        self.not_before = Some(now + rest_after(outcome.is_ok(), took));
        self.newest = Newest::Unknown;
        Some(outcome.map_or_else(|error| News::Failed(error.into()), News::Taken))
    }

    /// Begins a backup if one is due. Tells when to look again, where there is something to look for, and what is new.
    pub fn tend(
        &mut self,
        location: &Location,
        usage: &PoolUsage,
        now: Instant,
    ) -> (Option<Duration>, Option<News>) {
        let Some(Schedule { changes, .. }) = self.schedule else { return (None, None) };
        if self.running.is_some() {
            return (Some(RETRY), None);
        }
        if !can_be_taken(usage) || self.newest != Newest::Unknown && !self.newest.is_far_from(usage, changes)
        {
            return (None, None);
        }
        let rest = self.not_before.map(|at| at.saturating_duration_since(now)).filter(|rest| !rest.is_zero());
        if self.newest == Newest::Unknown || rest.is_none() {
            // Somebody else may have taken one meanwhile.
            if let Err(error) = self.look_for_newest(location) {
                self.not_before = Some(now + REST);
                return (Some(REST), Some(News::Failed(error.into())));
            }
        }
        if !self.newest.is_far_from(usage, changes) {
            return (None, Some(News::NoneLacking));
        }
        if rest.is_some() {
            return (rest, None);
        }
        // Who takes the pool away has devices removed, which is an event; he isn't to find a reader.
        if location.is_changing() {
            return (Some(RETRY), None);
        }
        self.not_before = Some(now + REST);
        (Some(RETRY), self.begin().err().map(News::Failed))
    }

    fn look_for_newest(&mut self, location: &Location) -> Result<(), PoolError> {
        let newest = location.newest_backup()?.filter(|newest| newest.pool == self.pool);
        self.newest = newest.map_or(Newest::None, Newest::Of);
        Ok(())
    }

    fn begin(&mut self) -> Result<(), BackupError> {
        let Some(Schedule { take, .. }) = &self.schedule else { return Ok(()) };
        let take = Arc::clone(take);
        let work = move || {
            let begun = Instant::now();
            Ended { outcome: take(), took: begun.elapsed() }
        };
        let begun = Builder::new().name("backup".to_owned()).spawn(work).map_err(BackupError::Thread)?;
        self.running = Some(begun);
        Ok(())
    }
}

/// Whether a backup would be of any use, and no harm. Nothing changes in a pool that can't be written, what is damaged is nothing
/// to keep, and while a metadata snapshot is held, what changes takes more metadata than it would.
fn can_be_taken(usage: &PoolUsage) -> bool {
    let has_room = usage.metadata_low_water.is_none_or(|mark| usage.metadata.free() > mark);
    usage.mode != Mode::ReadOnly && !usage.needs_check && has_room
}

/// How long the next one waits after one that took so long. What failed may only have waited for somebody.
fn rest_after(is_there: bool, took: Duration) -> Duration {
    if is_there { REST.max(took.saturating_mul(REST_FOR_WORK)) } else { REST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_metadata_is_backed_up_less_often_and_what_failed_is_tried_again_all_the_same() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(rest_after(true, Duration::from_secs(1)), REST);
        assert_eq!(rest_after(true, minutes(6)), minutes(120));
        assert_eq!(rest_after(false, minutes(60)), REST);
    }
}

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
use crate::pool::{BackedUp, Location, PoolError};
use crate::units::{DataBlocks, TransactionId};

/// How long after a backup the next one begins at the earliest.
pub const REST: Duration = Duration::from_secs(10 * 60);

/// How many times as long as the last one took the rest is at least: a hundredth of the time goes into backups, no more,
/// however much metadata there is.
const REST_FOR_WORK: u32 = 100;

/// What share of the pool, as so many parts of it, may be filled or freed before that is a reason for a backup by itself: a
/// device that is only written to changes no transaction id.
const PARTS_OF_DATA: u64 = 10;

/// Takes a backup, and comes back when it is there.
pub type Take = Arc<dyn Fn() -> Result<(), RunError> + Send + Sync>;

/// When backups are taken, and by whom.
#[derive(Clone)]
pub struct Schedule {
    /// After how many transactions: each device that is made or removed is one.
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
    #[error("it was given up")]
    GivenUp,
}

/// The backups of a pool that is watched over.
#[derive(Debug, Default)]
pub(super) struct Backups {
    schedule: Option<Schedule>,
    /// Of what the newest one is, as far as is known. There may be a newer one by now.
    newest: Option<Moment>,
    running: Option<JoinHandle<Taken>>,
    not_before: Option<Instant>,
}

/// A backup that somebody was asked for.
#[derive(Debug)]
struct Taken {
    outcome: Result<(), RunError>,
    took: Duration,
}

/// What metadata was like at some moment, as far as that can be told at no cost. At first there was nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    transaction_id: TransactionId,
    used: DataBlocks,
}

impl Moment {
    fn of(backup: Option<&BackedUp>) -> Self {
        let (transaction_id, used) =
            backup.map_or((TransactionId(0), DataBlocks(0)), |of| (of.transaction_id, of.used_blocks));
        Self { transaction_id, used }
    }

    /// Whether much has changed since then, in either direction: a pool that was restored is at an earlier transaction.
    fn is_far_from(self, usage: &PoolUsage, changes: u32) -> bool {
        let transactions = usage.transaction_id.0.abs_diff(self.transaction_id.0);
        let data = usage.data.used.0.abs_diff(self.used.0);
        transactions >= changes.into() || data > usage.data.total.0 / PARTS_OF_DATA
    }
}

impl Backups {
    pub fn new(schedule: Option<Schedule>) -> Self {
        Self { schedule, ..Self::default() }
    }

    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What came of the backup that was begun, once it is over.
    pub fn finished(&mut self, now: Instant) -> Option<Result<(), BackupError>> {
        let Taken { outcome, took } = match self.running.take_if(|running| running.is_finished())?.join() {
            Ok(taken) => taken,
            Err(_panicked) => return Some(Err(BackupError::GivenUp)),
        };
        self.not_before = Some(now + REST.max(took.saturating_mul(REST_FOR_WORK)));
        if outcome.is_ok() {
            self.newest = None;
        }
        Some(outcome.map_err(BackupError::Run))
    }

    /// Begins a backup if one is due. Tells when to look again, where there is something to look for.
    pub fn tend(
        &mut self,
        location: &Location,
        usage: &PoolUsage,
        now: Instant,
    ) -> Result<Option<Duration>, BackupError> {
        let Some(Schedule { changes, take }) = &self.schedule else { return Ok(None) };
        if self.running.is_some() {
            return Ok(Some(RETRY));
        }
        // Nothing changes in one that can't be written, what is damaged is nothing to keep, and while a metadata snapshot is
        // held, what changes takes more metadata than it would.
        let is_sound = usage.mode != Mode::ReadOnly && !usage.needs_check;
        let has_room = usage.metadata_low_water.is_none_or(|mark| usage.metadata.free() > mark);
        let is_far = |newest: Moment| newest.is_far_from(usage, *changes);
        if !(is_sound && has_room) || self.newest.is_some_and(|newest| !is_far(newest)) {
            return Ok(None);
        }
        let rest = self.not_before.map(|at| at.saturating_duration_since(now)).filter(|rest| !rest.is_zero());
        let newest = match self.newest {
            Some(newest) if rest.is_some() => newest,
            // Somebody else may have taken one meanwhile.
            _ => Moment::of(location.metadata_backups()?.newest().map(|newest| &newest.of)),
        };
        self.newest = Some(newest);
        if rest.is_some() || !is_far(newest) {
            return Ok(rest.filter(|_| is_far(newest)));
        }
        self.not_before = Some(now + REST);
        let take = Arc::clone(take);
        let work = move || {
            let began = Instant::now();
            Taken { outcome: take(), took: began.elapsed() }
        };
        let begun = Builder::new().name("backup".to_owned()).spawn(work).map_err(BackupError::Thread)?;
        self.running = Some(begun);
        Ok(Some(RETRY))
    }
}

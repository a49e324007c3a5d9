//! Doing what a check says can be done.
//!
//! In three phases, each begun only when the one before has nothing left to do. First the records: those that can't be
//! trusted go into quarantine, devices of the pool's that no record knows are taken in. As long as catalog and pool are at
//! different transactions, no other command changes anything. Then the transaction id is taken over, and the pool can be
//! changed again. Then all that needs such changes. Each step is one change of the catalog, or may be made twice: after a
//! kill at any point, the next repair goes on from what it finds.

mod adopt;
mod place;
mod rebuild;

pub use rebuild::{Rebuild, RebuildFrom, Rebuilt};

use super::check::{Finding, Phase, Repair};
use super::destroy::remove_if_empty;
use super::lock::Lock;
use super::setup::make_base;
use super::{Host, Location, Pool, PoolError, Renewed, now};
use crate::catalog::DeviceState;
use crate::dm::{self, PoolStatus, Removal, Uuid};
use crate::units::TransactionId;

/// What becomes of devices in the pool that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// They become containers.
    Adopt,
    /// They are deleted, with what is in them.
    Delete,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What was found and seen to.
    pub done: Vec<Finding>,
    /// What could not be done, and why.
    pub failed: Vec<(Finding, PoolError)>,
    /// What is found now.
    pub left: Vec<Finding>,
    /// How damaged metadata was made anew, if it was.
    pub renewed: Option<Renewed>,
}

impl Location {
    /// Makes every repair that a check proposes.
    pub fn repair(&self, host: &Host, orphans: Orphans) -> Result<Repaired, PoolError> {
        let mut pool = Pool::open(host, self)?;
        pool.wait_for_readers()?;
        let life = pool.life()?;
        pool.repair_and_rest(&life, orphans)
    }
}

impl Pool<'_> {
    /// A pool that was at rest is so afterwards.
    pub(super) fn repair_and_rest(&mut self, life: &Lock, orphans: Orphans) -> Result<Repaired, PoolError> {
        let was_active = self.active()?.is_some_and(|info| info.live);
        if !was_active {
            self.settle_replacement()?;
        }
        let repaired = self.repair(life, orphans);
        if was_active || self.active()?.is_none() {
            return repaired;
        }
        let rested = self.deactivate_under_lock(life).map(drop);
        match repaired {
            Ok(repaired) => rested.map(|()| repaired),
            Err(cause) => Err(cause.after_cleaning_up(rested)),
        }
    }

    fn repair(&mut self, life: &Lock, orphans: Orphans) -> Result<Repaired, PoolError> {
        let mut found = self.check_under_lock(life)?;
        if orphans == Orphans::Delete && found.iter().any(|finding| finding.kind == "transaction_mismatch") {
            return Err(PoolError::OrphansOfAnotherMoment(self.name.to_string()));
        }
        let mut repaired = Repaired::default();
        while let Some(steps) = repaired.next_steps(&found) {
            for finding in steps {
                let made = match finding.repair() {
                    Some(Repair::RenewMetadata) => {
                        self.renew_metadata(life).map(|renewed| repaired.renewed = Some(renewed))
                    }
                    repair => self.make(repair, life, orphans),
                };
                match made {
                    Ok(()) => repaired.done.push(finding),
                    Err(error) => repaired.failed.push((finding, error)),
                }
            }
            found = self.check_under_lock(life)?;
        }
        repaired.left = found;
        Ok(repaired)
    }

    fn make(&mut self, repair: Option<&Repair>, life: &Lock, orphans: Orphans) -> Result<(), PoolError> {
        let Some(repair) = repair else { return Ok(()) };
        if repair.needs_pool() && !self.active()?.is_some_and(|info| info.live) {
            self.load_to_repair(life)?;
        }
        match repair {
            // What came of it is told, so it is made where that is kept.
            Repair::RenewMetadata => self.renew_metadata(life).map(drop),
            Repair::ClearNeedsCheck => self.clear_needs_check(life),
            Repair::Quarantine(suspect) => {
                let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
                Ok(self.catalog.quarantine(suspect, now())?)
            }
            Repair::Adopt { device, made_at, as_base: true } => self.adopt_base(*device, *made_at),
            Repair::Adopt { device, made_at, as_base: false } => self.adopt(*device, *made_at, orphans),
            Repair::Measure(device) => self.correct_size(device),
            Repair::TakeTransaction(id) => self.take_transaction(*id),
            Repair::Settle => self.change().map(drop),
            Repair::Reap(device) => self.reap_one(device),
            Repair::MakeBase => self.make_missing_base(),
            Repair::RemoveNode(name) => self.remove_stray(name),
            Repair::RemoveDirectory(path) => remove_if_empty(path),
            Repair::RemoveLock(path) => match Lock::try_exclusive(path)? {
                Some(lock) => Ok(lock.remove()?),
                None => Ok(()),
            },
        }
    }

    /// Lets the catalog take over the pool's transaction id, if it still is what every record was compared at.
    fn take_transaction(&mut self, id: TransactionId) -> Result<(), PoolError> {
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        let found = match self.active()?.filter(|info| info.live) {
            Some(_) => match self.host.dm.pool_status(&self.device)? {
                PoolStatus::Working(usage) => usage.transaction_id,
                status => return Err(PoolError::NotCommitted(Box::new(status))),
            },
            None => {
                self.own_superblock(self.find_part(crate::backing::Part::Metadata)?.path())?.transaction_id
            }
        };
        if found != id {
            return Err(PoolError::Mismatch { catalog: self.paths.catalog(), expected: id, found });
        }
        Ok(self.catalog.take_transaction_id(id)?)
    }

    fn make_missing_base(&mut self) -> Result<(), PoolError> {
        // One that was half made has its name.
        for device in self.catalog.devices_in(DeviceState::Draft)? {
            self.reap_one(&device)?;
        }
        match self.catalog.base()? {
            Some(_) => Ok(()),
            None => make_base(self),
        }
    }

    /// Removes a node of ours that nobody needs. The kernel refuses it if somebody uses it after all.
    fn remove_stray(&self, name: &dm::Name) -> Result<(), PoolError> {
        let prefix = Uuid::prefix_of(&self.record.uuid);
        match self.host.dm.find(name)? {
            Some(info) if info.uuid.as_ref().is_some_and(|uuid| uuid.starts_with(&prefix)) => {
                Ok(self.host.dm.remove(name, Removal::Now).map(drop)?)
            }
            _ => Ok(()),
        }
    }
}

impl Repaired {
    /// The findings whose turn it is now; none when all was tried once. What was tried is not tried again.
    fn next_steps(&self, found: &[Finding]) -> Option<Vec<Finding>> {
        let tried = |finding: &&Finding| {
            let again = |other: &Finding| other.repair() == finding.repair();
            self.done.iter().any(again) || self.failed.iter().any(|(other, _)| again(other))
        };
        let phase = |finding: &Finding| finding.repair().map(Repair::phase);
        if self.failed.iter().any(|(failed, _)| phase(failed) == Some(Phase::Metadata)) {
            return None;
        }
        // As long as a record is open, whatever relies on the records must wait.
        let records_failed = self.failed.iter().any(|(failed, _)| phase(failed) == Some(Phase::Records));
        let is_mismatched = found.iter().any(|finding| finding.kind == "transaction_mismatch");
        let open = || {
            let open = found.iter().filter(|finding| finding.repair().is_some() && !tried(finding));
            open.filter(|finding| !(records_failed && is_mismatched && phase(finding) > Some(Phase::Records)))
        };
        let next = open().filter_map(phase).min()?;
        Some(open().filter(|finding| phase(finding) == Some(next)).cloned().collect())
    }
}

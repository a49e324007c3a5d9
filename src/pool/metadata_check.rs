//! The check of a pool's metadata before it is loaded.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Pool, PoolError, now};
use crate::catalog::MetadataCheck;
use crate::dm::{Mode, PoolStatus, Superblock};
use crate::thin_tools::{Checked, Depth, Outcome};
use crate::units::MetaBlocks;

/// Whether an activation checks the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checking {
    /// Quickly when the pool was put to rest in order, in full when not.
    AsNeeded,
    /// Not at all: for somebody who knows better than the checker.
    Skip,
}

impl Pool<'_> {
    /// What the last check of the metadata came to; none before the first activation.
    pub fn metadata_check(&self) -> Result<Option<MetadataCheck>, PoolError> {
        Ok(self.catalog.metadata_check()?)
    }

    /// Checks the metadata, and writes down what came out. Damage is an error: a pool that is written to on damaged
    /// metadata loses more with every write. What can't be checked, or not in time, is activated all the same, as the
    /// kernel checks each block when it reads it; the status says so. `look` is done before, or beside a check that is
    /// quick.
    pub(super) fn check_metadata(
        &mut self,
        metadata: &Path,
        superblock: &Superblock,
        look: impl FnOnce(&Self) -> Result<(), PoolError>,
    ) -> Result<MetadataCheck, PoolError> {
        let clean = self.record.clean;
        let depth = if clean && !superblock.needs_check { Depth::Quick } else { Depth::Full };
        let limit = limit(superblock.metadata_used);
        if !clean {
            tracing::info!(pool = %self.name, ?limit, "it was not put to rest in order: checking all its metadata");
        }
        let tool = &self.host.checker;
        let check = || tool.check(metadata, depth, limit);
        let checked = match depth {
            Depth::Quick => thread::scope(|scope| {
                let checking = thread::Builder::new().spawn_scoped(scope, check);
                look(self)?;
                // Where no thread is to be had, it is made afterwards.
                let joined =
                    checking.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
                Ok::<_, PoolError>(joined.unwrap_or_else(|_| check())?)
            })?,
            Depth::Full => {
                look(self)?;
                check()?
            }
        };
        let check = MetadataCheck { at: now(), clean, checked };
        self.catalog.set_metadata_check(&check)?;
        match &check.checked.outcome {
            Outcome::Damaged { said } => Err(PoolError::MetadataDamaged {
                pool: self.name.to_string(),
                metadata: metadata.to_owned(),
                said: said.clone(),
            }),
            _ => Ok(check),
        }
    }
}

impl Pool<'_> {
    /// Writes down that a check was left out.
    pub(super) fn skip_check(&mut self) -> Result<(), PoolError> {
        let checked = Checked { depth: Depth::Quick, outcome: Outcome::Skipped, took: Duration::ZERO };
        Ok(self.catalog.set_metadata_check(&MetadataCheck {
            at: now(),
            clean: self.record.clean,
            checked,
        })?)
    }

    /// Whether a pool that is put to rest now needs no more than a quick check next time: the kernel has nothing to say
    /// against it, and if a full check was due, it was made and found it sound.
    pub(super) fn is_trusted(&self) -> Result<bool, PoolError> {
        let sound = match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Working(usage) => !usage.needs_check && usage.mode != Mode::ReadOnly,
            PoolStatus::Fail | PoolStatus::Error => false,
        };
        let checked = self.catalog.metadata_check()?.is_none_or(|check| match check.checked.outcome {
            Outcome::Sound | Outcome::Leaks => true,
            Outcome::Damaged { .. } => false,
            Outcome::Unfinished { .. } | Outcome::NoTool | Outcome::Skipped => check.clean,
        });
        Ok(sound && checked)
    }
}

/// How long a check may take: half a minute, and a millisecond for each block that is in use. A disk that seeks for each
/// of them still comes to an end in that time, and a pool without much in it isn't waited for long.
pub(super) fn limit(used: MetaBlocks) -> Duration {
    Duration::from_secs(30) + Duration::from_millis(used.0)
}

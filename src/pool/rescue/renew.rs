//! Damaged metadata is made anew: of what thin_repair can still read of it, or of the newest backup.
//!
//! thin_repair's is the newer, so it is taken unless a backup has more of the devices that the catalog knows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::plan::Outlook;
use super::replace::{Kept, NewMetadata};
use super::{Generation, RescueError};
use crate::backing::{Backing, Part};
use crate::pool::backing::read_superblock;
use crate::pool::lock::Lock;
use crate::pool::{Host, Location, Pool, PoolError};
use crate::thin_metadata::{Metadata, Place, ThinDevice};
use crate::thin_tools::{Depth, Known, Outcome, longest};
use crate::units::{DataBlocks, DeviceId, MetaBlocks};

/// What new metadata is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeOf {
    /// Of the damaged, by thin_repair.
    TheDamaged,
    /// Of this backup.
    Backup(Generation),
}

impl fmt::Display for MadeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TheDamaged => f.write_str("what thin_repair reads of the damaged"),
            Self::Backup(generation) => write!(f, "backup {generation}"),
        }
    }
}

/// What a repair of damaged metadata would come to.
#[derive(Debug)]
pub struct RenewalPlan {
    /// What the new metadata would be made of.
    pub made_of: MadeOf,
    /// What would be of the devices.
    pub outlook: Outlook,
}

/// What a repair of damaged metadata came to.
#[derive(Debug)]
pub struct Renewed {
    /// What the new metadata was made of.
    pub made_of: MadeOf,
    /// What is of the devices.
    pub outlook: Outlook,
    /// Where the damaged metadata is.
    pub kept: Kept,
}

/// New metadata that is sound, and what it would come to.
struct Candidate {
    new: NewMetadata,
    made_of: MadeOf,
    outlook: Outlook,
}

impl Location {
    /// Finds out what a repair of damaged metadata would come to, by making the new metadata. It is not put in place.
    pub fn plan_metadata_repair(&self, host: &Host) -> Result<RenewalPlan, PoolError> {
        let mut pool = Pool::open(host, self)?;
        let life = pool.life()?;
        pool.settle_replacement()?;
        let Candidate { new, made_of, outlook } = pool.renew(&life)?;
        new.discard()?;
        Ok(RenewalPlan { made_of, outlook })
    }
}

impl Pool<'_> {
    /// Makes new metadata in the place of the damaged, which is kept.
    pub(in crate::pool) fn renew_metadata(&mut self, life: &Lock) -> Result<Renewed, PoolError> {
        let Candidate { new, made_of, outlook } = self.renew(life)?;
        let kept = self.put_in_place(new)?;
        Ok(Renewed { made_of, outlook, kept })
    }

    /// Takes the kernel's wish for a check away, once all of the metadata was found to be sound.
    pub(in crate::pool) fn clear_needs_check(&mut self, _life: &Lock) -> Result<(), PoolError> {
        self.refuse_to_replace()?;
        let metadata = self.find_part(Part::Metadata)?;
        let limit = self.longest();
        match self.host.checker.check(metadata.path(), Depth::Full, limit)?.outcome {
            Outcome::Sound => {}
            outcome => return Err(RescueError::NotSound { said: format!("{outcome:?}") }.into()),
        }
        Ok(self.host.tools.clear_needs_check(metadata.path(), limit).map_err(RescueError::from)?)
    }

    pub(super) fn longest(&self) -> std::time::Duration {
        longest(MetaBlocks(self.record.policy.metadata_size.0 / MetaBlocks::SIZE.0))
    }

    fn renew(&self, life: &Lock) -> Result<Candidate, PoolError> {
        let known = self.known_devices();
        let repaired = self
            .make_metadata(life, Self::repair_into)
            .and_then(|new| self.candidate(new, MadeOf::TheDamaged, &known));
        match repaired {
            Ok(repaired) if repaired.outlook.lost.is_empty() => Ok(repaired),
            Ok(repaired) => match self.worth_restoring(&repaired.outlook)? {
                Some(generation) => {
                    repaired.new.discard()?;
                    self.restored(life, Some(generation), &known)
                }
                None => Ok(repaired),
            },
            Err(cause) => {
                tracing::warn!(pool = %self.name, error = %cause, "thin_repair made nothing of it: trying the newest backup");
                // That there is none says less than why it would be needed.
                self.restored(life, None, &known).map_err(|error| match error {
                    PoolError::Rescue(RescueError::NoBackup(_)) => cause,
                    error => cause.after_cleaning_up(Err(error)),
                })
            }
        }
    }

    fn restored(
        &self,
        life: &Lock,
        generation: Option<Generation>,
        known: &Mapped,
    ) -> Result<Candidate, PoolError> {
        let backup = self.choose_backup(generation)?;
        let new = self.make_metadata(life, |pool, into| pool.restore_into(&backup, into))?;
        self.candidate(new, MadeOf::Backup(backup.generation), known)
    }

    /// The newest backup, if it has more of the devices that the catalog knows.
    fn worth_restoring(&self, repaired: &Outlook) -> Result<Option<Generation>, PoolError> {
        let Ok(backup) = self.choose_backup(None) else { return Ok(None) };
        let restored = self.outlook(&super::restore::devices_of(&backup))?;
        Ok((restored.lost.len() < repaired.lost.len()).then_some(backup.generation))
    }

    fn candidate(&self, new: NewMetadata, made_of: MadeOf, known: &Mapped) -> Result<Candidate, PoolError> {
        let read = || -> Result<Outlook, PoolError> {
            let metadata = Metadata::at_rest(self.host.metadata.open(&Place::Path(new.path().to_owned()))?)?;
            let devices: BTreeMap<DeviceId, ThinDevice> =
                metadata.devices()?.into_iter().map(|device| (device.id, device)).collect();
            let mut outlook = self.outlook(&devices)?;
            outlook.shrunk = self.shrunk(&devices, known)?;
            Ok(outlook)
        };
        match read() {
            Ok(outlook) => Ok(Candidate { new, made_of, outlook }),
            Err(cause) => Err(cause.after_cleaning_up(new.discard())),
        }
    }

    /// Makes metadata of what can still be read of the damaged.
    fn repair_into(&self, into: &Path) -> Result<(), PoolError> {
        let damaged = self.damaged()?;
        // Without a superblock, thin_repair has to be told what it would say.
        let known = match read_superblock(&damaged) {
            Ok(_) => None,
            Err(_) => Some(Known {
                transaction_id: self.catalog.transaction_id()?,
                block_size: self.record.policy.block_size,
                data_blocks: DataBlocks(
                    self.record.policy.data_size.0 / self.record.policy.block_size.bytes().0,
                ),
            }),
        };
        let made = self.host.tools.repair(&damaged, into, known.as_ref(), self.longest());
        Ok(made.map_err(RescueError::from)?)
    }

    /// Where the damaged metadata is. A file that was cut short is better than nothing.
    fn damaged(&self) -> Result<std::path::PathBuf, PoolError> {
        match &self.record.backing {
            Backing::Loop(loopback) => Ok(loopback.files.metadata.clone()),
            _ => Ok(self.find_part(Part::Metadata)?.path().to_owned()),
        }
    }

    /// How many blocks each device had, as far as anything still tells: the damaged metadata itself, or else the newest
    /// backup, in which a device may have had fewer.
    fn known_devices(&self) -> Mapped {
        let details = self.damaged().ok().and_then(|path| {
            let metadata = Metadata::at_rest(self.host.metadata.open(&Place::Path(path)).ok()?).ok()?;
            metadata.details().ok()
        });
        if let Some(details) = details {
            return details.into_iter().map(|device| (device.id, device)).collect();
        }
        match self.choose_backup(None) {
            Ok(backup) => super::restore::devices_of(&backup),
            Err(_) => Mapped::new(),
        }
    }

    /// The devices that the catalog knows and that would have fewer blocks than are known of.
    fn shrunk(
        &self,
        devices: &BTreeMap<DeviceId, ThinDevice>,
        known: &Mapped,
    ) -> Result<Vec<String>, PoolError> {
        let block = self.record.policy.block_size;
        let mut shrunk = Vec::new();
        for entry in self.catalog.entries()? {
            let (Some(now), Some(before)) = (devices.get(&entry.device.id), known.get(&entry.device.id))
            else {
                continue;
            };
            if now.transaction_id == before.transaction_id && now.mapped < before.mapped {
                shrunk.push(format!(
                    "{}: {} of its {} can't be found any more, and read as zeros",
                    crate::pool::check::told(&entry),
                    (before.mapped - now.mapped).bytes(block),
                    before.mapped.bytes(block),
                ));
            }
        }
        Ok(shrunk)
    }
}

/// What is known of each device.
type Mapped = BTreeMap<DeviceId, ThinDevice>;

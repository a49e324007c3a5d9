//! A lost catalog made anew, of what the pool itself knows.
//!
//! The new catalog begins as one that knows where the pool is, and what could be salvaged of the damaged one, at a
//! transaction that the pool is not at. From there on it is repaired as any catalog that doesn't belong to its pool is:
//! records are compared, and devices that none knows are taken in.

use std::path::{Path, PathBuf};

use super::{Orphans, Repaired, place};
use crate::backing::{Backing, Devices, ExistingPool, LoopFileIds, LoopFiles, Loopback, Member};
use crate::catalog::{Catalog, Policy, PoolFile, PoolRecord, PoolState, Salvaged};
use crate::dm::{self, Superblock, Table, Uuid};
use crate::pool::backing::read_superblock;
use crate::pool::lock::Lock;
use crate::pool::setup::existing::policy_of_owner;
use crate::pool::{Host, Location, Pool, PoolError, check, io_error, names, now};
use crate::units::{Bytes, TransactionId};

/// A catalog to be made anew.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// Where the pool is, if somebody says so.
    pub from: Option<RebuildFrom>,
    /// What is taken for decided at setup where nothing else tells.
    pub policy: Policy,
}

/// Where a pool's blocks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildFrom {
    /// In the loop files of a directory.
    Files(PathBuf),
    /// On two block devices.
    Devices {
        /// The data.
        data: PathBuf,
        /// The metadata.
        metadata: PathBuf,
    },
    /// In a thin pool of somebody else's.
    ThinPool(String),
}

/// What came of it.
#[derive(Debug)]
pub struct Rebuilt {
    /// Where the damaged catalog is kept, if there was one.
    pub kept: Option<PathBuf>,
    /// How many records could still be read.
    pub salvaged: usize,
    /// What was done since.
    pub repaired: Repaired,
}

/// What a pool is, however that was found out.
struct Known {
    uuid: uuid::Uuid,
    created: i64,
    backing: Backing,
    policy: Policy,
    transaction: TransactionId,
}

impl Location {
    /// Makes the catalog anew. Refused where the one that is there can be read.
    pub fn rebuild_catalog(&self, host: &Host, rebuild: &Rebuild) -> Result<Rebuilt, PoolError> {
        let paths = self.paths();
        crate::backing::make_private_directory(&paths.locks())?;
        let life = Lock::exclusive(&paths.life_lock(), self.patience)?;
        self.refuse_readable(host)?;
        let kept = place::keep(&paths.catalog())?;
        let salvaged = kept.as_deref().map(Salvaged::read).unwrap_or_default();
        let known = self.find_out(host, rebuild, &salvaged)?;
        let count = salvaged.records.len();
        self.make_catalog(&known, &salvaged)?;
        drop(life);
        Ok(Rebuilt { kept, salvaged: count, repaired: self.repair(host, Orphans::Adopt)? })
    }

    fn refuse_readable(&self, host: &Host) -> Result<(), PoolError> {
        match Pool::open_in_any_state(host, self) {
            Ok(Some(pool)) if matches!(pool.catalog.damages().as_deref(), Ok([])) => {
                Err(PoolError::CatalogReadable(self.paths().catalog()))
            }
            Err(error) if !check::lost(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the new catalog, and puts it in its place. One that an earlier rebuild made, and was killed before it was in
    /// place, is taken if it is of the same moment: it was salvaged when there still was more to be read.
    fn make_catalog(&self, known: &Known, salvaged: &Salvaged) -> Result<(), PoolError> {
        let path = self.paths().catalog();
        let draft = place::draft(&path);
        // No transaction of the pool's: as long as it is not taken over, nobody can work with this catalog.
        let transaction_id = TransactionId(known.transaction.0.wrapping_sub(1));
        let catalog = if let Some(finished) = finished(&draft, transaction_id) {
            finished
        } else {
            place::clear_draft(&path)?;
            let record = PoolRecord {
                uuid: known.uuid,
                state: PoolState::Ready,
                transaction_id,
                created: known.created,
                backing: known.backing.clone(),
                policy: known.policy.clone(),
                clean: false,
            };
            let mut catalog = Catalog::create(&draft)?;
            catalog.fill(&record, salvaged, now())?;
            catalog
        };
        // All of it may still be in its log, which stays behind when it is placed.
        catalog.fold()?;
        drop(catalog);
        place::place(&path)
    }

    fn find_out(&self, host: &Host, rebuild: &Rebuild, salvaged: &Salvaged) -> Result<Known, PoolError> {
        let catalog = self.paths().catalog();
        let written = match PoolFile::read(&catalog) {
            Ok(written) => written,
            Err(error) => {
                tracing::warn!(%error, "the copy of the pool's record can't be read either");
                None
            }
        };
        let written = written.or_else(|| salvaged.pool.as_ref().map(PoolFile::of));
        let (backing, policy) = match (&rebuild.from, &written) {
            (Some(from), _) => {
                let policy = written.as_ref().map_or(&rebuild.policy, |written| &written.policy);
                Self::backing_from(host, from, policy)?
            }
            (None, Some(written)) => (written.backing.clone(), written.policy.clone()),
            (None, None) => return Err(PoolError::BackingUnknown(PoolFile::beside(&catalog))),
        };
        let superblock = self.superblock_of(host, &backing)?;
        let block_size = superblock.map_or(policy.block_size, |superblock| superblock.block_size);
        let uuid = written.as_ref().and_then(|written| written.uuid.parse().ok());
        Ok(Known {
            uuid: match uuid {
                Some(uuid) => uuid,
                None => self.live_uuid(host)?.unwrap_or_else(uuid::Uuid::new_v4),
            },
            created: written.map_or_else(now, |written| written.created),
            backing,
            policy: Policy { block_size, ..policy },
            transaction: superblock.map_or(TransactionId(0), |superblock| superblock.transaction_id),
        })
    }

    fn backing_from(
        host: &Host,
        from: &RebuildFrom,
        policy: &Policy,
    ) -> Result<(Backing, Policy), PoolError> {
        let mut policy = policy.clone();
        let backing = match from {
            RebuildFrom::Files(directory) => {
                let files = LoopFiles::in_directory(directory);
                let length = |path: &Path| {
                    path.metadata().map(|found| Bytes(found.len())).map_err(io_error("find", path))
                };
                policy.data_size = length(&files.data)?;
                policy.metadata_size = length(&files.metadata)?;
                let ids = LoopFileIds::of(&files).map_err(io_error("look at", directory))?;
                Backing::Loop(Loopback { files, ids: Some(ids) })
            }
            RebuildFrom::Devices { data, metadata } => {
                let member = |path: &Path| {
                    let device = host.blocks.look(path)?;
                    Member::of(&device).ok_or(PoolError::NoIdentity(device.name))
                };
                let (data, metadata) = (member(data)?, member(metadata)?);
                (policy.data_size, policy.metadata_size) = (data.size, metadata.size);
                Backing::Devices(Devices {
                    data: Some(data),
                    metadata: Some(metadata),
                    taken: true,
                    ..Devices::default()
                })
            }
            RebuildFrom::ThinPool(name) => {
                let device = dm::Name::new(name.as_str())?;
                let info = host.dm.find(&device)?.filter(|info| info.live);
                let info = info.ok_or_else(|| PoolError::ExistingNotActive(name.clone()))?;
                if let Some(Table::ThinPool(table)) = host.dm.table(&device)? {
                    policy = policy_of_owner(&policy, &table);
                }
                let uuid = info.uuid.ok_or_else(|| PoolError::ExistingUnmarked(name.clone()))?;
                Backing::ThinPool(ExistingPool { name: name.clone(), uuid })
            }
        };
        Ok((backing, policy))
    }

    /// The superblock of what is taken for the pool's metadata; nothing for a thin pool of somebody else's.
    fn superblock_of(&self, host: &Host, backing: &Backing) -> Result<Option<Superblock>, PoolError> {
        let path = match backing {
            Backing::Loop(loopback) => loopback.files.metadata.clone(),
            Backing::Devices(_) => {
                let metadata = backing.members().find(|(part, _)| *part == crate::backing::Part::Metadata);
                let Some((_, member)) = metadata else { return Ok(None) };
                match host.blocks.find(&member.identity)? {
                    Some(device) => device.node,
                    None => return Ok(None),
                }
            }
            Backing::ThinPool(_) => return Ok(None),
        };
        match read_superblock(&path) {
            Ok(superblock) => Ok(Some(superblock)),
            Err(source) => Err(PoolError::Superblock { pool: self.name.to_string(), path, source }),
        }
    }

    /// The uuid that a live pool of this name has.
    fn live_uuid(&self, host: &Host) -> Result<Option<uuid::Uuid>, PoolError> {
        let Some(info) = host.dm.find(&names::pool_device(&self.name)?)? else { return Ok(None) };
        Ok(info.uuid.as_deref().and_then(Uuid::pool_of))
    }
}

/// The new catalog that an earlier rebuild made, if it is whole, and of the same moment.
fn finished(draft: &Path, transaction: TransactionId) -> Option<Catalog> {
    let catalog = Catalog::open(draft).ok().flatten()?;
    let is_whole = catalog.damages().is_ok_and(|damages| damages.is_empty());
    let of_now = matches!(catalog.pool(), Ok(Some(record)) if record.transaction_id == transaction);
    (is_whole && of_now).then_some(catalog)
}

//! Bringing a pool that exists to life, and putting it to rest.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::lock::Lock;
use super::{Pool, PoolError, io_error};
use crate::backing::Attached;
use crate::catalog::{Catalog, PoolRecord};
use crate::dm::{
    self, Access, Feature, NewDevice, PoolStatus, Removal, Removed, Superblock, Table, ThinPool, Uuid,
    Visibility,
};
use crate::fs::mounts_of;
use crate::units::{Bytes, DataBlocks};

/// What an activation found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activated {
    /// It was active already.
    Already,
    /// It is active now.
    Now,
    /// It is active now, and can only be read: its status tells why.
    Unchangeable,
}

/// What a deactivation found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deactivated {
    /// It was not active.
    Already,
    /// It is inactive now.
    Now,
}

/// The kernel raises its low-water event when this share of the data blocks, in percent, is free: the other side
/// of the 80% at which pools are usually grown.
const LOW_WATER_PERCENT: u64 = 20;

/// How long a loop device of an earlier activation may linger: a probe of udev's that has it open keeps the kernel
/// from detaching the file at once.
const DETACH_PATIENCE: Duration = Duration::from_secs(2);

impl Pool<'_> {
    /// Makes the pool active, after making sure that its metadata is really there.
    pub fn activate(&mut self) -> Result<Activated, PoolError> {
        let _life = self.life()?;
        let activated = self.activate_under_lock()?;
        if activated != Activated::Unchangeable {
            self.reap()?;
        }
        Ok(activated)
    }

    pub(super) fn activate_under_lock(&mut self) -> Result<Activated, PoolError> {
        match self.active()? {
            Some(info) if info.live && info.suspended => {
                self.host.dm.resume(&self.device, Visibility::Internal)?;
                return Ok(Activated::Now);
            }
            Some(info) if info.live => return Ok(Activated::Already),
            // Left by an activation that was killed between its two halves.
            Some(_) => drop(self.host.dm.remove(&self.device, Removal::Now)?),
            None => {}
        }
        self.check_loop_files()?;
        self.check_superblock()?;
        self.load()?;
        // Settling also tells whether the pool and its catalog belong together. If not, it is not left active.
        match self.change().map(drop) {
            Ok(()) => Ok(Activated::Now),
            // What is in it can still be read, and that may be all that somebody needs.
            Err(PoolError::Unusable { .. }) if self.belongs_to_its_catalog()? => Ok(Activated::Unchangeable),
            Err(cause) => Err(match self.host.dm.remove(&self.device, Removal::Now) {
                Ok(_) => cause,
                Err(cleanup) => PoolError::CleanUp { cause: cause.into(), cleanup: Box::new(cleanup.into()) },
            }),
        }
    }

    /// Whether a pool that can't be changed is at a transaction that its catalog knows.
    fn belongs_to_its_catalog(&self) -> Result<bool, PoolError> {
        let PoolStatus::Working(usage) = self.host.dm.pool_status(&self.device)? else { return Ok(false) };
        let (known, intent) = (self.catalog.transaction_id()?, self.catalog.intent()?);
        let intended = intent.map(|intent| intent.before.next());
        Ok(usage.transaction_id == known || Some(usage.transaction_id) == intended)
    }

    /// Makes the pool inactive. Refused while anything in it is in use.
    pub fn deactivate(&mut self) -> Result<Deactivated, PoolError> {
        let _life = self.life()?;
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        if self.active()?.is_none() {
            return Ok(Deactivated::Already);
        }
        self.refuse_if_in_use()?;
        self.remove_nodes(Removal::Now)?;
        self.catalog.fold()?;
        Ok(Deactivated::Now)
    }

    /// The right to make the pool active or inactive. While we waited for it, the pool may have been destroyed, and
    /// another one set up in its place.
    fn life(&self) -> Result<Lock, PoolError> {
        let absent = || PoolError::Vanished { what: "pool", name: self.name.to_string() };
        let life = match Lock::exclusive(&self.paths.life_lock(), self.patience) {
            Err(error) if error.is_not_found() => return Err(absent()),
            lock => lock?,
        };
        let now = Catalog::open(&self.paths.catalog())?.map(|catalog| catalog.pool()).transpose()?.flatten();
        match now {
            Some(now) if (now.uuid, now.state) == (self.record.uuid, self.record.state) => Ok(life),
            _ => Err(absent()),
        }
    }

    /// Attaches the files and loads the pool's table.
    pub(super) fn load(&self) -> Result<(), PoolError> {
        let files = self.files();
        let (data, metadata) = (self.attach(&files.data)?, self.attach(&files.metadata)?);
        let created = self.host.dm.create(&NewDevice {
            name: &self.device,
            uuid: &Uuid::of_pool(&self.record.uuid),
            table: &Table::ThinPool(table(&self.record, &data, &metadata)),
            access: Access::ReadWrite,
            visibility: Visibility::Internal,
        });
        // The kernel says EINVAL to a target that it can't find, as to everything else.
        match created {
            Err(error) if self.host.dm.versions().is_ok_and(|versions| versions.thin_pool.is_none()) => {
                tracing::debug!(%error);
                return Err(PoolError::NoThinPool);
            }
            created => drop(created?),
        }
        // The pool holds the loop devices from here on; ours may be dropped.
        match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Working(_) => Ok(()),
            status => {
                self.host.dm.remove(&self.device, Removal::Now)?;
                Err(PoolError::NotCommitted(Box::new(status)))
            }
        }
    }

    fn attach(&self, file: &Path) -> Result<Attached, PoolError> {
        let deadline = Instant::now() + DETACH_PATIENCE;
        // Nothing in the kernel stops two loop devices on one file, or two pools on them.
        while let Some(device) = self.host.loops.find(file)? {
            if Instant::now() >= deadline {
                return Err(PoolError::AttachedElsewhere { path: file.to_owned(), device });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self.host.loops.attach(file)?)
    }

    fn check_loop_files(&self) -> Result<(), PoolError> {
        let (files, policy) = (self.files(), &self.record.policy);
        for (path, expected) in [(&files.data, policy.data_size), (&files.metadata, policy.metadata_size)] {
            let found = Bytes(path.metadata().map_err(io_error("find", path))?.len());
            if found < expected {
                return Err(PoolError::LoopFileSize { path: path.clone(), expected, found });
            }
        }
        Ok(())
    }

    /// The kernel would format an all-zero metadata device as a new pool, without a word.
    fn check_superblock(&self) -> Result<(), PoolError> {
        let path = &self.files().metadata;
        let file = File::open(path).map_err(io_error("open", path))?;
        let superblock = Superblock::read(file).map_err(|source| PoolError::Superblock {
            pool: self.name.to_string(),
            path: path.clone(),
            source,
        })?;
        let expected = self.record.policy.block_size;
        if superblock.block_size != expected {
            return Err(PoolError::BlockSizeMismatch { expected, found: superblock.block_size });
        }
        Ok(())
    }

    /// Refuses when a device of the pool is mounted or open, and names the first such.
    pub(super) fn refuse_if_in_use(&self) -> Result<(), PoolError> {
        for info in self.nodes()? {
            let at: Vec<_> = mounts_of(info.device)?.into_iter().map(|mount| mount.at).collect();
            if !at.is_empty() {
                return Err(PoolError::Mounted { what: info.name.to_string(), at });
            }
            if info.open_count > 0 {
                return Err(PoolError::InUse { device: info.name, open_count: info.open_count });
            }
        }
        Ok(())
    }

    /// Removes every device-mapper device of the pool, itself last.
    pub(super) fn remove_nodes(&self, removal: Removal) -> Result<(), PoolError> {
        for info in self.nodes()? {
            self.host.dm.remove(&info.name, removal)?;
        }
        if self.active()?.is_some() {
            match self.host.dm.remove(&self.device, removal)? {
                Removed::Gone => {}
                Removed::WhenClosed => {
                    tracing::warn!(pool = %self.device, "it is removed when its last user closes it");
                }
            }
        }
        Ok(())
    }

    /// The thin devices of the pool that are active, by their uuids: what the catalog knows of them doesn't matter.
    fn nodes(&self) -> Result<Vec<dm::Info>, PoolError> {
        let (prefix, own) = (Uuid::prefix_of(&self.record.uuid), Uuid::of_pool(&self.record.uuid));
        let mut nodes = Vec::new();
        for name in self.host.dm.list()? {
            let info = self.host.dm.find(&name)?;
            let uuid = info.as_ref().and_then(|info| info.uuid.clone()).unwrap_or_default();
            nodes.extend(info.filter(|_| uuid.starts_with(&prefix) && uuid != own.as_str()));
        }
        Ok(nodes)
    }
}

/// The table of a pool on these devices.
fn table(record: &PoolRecord, data: &Attached, metadata: &Attached) -> ThinPool {
    let policy = &record.policy;
    let blocks = policy.data_size.0 / policy.block_size.bytes().0;
    let mut features = Vec::new();
    if !policy.zero_new_blocks {
        features.push(Feature::SkipBlockZeroing);
    }
    // Nothing can grow this pool while a write waits for it, so waiting would only look like a hang.
    features.push(Feature::ErrorIfNoSpace);
    ThinPool {
        length: DataBlocks(blocks).bytes(policy.block_size).sectors(),
        metadata: metadata.device,
        data: data.device,
        block_size: policy.block_size,
        low_water_mark: DataBlocks(blocks * LOW_WATER_PERCENT / 100),
        features,
    }
}

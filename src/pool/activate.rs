//! Bringing a pool that exists to life, and putting it to rest.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::backing::Source;
use super::lock::Lock;
use super::{Checking, Pool, PoolError};
use crate::backing::{Attached, Backing, Part};
use crate::catalog::{Catalog, Clock, PoolFile, PoolRecord};
use crate::dm::{
    self, Access, Feature, NewDevice, PoolStatus, Removal, Removed, Rules, Superblock, Table, ThinPool, Uuid,
    Visibility,
};
use crate::thin_metadata::Place;
use crate::units::{DataBlocks, Percent};

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

/// Between two tries to deactivate a pool that is in use: nothing tells when a device's last user is gone.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

impl Pool<'_> {
    /// Makes the pool active, after making sure that its metadata is really there and sound.
    pub fn activate(&mut self, checking: Checking) -> Result<Activated, PoolError> {
        let _life = self.life()?;
        PoolFile::remove_draft(&self.paths.catalog())?;
        let activated = self.activate_under_lock(checking)?;
        if activated != Activated::Unchangeable {
            self.reap()?;
        }
        Ok(activated)
    }

    pub(super) fn activate_under_lock(&mut self, checking: Checking) -> Result<Activated, PoolError> {
        let activated = self.bring_to_life(checking)?;
        // A pool with the size that it had is better than none.
        if activated != Activated::Unchangeable
            && let Err(error) = self.settle_growth()
        {
            tracing::warn!(pool = %self.name, %error, "a growth that was interrupted could not be finished");
        }
        Ok(activated)
    }

    fn bring_to_life(&mut self, checking: Checking) -> Result<Activated, PoolError> {
        match self.active()? {
            Some(info) if info.live && info.suspended => {
                self.host.dm.resume(&self.device, Visibility::Internal)?;
                return Ok(Activated::Now);
            }
            Some(info) if info.live => return Ok(Activated::Already),
            _ if !self.is_ours_to_load() => {
                return Err(PoolError::ExistingNotActive(self.device.to_string()));
            }
            // Left by an activation that was killed between its two halves.
            Some(_) => drop(self.host.dm.remove(&self.device, Removal::Now)?),
            None => {}
        }
        self.settle_replacement()?;
        let (data, metadata) = (self.find_part(Part::Data)?, self.find_part(Part::Metadata)?);
        let superblock = self.check_superblock(metadata.path())?;
        let place = Place::Path(metadata.path().to_owned());
        let compare = |pool: &Self| pool.refuse_other_devices(&place);
        self.load_checked(checking, &data, &metadata, &superblock, compare)?;
        let clock = Clock { time: superblock.time, transaction: superblock.transaction_id };
        self.catalog.set_clock(clock)?;
        self.catalog.keep_pool_file()?;
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

    /// Makes the pool active whatever transaction its catalog is at, so that a repair can look into it. As long as the two
    /// differ, nothing else can be done with it.
    pub(super) fn load_to_repair(&mut self, _life: &Lock) -> Result<(), PoolError> {
        match self.active()? {
            _ if !self.is_ours_to_load() => {
                return Err(PoolError::ExistingNotActive(self.device.to_string()));
            }
            Some(_) => drop(self.host.dm.remove(&self.device, Removal::Now)?),
            None => {}
        }
        let (data, metadata) = (self.find_part(Part::Data)?, self.find_part(Part::Metadata)?);
        let superblock = self.own_superblock(metadata.path())?;
        self.load_checked(Checking::AsNeeded, &data, &metadata, &superblock, |_| Ok(()))
    }

    /// Loads it if neither the checker nor `look` has anything against it.
    fn load_checked(
        &mut self,
        checking: Checking,
        data: &Source,
        metadata: &Source,
        superblock: &Superblock,
        look: impl FnOnce(&Self) -> Result<(), PoolError>,
    ) -> Result<(), PoolError> {
        match checking {
            Checking::AsNeeded => drop(self.check_metadata(metadata.path(), superblock, look)?),
            Checking::Skip => {
                look(self)?;
                self.skip_check()?;
            }
        }
        // Before anything is written: from here on, only a deactivation puts it to rest.
        self.catalog.set_clean(false)?;
        self.record.clean = false;
        self.load(&self.attach(data)?, &self.attach(metadata)?)
    }

    /// Whether the pool's own device comes and goes by us, and not by who made it.
    fn is_ours_to_load(&self) -> bool {
        !matches!(self.record.backing, Backing::ThinPool(_))
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
        if self.active()?.is_some() {
            self.wait_for_readers()?;
        }
        let life = self.life()?;
        self.deactivate_under_lock(&life)
    }

    pub(super) fn deactivate_under_lock(&mut self, _life: &Lock) -> Result<Deactivated, PoolError> {
        if self.active()?.is_none() {
            return Ok(Deactivated::Already);
        }
        self.refuse_if_in_use()?;
        let readers = self.keep_readers_out()?;
        let change = self.stop_changes().map_err(|error| {
            let back = self.activate_remembered().map(|failed| {
                for container in failed {
                    tracing::warn!(container = container.name, error = %container.error, "it is not active any more");
                }
            });
            error.after_cleaning_up(back)
        })?;
        let trusted = self.is_ours_to_load() && self.is_trusted()?;
        self.remove_nodes(Removal::Now)?;
        self.catalog.set_clean(trusted)?;
        self.record.clean = trusted;
        self.catalog.fold()?;
        drop((change, readers));
        if trusted {
            self.back_up_at_rest();
        }
        Ok(Deactivated::Now)
    }

    /// The same, but waits for as long as this for who uses the pool's devices: at shutdown, those who do are being
    /// stopped at the same time.
    pub fn deactivate_within(&mut self, wait: Duration) -> Result<Deactivated, PoolError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.deactivate() {
                Err(error) if error.may_pass() && Instant::now() < deadline => {
                    tracing::debug!(pool = %self.name, %error, "waiting");
                    std::thread::sleep(BUSY_PAUSE);
                }
                done => return done.map_err(|error| self.explained(error)),
            }
        }
    }

    /// The right to make the pool active or inactive. While we waited for it, the pool may have been destroyed, and
    /// another one set up in its place; or it was changed, and what we know of it is from before.
    pub(super) fn life(&mut self) -> Result<Lock, PoolError> {
        let life = match Lock::exclusive(&self.paths.life_lock(), self.patience) {
            Err(error) if error.is_not_found() => {
                return Err(PoolError::Vanished { what: "pool", name: self.name.to_string() });
            }
            lock => lock?,
        };
        self.record = self.record_by_now()?;
        Ok(life)
    }

    /// What the catalog says of the pool by now, which was destroyed if it says something else than when it was opened.
    pub(super) fn record_by_now(&self) -> Result<PoolRecord, PoolError> {
        let now = Catalog::open(&self.paths.catalog())?.map(|catalog| catalog.pool()).transpose()?.flatten();
        now.filter(|now| (now.uuid, now.state) == (self.record.uuid, self.record.state))
            .ok_or_else(|| PoolError::Vanished { what: "pool", name: self.name.to_string() })
    }

    /// Loads the pool's table on its two parts. It holds them from then on.
    pub(super) fn load(&self, data: &Attached, metadata: &Attached) -> Result<(), PoolError> {
        let created = self.host.dm.create(&NewDevice {
            name: &self.device,
            uuid: &Uuid::of_pool(&self.record.uuid),
            table: &Table::ThinPool(table(&self.record, data, metadata)),
            access: Access::ReadWrite,
            visibility: Visibility::Internal,
            rules: Rules::Awaited,
        });
        // The kernel says EINVAL to a target that it can't find, as to everything else.
        match created {
            Err(error) if self.host.dm.versions().is_ok_and(|versions| versions.thin_pool.is_none()) => {
                tracing::debug!(%error);
                return Err(PoolError::NoThinPool);
            }
            created => drop(created?),
        }
        match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Working(_) => Ok(()),
            status => {
                self.host.dm.remove(&self.device, Removal::Now)?;
                Err(PoolError::NotCommitted(Box::new(status)))
            }
        }
    }

    /// Refuses when a device of the pool is mounted or open, and names the first such.
    pub(super) fn refuse_if_in_use(&self) -> Result<(), PoolError> {
        let (nodes, mounts) = (self.nodes()?, self.host.fs.all_mounts()?);
        for info in nodes {
            let at: Vec<_> = mounts
                .iter()
                .filter(|mount| mount.device == info.device)
                .map(|mount| mount.at.clone())
                .collect();
            if !at.is_empty() {
                return Err(PoolError::Mounted { what: info.name.to_string(), at });
            }
            // Who mounts a container doesn't wait for udev, and may be gone before it has looked.
            let open = self.unprobed(|| Ok(self.host.dm.find(&info.name)?))?;
            if let Some(info) = open.filter(|info| info.open_count > 0) {
                // By whom is told when nobody tries again any more.
                let by = Box::default();
                return Err(PoolError::InUse { device: info.name, open_count: info.open_count, by });
            }
        }
        Ok(())
    }

    /// Lets nobody change the pool any more, whose devices are nearly all gone then. If it can't be, nodes are gone that are to be
    /// there whenever the pool is active.
    fn stop_changes(&self) -> Result<Lock, PoolError> {
        self.remove_idle_devices()?;
        let change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        // What somebody has made active meanwhile.
        self.refuse_if_in_use()?;
        Ok(change)
    }

    /// Takes away the nodes of devices that nobody works with. Each removal waits for udev, so this comes before the lock of
    /// changes is held: who makes or removes a device is not to wait as well.
    pub(super) fn remove_idle_devices(&self) -> Result<(), PoolError> {
        for info in self.nodes()?.into_iter().filter(|info| info.open_count == 0) {
            let Some(id) = self.id_of(&info) else { continue };
            // Whoever has the lock is about to use the device: it is looked at again when nobody can change the pool.
            let _idle = match Lock::try_exclusive(&self.paths.device_lock(id)) {
                Ok(Some(lock)) => lock,
                Ok(None) => continue,
                // A pool that is only half there has no locks.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            match self.host.dm.remove(&info.name, Removal::Now) {
                Err(error) if matches!(error.errno(), Some(Errno::EBUSY | Errno::ENXIO)) => {}
                removed => drop(removed?),
            }
        }
        Ok(())
    }

    /// Removes every device-mapper device of the pool, itself last. Who reads the metadata is to be kept out: he has the pool's
    /// device open, and only a live pool lets go of a metadata snapshot.
    pub(super) fn remove_nodes(&self, removal: Removal) -> Result<(), PoolError> {
        for info in self.nodes()? {
            match self.host.dm.remove(&info.name, removal) {
                // Who had made it active has taken it away.
                Err(error) if error.errno() == Some(Errno::ENXIO) => {}
                removed => drop(removed?),
            }
        }
        // One that a killed mount left would keep its directory from being removed.
        let prefix = Uuid::prefix_of(&self.record.uuid);
        self.host.fs.lower_shields(&|whose| whose.starts_with(&prefix))?;
        if self.is_ours_to_load() && self.active()?.is_some() {
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
    pub(super) fn nodes(&self) -> Result<Vec<dm::Info>, PoolError> {
        self.nodes_called(|_| true)
    }

    /// Those of them that are called so.
    pub(super) fn nodes_called(&self, so: impl Fn(&dm::Name) -> bool) -> Result<Vec<dm::Info>, PoolError> {
        let (prefix, own) = (Uuid::prefix_of(&self.record.uuid), Uuid::of_pool(&self.record.uuid));
        let mut nodes = Vec::new();
        for name in self.host.dm.list()?.into_iter().filter(so) {
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
    let blocks = DataBlocks(policy.data_size.0 / policy.block_size.bytes().0);
    let mut features = Vec::new();
    if !policy.zero_new_blocks {
        features.push(Feature::SkipBlockZeroing);
    }
    // Nothing can grow this pool while a write waits for it, so waiting would only look like a hang.
    features.push(Feature::ErrorIfNoSpace);
    ThinPool {
        length: blocks.bytes(policy.block_size).sectors(),
        metadata: metadata.device,
        data: data.device,
        block_size: policy.block_size,
        low_water_mark: low_water_mark(policy.autoextend_threshold, policy.min_free_space, blocks),
        features,
    }
}

/// The kernel raises its low-water event when this many data blocks are free: the other side of the share at which the
/// pool is to be grown. Of one that isn't to grow by itself, what is to be kept free for those who are in it.
pub(crate) fn low_water_mark(threshold: Percent, min_free_space: Percent, total: DataBlocks) -> DataBlocks {
    if threshold.get() == 100 { min_free_space.of_data(total) } else { total - threshold.of_data(total) }
}

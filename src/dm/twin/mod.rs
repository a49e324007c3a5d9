//! Device-mapper in memory, for tests: the same results as the kernel's, errnos and traps included.
//!
//! A test on a real kernel (`tests/kernel_dm.rs`) holds the twin to it. What the twin does not know exactly is how
//! many metadata blocks are in use: that number only grows and shrinks plausibly.

mod disk;
mod fault;
mod metadata;
mod pool;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use self::disk::Content;
use self::state::{Device, State};
use super::superblock::SUPERBLOCK_SIZE;
use super::{
    Access, DeviceMapper, DeviceNumber, Error, Info, Name, NewDevice, Operation, PoolMessage, PoolStatus,
    Removal, Removed, Table, ThinStatus, ThinUsage, UdevSync, Uuid, Version, Versions, Visibility,
};
use crate::units::{Bytes, DeviceId, Sectors};

pub use self::disk::Disk;
pub use self::fault::Injection;
pub use self::metadata::{Mapping, Volume};
pub use self::pool::IoError;
pub use self::state::TornSnapshot;

/// A machine with device-mapper that exists only in memory.
#[derive(Debug, Default)]
pub struct Twin(Mutex<State>);

/// The machine around device-mapper: its disks, its mounts, its users' writes.
impl Twin {
    /// A machine without disks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plugs in a new disk of all zeroes.
    pub fn add_disk(&self, number: DeviceNumber, size: Bytes) {
        self.insert_disk(number, Disk::new(size));
    }

    /// Plugs in a disk with what it holds: a loop device attached again, perhaps under another number.
    pub fn insert_disk(&self, number: DeviceNumber, disk: Disk) {
        self.lock().disks.insert(number, disk);
    }

    /// Unplugs a disk and gives it back. EBUSY while a table leads to it, ENXIO if there is none.
    pub fn remove_disk(&self, number: DeviceNumber) -> Result<Disk, Errno> {
        let mut state = self.lock();
        if state.in_use(number) {
            return Err(Errno::EBUSY);
        }
        state.disks.remove(&number).ok_or(Errno::ENXIO)
    }

    /// Gives a disk another size, also while it is in use. What pools wrote there stays.
    pub fn resize_disk(&self, number: DeviceNumber, size: Bytes) -> Result<(), Errno> {
        self.lock().disks.get_mut(&number).ok_or(Errno::ENXIO)?.size = size;
        Ok(())
    }

    /// Overwrites the start of a disk with zeroes: the next pool loaded on it is silently a new one.
    pub fn wipe(&self, metadata: DeviceNumber) -> Result<(), Errno> {
        self.lock().put(metadata, None)
    }

    /// Overwrites the start of a disk with what is no pool's metadata.
    pub fn damage(&self, metadata: DeviceNumber) -> Result<(), Errno> {
        self.lock().put(metadata, Some(Content::Garbage))
    }

    /// What `thin_repair` does: writes the metadata of one device to another, in good order again.
    pub fn repair(&self, from: DeviceNumber, to: DeviceNumber) -> Result<(), Errno> {
        let mut state = self.lock();
        let mut metadata = state.metadata(from).ok_or(Errno::EILSEQ)?.clone();
        metadata.needs_check = false;
        state.put(to, Some(Content::Pool(Box::new(metadata))))
    }

    /// What `thin_check --clear-needs-check-flag` does.
    pub fn clear_needs_check(&self, metadata: DeviceNumber) -> Result<(), Errno> {
        self.lock().metadata_mut(metadata).ok_or(Errno::EILSEQ)?.needs_check = false;
        Ok(())
    }

    /// The first block of a metadata device, as [`super::Superblock::read`] would find it.
    #[must_use]
    pub fn superblock(&self, metadata: DeviceNumber) -> [u8; SUPERBLOCK_SIZE] {
        match self.lock().content(metadata) {
            None => [0; SUPERBLOCK_SIZE],
            Some(Content::Garbage) => [0xA5; SUPERBLOCK_SIZE],
            Some(Content::Pool(metadata)) => metadata.superblock(),
        }
    }

    /// The ids of all thin devices in a pool's metadata, as `thin_dump` would list them.
    #[must_use]
    pub fn devices(&self, metadata: DeviceNumber) -> Vec<DeviceId> {
        self.lock().metadata(metadata).map(metadata::Metadata::devices).unwrap_or_default()
    }

    /// What a pool's metadata has of each thin device.
    #[must_use]
    pub fn volumes(&self, metadata: DeviceNumber) -> BTreeMap<DeviceId, Volume> {
        self.lock().metadata(metadata).map(|metadata| metadata.volumes().clone()).unwrap_or_default()
    }

    /// The same in the metadata snapshot, if one is held.
    #[must_use]
    pub fn held_volumes(&self, metadata: DeviceNumber) -> Option<BTreeMap<DeviceId, Volume>> {
        self.lock().metadata(metadata)?.held_volumes().cloned()
    }

    /// Opens a device, as a mount does.
    pub fn open(&self, name: &Name) -> Result<(), Errno> {
        self.lock().open(name)
    }

    /// Closes it again; a deferred removal happens at the last close.
    pub fn close(&self, name: &Name) -> Result<(), Errno> {
        self.lock().close(name)
    }

    /// Writes to a device, and flushes. What reaches beyond the end is written up to there, and fails then.
    pub fn write(&self, name: &Name, offset: Sectors, length: Sectors) -> Result<(), IoError> {
        let mut state = self.lock();
        let size = state.device(name).ok().and_then(Device::live).map_or(Sectors(0), Table::length);
        if offset + length > size {
            drop(state);
            if offset < size {
                self.write(name, offset, size - offset)?;
            }
            return Err(IoError::Failed(if size == Sectors(0) { Errno::ENXIO } else { Errno::ENOSPC }));
        }
        let Some((pool, id, block)) = reach(&state, name, offset, length)? else { return Ok(()) };
        let blocks = offset.0 / block.0..(offset + length).0.div_ceil(block.0);
        let write = |pool: &mut pool::Pool, metadata: &mut metadata::Metadata| {
            blocks.into_iter().try_for_each(|at| pool.provision(metadata, id, at))
        };
        state.with_pool(pool, write).map_err(IoError::Failed)?
    }

    /// Discards a part of a device: the whole blocks in it lose their data.
    pub fn discard(&self, name: &Name, offset: Sectors, length: Sectors) -> Result<(), IoError> {
        let mut state = self.lock();
        let Some((pool, id, block)) = reach(&state, name, offset, length)? else { return Ok(()) };
        let ignored = |pool: &pool::Pool| pool.has(super::Feature::IgnoreDiscard);
        if state.pools.get(&pool).is_some_and(ignored) {
            return Err(IoError::Failed(Errno::EOPNOTSUPP));
        }
        let blocks = offset.0.div_ceil(block.0)..(offset + length).0 / block.0;
        state.with_pool(pool, |pool, metadata| pool.discard(metadata, id, blocks)).map_err(IoError::Failed)?
    }

    /// Brings trouble to a pool that is active.
    pub fn inject(&self, pool: &Name, injection: Injection) -> Result<(), Errno> {
        let mut state = self.lock();
        let number = state.device(pool)?.number();
        state.with_pool(number, |pool, metadata| match injection {
            Injection::NeedsCheck => pool.needs_check(metadata),
            Injection::Fail => pool.set_health(metadata, pool::Health::Fail),
            Injection::OutOfMetadata => pool.set_health(metadata, pool::Health::OutOfMetadata),
            Injection::NextCommitFails => pool.next_commit_fails = true,
        })
    }

    /// How many ioctls that change something were made so far: create, load, clear, suspend, resume, rename,
    /// remove, message. A test that kills a command at each of them counts here first.
    #[must_use]
    pub fn ioctls(&self) -> u64 {
        self.lock().faults.made
    }

    /// Refuses the changing ioctl that is the n-th from now on, and only that.
    pub fn refuse_at(&self, n: u64, errno: Errno) {
        self.lock().faults.refuse_at(n, errno);
    }

    /// Kills the caller at the changing ioctl that is the n-th from now on: it and all after it, those that read
    /// as well, fail with EOWNERDEAD and do nothing, so that nothing is cleaned up, until [`Twin::revive`].
    pub fn die_at(&self, n: u64) {
        self.lock().faults.die_at(n);
    }

    /// Something else that the caller does, where it may be killed as at an ioctl.
    pub fn side_effect(&self) -> Result<(), Errno> {
        self.lock().faults.change()
    }

    /// A new process takes over from one that [`Twin::die_at`] killed.
    pub fn revive(&self) {
        self.lock().faults.revive();
    }

    /// Takes the machine down and up again: nothing is active, and the disks hold what they held.
    pub fn reboot(&self) {
        let mut state = self.lock();
        state.devices.clear();
        state.pools.clear();
        state.faults.revive();
    }

    /// Every snapshot that was taken of an active origin that was not suspended. The kernel doesn't check; a test
    /// must.
    #[must_use]
    pub fn torn_snapshots(&self) -> Vec<TornSnapshot> {
        self.lock().torn.clone()
    }

    /// How many events a pool has raised: its low-water mark reached, its mode changed.
    #[must_use]
    pub fn events(&self, pool: &Name) -> u32 {
        let state = self.lock();
        let number = state.device(pool).map(Device::number);
        number.ok().and_then(|number| state.pools.get(&number)).map_or(0, |pool| pool.events)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where in which pool an I/O goes: the pool, the device's id and the block size. `None` for a device that is
/// not thin, where it changes nothing the twin knows of.
fn reach(
    state: &State,
    name: &Name,
    offset: Sectors,
    length: Sectors,
) -> Result<Option<(DeviceNumber, DeviceId, Sectors)>, IoError> {
    let device = state.device(name).map_err(IoError::Failed)?;
    let table = device.live().ok_or(IoError::Failed(Errno::EIO))?;
    if device.read_only() {
        return Err(IoError::Failed(Errno::EPERM));
    }
    if offset + length > table.length() {
        return Err(IoError::Failed(Errno::EINVAL));
    }
    if device.suspended() {
        return Err(IoError::Blocked);
    }
    let Table::Thin(thin) = table else { return Ok(None) };
    if state.pools.get(&thin.pool).is_none_or(|pool| pool.suspended) {
        return Err(IoError::Blocked);
    }
    let block = state.block_size(thin.pool).ok_or(IoError::Failed(Errno::EIO))?;
    Ok(Some((thin.pool, thin.id, block.sectors())))
}

fn refused(operation: Operation, device: impl ToString) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::Refused { operation, device: device.to_string(), errno }
}

/// The same steps as [`super::Kernel`]'s, so that a fault at any of them leaves what it would leave there.
impl DeviceMapper for Twin {
    fn versions(&self) -> Result<Versions, Error> {
        Ok(Versions {
            driver: Version { major: 4, minor: 48, patch: 0 },
            thin_pool: Some(Version { major: 1, minor: 23, patch: 0 }),
            library: None,
        })
    }

    fn udev_sync(&self) -> UdevSync {
        UdevSync::Supported
    }

    fn list(&self) -> Result<Vec<Name>, Error> {
        let state = self.lock();
        state.faults.read().map_err(refused(Operation::List, "device-mapper"))?;
        Ok(state.devices.keys().cloned().collect())
    }

    fn find(&self, name: &Name) -> Result<Option<Info>, Error> {
        let state = self.lock();
        state.faults.read().map_err(refused(Operation::Find, name))?;
        Ok(state.info(name))
    }

    fn find_uuid(&self, uuid: &Uuid) -> Result<Option<Info>, Error> {
        let state = self.lock();
        state.faults.read().map_err(refused(Operation::Find, uuid))?;
        let ours = |info: &Info| info.uuid.as_deref() == Some(uuid.as_str());
        Ok(state.devices.keys().filter_map(|name| state.info(name)).find(ours))
    }

    fn create(&self, new: &NewDevice<'_>) -> Result<Info, Error> {
        let NewDevice { name, uuid, table, access, .. } = *new;
        let mut state = self.lock();
        state.create(name, uuid.as_str()).map_err(refused(Operation::Create, name))?;
        let live = state
            .load(name, table, access)
            .map_err(refused(Operation::Load, name))
            .and_then(|()| state.resume(name).map_err(refused(Operation::Resume, name)));
        match live.map(|()| state.info(name)) {
            Ok(Some(info)) => Ok(info),
            Ok(None) => Err(refused(Operation::Create, name)(Errno::ENXIO)),
            Err(error) => {
                // What can't be cleaned up is left behind, as there.
                let _ = state.remove(name, Removal::Now);
                Err(error)
            }
        }
    }

    fn reload(&self, name: &Name, table: &Table, _visibility: Visibility) -> Result<(), Error> {
        let mut state = self.lock();
        let (old, access) = match state.device(name) {
            Ok(device) if device.read_only() => (device.live().cloned(), Access::ReadOnly),
            Ok(device) => (device.live().cloned(), Access::ReadWrite),
            Err(errno) => return Err(refused(Operation::Load, name)(errno)),
        };
        state.load(name, table, access).map_err(refused(Operation::Load, name))?;
        let Err(errno) = state.resume(name) else { return Ok(()) };
        // The kernel would wait.
        if errno == Errno::EDEADLK {
            let _ = state.clear(name);
            return Err(refused(Operation::Resume, name)(errno));
        }
        if state.resume(name).is_err() {
            match old {
                Some(old) => {
                    let restored = state.load(name, &old, access).and_then(|()| state.resume(name));
                    restored.map_err(refused(Operation::Resume, name))?;
                }
                None => drop(state.clear(name)),
            }
        }
        Err(refused(Operation::Resume, name)(errno))
    }

    fn suspend(&self, name: &Name) -> Result<(), Error> {
        self.lock().suspend(name).map_err(refused(Operation::Suspend, name))
    }

    fn resume(&self, name: &Name, _visibility: Visibility) -> Result<(), Error> {
        self.lock().resume(name).map_err(refused(Operation::Resume, name))
    }

    fn keep(&self, info: &Info, visibility: Visibility) -> Result<(), Error> {
        let name = &info.name;
        self.lock().cancel_deferred_remove(name).map_err(refused(Operation::Message, name))?;
        if info.suspended { self.resume(name, visibility) } else { Ok(()) }
    }

    fn rename(&self, name: &Name, to: &Name, _visibility: Visibility) -> Result<(), Error> {
        self.lock().rename(name, to).map_err(refused(Operation::Rename, name))
    }

    fn remove(&self, name: &Name, removal: Removal) -> Result<Removed, Error> {
        self.lock().remove(name, removal).map_err(refused(Operation::Remove, name))
    }

    fn message(&self, pool: &Name, message: &PoolMessage) -> Result<(), Error> {
        let device = format!("'{message}' to {pool}");
        self.lock().message(pool, message).map_err(refused(Operation::Message, device))
    }

    fn pool_status(&self, pool: &Name) -> Result<PoolStatus, Error> {
        let state = self.lock();
        let device = read(&state, pool, Operation::Status)?;
        match device.live() {
            Some(Table::ThinPool(table)) => {
                let metadata = state.metadata(table.metadata);
                Ok(match (state.pools.get(&device.number()), metadata) {
                    (Some(pool), Some(metadata)) => pool.status(metadata),
                    _ => PoolStatus::Error,
                })
            }
            other => Err(wrong_target(pool, "thin-pool", other)),
        }
    }

    fn thin_status(&self, name: &Name) -> Result<ThinStatus, Error> {
        let state = self.lock();
        let thin = match read(&state, name, Operation::Status)?.live() {
            Some(Table::Thin(thin)) => thin,
            other => return Err(wrong_target(name, "thin", other)),
        };
        let Some(pool) = state.pools.get(&thin.pool) else { return Ok(ThinStatus::Error) };
        if pool.health == pool::Health::Fail {
            return Ok(ThinStatus::Fail);
        }
        let Some(metadata) = state.metadata(pool.metadata) else { return Ok(ThinStatus::Error) };
        let block = metadata.block_size.sectors();
        let (mapped, highest) = metadata.mapped(thin.id);
        Ok(ThinStatus::Working(ThinUsage {
            mapped: block * mapped,
            highest_mapped: highest.map(|at| block * (at + 1) - Sectors(1)),
        }))
    }

    fn table(&self, name: &Name) -> Result<Option<Table>, Error> {
        let state = self.lock();
        let Some(table) = read(&state, name, Operation::Table)?.live() else { return Ok(None) };
        match table {
            // The kernel prints this instead of the table as well.
            Table::Thin(thin)
                if state.pools.get(&thin.pool).is_some_and(|pool| pool.health == pool::Health::Fail) =>
            {
                Table::parse("thin", thin.length, "Fail")
                    .map_err(|source| Error::Table { device: name.clone(), source })
            }
            table => Ok(Some(table.clone())),
        }
    }
}

fn read<'a>(state: &'a State, name: &Name, operation: Operation) -> Result<&'a Device, Error> {
    state.faults.read().and_then(|()| state.device(name)).map_err(refused(operation, name))
}

fn wrong_target(device: &Name, expected: &'static str, found: Option<&Table>) -> Error {
    let found = found.map_or("an empty or many-part", Table::target).to_owned();
    Error::Target { device: device.clone(), expected, found }
}

//! From nothing to an active pool with a base device.

mod beside;
pub(super) mod blank;
pub(super) mod claim;
mod differences;
pub(super) mod existing;

use std::path::PathBuf;
use std::time::Instant;

use super::change::NewThin;
use super::destroy::remove_directory;
use super::device::Use;
use super::grow::check_size;
use super::lock::Lock;
use super::{Activated, Checking, Host, Location, Paths, Pool, PoolError, names, now};
use crate::backing::{Backing, Loopback, Part, Sizes, make_private_directory};
use crate::catalog::{Catalog, DeviceKind, DeviceState, Durability, Policy, PoolRecord, PoolState};
use crate::dm::{Removal, Uuid};
use crate::fs::{FileSystem, NewFileSystem};
use crate::units::TransactionId;

/// The one setting that can be changed later, if only to more.
const BASE_SIZE: &str = "base-size";

/// What a pool is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which pool.
    pub location: Location,
    /// What the pool is to lie on.
    pub wanted: Wanted,
    /// A blank disk for the day on which the volume group with the data is full.
    pub spare: Option<PathBuf>,
    /// The devices on which signatures and old pools are wiped. What is in use is refused all the same.
    pub wipe: Vec<PathBuf>,
    /// What is decided for the pool's life. The file system in it is what is used where `filesystem` is `None`
    /// and the host has none better; its sizes count for loop files only.
    pub policy: Policy,
    /// The file system asked for; `None` takes what the host has, XFS first.
    pub filesystem: Option<FileSystem>,
    /// The settings that somebody asked for; only these are compared with a pool that exists.
    pub asked: Vec<&'static str>,
    /// Whether to go on where udev and we would race for nodes.
    pub ignore_udev_races: bool,
}

/// What a pool is to lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Loop files in this directory.
    LoopFiles(PathBuf),
    /// These block devices. Without one for the metadata, a volume beside the data's is found or made.
    Devices {
        /// For the data.
        data: PathBuf,
        /// For the metadata.
        metadata: Option<PathBuf>,
    },
    /// Volumes in a new group of these disks.
    Disks {
        /// The disks.
        disks: Vec<PathBuf>,
        /// The group's name.
        group: String,
        /// The volumes' sizes.
        sizes: Sizes,
    },
    /// The thin pool of this device-mapper name, which is there already.
    ThinPool(String),
}

/// What a setup found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetUp {
    /// A new pool.
    New,
    /// It was there, set up as asked for, and active.
    Already,
    /// It was there, set up as asked for, and was made active.
    Activated,
    /// The same, and it can only be read: its status tells why.
    Unchangeable,
    /// It was there, and its base is as large now as was asked for.
    BaseGrown,
}

impl Setup {
    /// Sets the pool up. What an earlier setup or destroy left half done is cleared away first; a failure leaves
    /// nothing.
    pub fn run<'h>(&self, host: &'h Host) -> Result<(Pool<'h>, SetUp), PoolError> {
        let paths = self.location.paths();
        self.check_before(host)?;
        let life = self.take_life_lock(&paths)?;
        if let Some(mut pool) = Pool::open_in_any_state(host, &self.location)? {
            if pool.record.state == PoolState::Ready {
                self.refuse_differences(host, &pool.record)?;
                let done = match pool.activate_under_lock(Checking::AsNeeded)? {
                    Activated::Already => SetUp::Already,
                    Activated::Now => SetUp::Activated,
                    Activated::Unchangeable => SetUp::Unchangeable,
                };
                let done = if self.grow_base(&mut pool)? { SetUp::BaseGrown } else { done };
                return Ok((pool, done));
            }
            tracing::info!(pool = %pool.name, "clearing away what an earlier process left half done");
            pool.clear(false)?;
        }
        let mut pool = match self.begin(host, &paths) {
            Ok(pool) => pool,
            Err(cause) => return Err(cause.after_cleaning_up(remove_directory(&paths, life))),
        };
        match make(&mut pool, self) {
            Ok(()) => Ok((pool, SetUp::New)),
            Err(cause) => {
                let cleanup = pool.clear(false).and_then(|()| remove_directory(&paths, life));
                Err(cause.after_cleaning_up(cleanup))
            }
        }
    }

    /// Makes the base of a pool that exists larger, if that was asked for, as a restart of Docker's did.
    fn grow_base(&self, pool: &mut Pool<'_>) -> Result<bool, PoolError> {
        let (asked, is) = (self.policy.base_size, pool.record.policy.base_size);
        if !self.asked.contains(&BASE_SIZE) || asked <= is {
            return Ok(false);
        }
        pool.grow_base(asked)?;
        Ok(true)
    }

    /// The lock, in the pool's directory, which may vanish while we wait: who destroys a pool removes both.
    fn take_life_lock(&self, paths: &Paths) -> Result<Lock, PoolError> {
        let deadline = Instant::now() + self.location.patience;
        loop {
            make_private_directory(paths.directory())?;
            match Lock::exclusive(&paths.life_lock(), self.location.patience) {
                Err(error) if error.is_not_found() && Instant::now() < deadline => {}
                lock => return Ok(lock?),
            }
        }
    }

    /// What can be refused before anything is touched.
    fn check_before(&self, host: &Host) -> Result<(), PoolError> {
        let sync = host.dm.udev_sync();
        if sync.races() && !self.ignore_udev_races {
            return Err(PoolError::UdevRaces(sync));
        }
        check_size(self.policy.base_size)?;
        // The kernel would say EINVAL to either, and not why.
        let block = self.policy.block_size;
        for (setting, size) in [("loop-data-size", self.policy.data_size), (BASE_SIZE, self.policy.base_size)]
        {
            if size < block.bytes() {
                return Err(PoolError::LessThanABlock { setting, size, block });
            }
        }
        Ok(())
    }

    /// Writes down that a pool is about to be. Whatever it is to lie on is looked at before, and refused if anything
    /// speaks against it; until then nothing is changed.
    fn begin<'h>(&self, host: &'h Host, paths: &Paths) -> Result<Pool<'h>, PoolError> {
        make_private_directory(&paths.locks())?;
        let filesystem = self.choose_filesystem(host)?;
        let uuid = uuid::Uuid::new_v4();
        // A device of the pool's name that is somebody else's is refused before a byte is written.
        host.find_ours(&names::pool_device(&self.location.name)?, &Uuid::of_pool(&uuid))?;
        // Files are nobody else's: a setup on them needn't wait for one that looks at disks.
        let claims = match &self.wanted {
            Wanted::LoopFiles(_) => None,
            _ => Some(claim::lock(&self.location)?),
        };
        let begun = self.write_down(host, paths, uuid, filesystem);
        let removed = claims.map_or(Ok(()), Lock::remove);
        begun.and_then(|pool| removed.map(|()| pool).map_err(PoolError::from))
    }

    fn write_down<'h>(
        &self,
        host: &'h Host,
        paths: &Paths,
        uuid: uuid::Uuid,
        filesystem: FileSystem,
    ) -> Result<Pool<'h>, PoolError> {
        let (backing, policy) = self.claim(host)?;
        let record = PoolRecord {
            uuid,
            state: PoolState::SettingUp,
            transaction_id: TransactionId::default(),
            created: now(),
            backing,
            policy: Policy { filesystem, ..policy },
            clean: false,
        };
        let mut catalog = Catalog::create(&paths.catalog())?;
        catalog.begin_pool(&record)?;
        Pool::new(host, &self.location, catalog, record)
    }

    fn choose_filesystem(&self, host: &Host) -> Result<FileSystem, PoolError> {
        let supported = host.fs.supported();
        match self.filesystem {
            Some(asked) if supported.contains(&asked) => Ok(asked),
            Some(asked) => Err(PoolError::FileSystemUnsupported(asked)),
            None => supported.first().copied().ok_or(PoolError::NoFileSystem),
        }
    }
}

/// Makes what was written down.
fn make(pool: &mut Pool<'_>, setup: &Setup) -> Result<(), PoolError> {
    match pool.record.backing.clone() {
        Backing::Loop(loopback) => make_files(pool, loopback)?,
        Backing::Devices(devices) => setup.make_devices(pool, devices)?,
        Backing::ThinPool(_) => {}
    }
    if !matches!(pool.record.backing, Backing::ThinPool(_)) {
        let (data, metadata) = (pool.find_part(Part::Data)?, pool.find_part(Part::Metadata)?);
        pool.load(&pool.attach(&data)?, &pool.attach(&metadata)?)?;
    }
    make_base(pool)?;
    pool.catalog.set_pool_state(PoolState::Ready)?;
    pool.record.state = PoolState::Ready;
    Ok(pool.catalog.fold()?)
}

/// The loop files. At no moment are there files that nobody knows, nor could somebody else's be taken for them.
fn make_files(pool: &mut Pool<'_>, loopback: Loopback) -> Result<(), PoolError> {
    let (files, uuid, policy) = (loopback.files, pool.record.uuid, pool.record.policy.clone());
    let ids = files.create(&uuid, policy.data_size, policy.metadata_size)?;
    pool.record.backing = Backing::Loop(Loopback { files: files.clone(), ids: Some(ids) });
    pool.catalog.set_backing(&pool.record.backing, &policy)?;
    Ok(files.name(&uuid)?)
}

/// The empty file system that everything descends from.
pub(super) fn make_base(pool: &mut Pool<'_>) -> Result<(), PoolError> {
    let (name, policy) = (pool.name.clone(), pool.record.policy.clone());
    let new =
        NewThin { kind: DeviceKind::Base, origin: None, size: policy.base_size, becomes: DeviceState::Draft };
    let mut change = pool.change()?;
    let base = change.create(&new, |_| names::base_device(&name), |_, _| Ok(true))?;
    // In a pool that is ready, this is what keeps it from being freed as nobody's.
    let _working = Lock::exclusive(&change.pool.paths.device_lock(base.id), change.pool.patience)?;
    drop(change);
    let info = pool.activate_device(&base, Use::Own)?;
    let node = info.device.kernel_node();
    pool.host.fs.make(&NewFileSystem {
        kind: policy.filesystem,
        device: &node,
        arguments: &policy.mkfs_arguments,
        reads_as_zeroes: policy.zero_new_blocks,
    })?;
    // Options that don't work must show now: the pool keeps them for its life.
    pool.host.fs.mount_detached(policy.filesystem, &node, &pool.mount_options(&[])?)?.close()?;
    pool.deactivate_device(&base, Removal::Now)?;
    Ok(pool.catalog.set_device_state(base.id, DeviceState::Ready, Durability::Synced)?)
}

//! From nothing to an active pool with a base device.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::change::NewThin;
use super::destroy::remove_directory;
use super::device::{LARGEST, SIZE_STEP, Use};
use super::lock::Lock;
use super::{Activated, Difference, Host, Location, Paths, Pool, PoolError, io_error, names, now};
use crate::backing::{Backing, LoopFileError, LoopFiles, Loopback, make_private_directory};
use crate::catalog::{Catalog, DeviceKind, DeviceState, Durability, Policy, PoolRecord, PoolState};
use crate::dm::{Removal, Uuid};
use crate::fs::FileSystem;
use crate::units::{Bytes, TransactionId};

/// What a pool is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which pool.
    pub location: Location,
    /// The directory of the loop files.
    pub directory: PathBuf,
    /// What is decided for the pool's life. The file system in it is what is used where `filesystem` is `None`
    /// and the host has none better.
    pub policy: Policy,
    /// The file system asked for; `None` takes what the host has, XFS first.
    pub filesystem: Option<FileSystem>,
    /// The settings that somebody asked for; only these are compared with a pool that exists.
    pub asked: Vec<&'static str>,
    /// Whether to go on where udev and we would race for nodes.
    pub ignore_udev_races: bool,
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
                self.refuse_differences(&pool.record)?;
                let done = match pool.activate_under_lock()? {
                    Activated::Already => SetUp::Already,
                    Activated::Now | Activated::Unchangeable => SetUp::Activated,
                };
                return Ok((pool, done));
            }
            tracing::info!(pool = %pool.name, "clearing away what an earlier process left half done");
            pool.clear()?;
        }
        let mut pool = match self.begin(host, &paths) {
            Ok(pool) => pool,
            Err(cause) => return Err(cause.after_cleaning_up(remove_directory(&paths, life))),
        };
        match make(&mut pool) {
            Ok(()) => Ok((pool, SetUp::New)),
            Err(cause) => {
                let cleanup = pool.clear().and_then(|()| remove_directory(&paths, life));
                Err(cause.after_cleaning_up(cleanup))
            }
        }
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
        if !self.policy.base_size.0.is_multiple_of(SIZE_STEP.0) || self.policy.base_size > LARGEST {
            return Err(PoolError::Size(self.policy.base_size));
        }
        // The kernel would say EINVAL to either, and not why.
        let block = self.policy.block_size.bytes();
        for (setting, size) in
            [("loop-data-size", self.policy.data_size), ("base-size", self.policy.base_size)]
        {
            if size < block {
                return Err(PoolError::LessThanABlock { setting, size, block: self.policy.block_size });
            }
        }
        Ok(())
    }

    fn refuse_differences(&self, record: &PoolRecord) -> Result<(), PoolError> {
        let differences = self.differences(record);
        if differences.is_empty() {
            return Ok(());
        }
        Err(PoolError::Differs { pool: self.location.name.to_string(), differences })
    }

    /// The settings that were asked for and are otherwise in the pool.
    fn differences(&self, record: &PoolRecord) -> Vec<Difference> {
        let mut wanted = self.policy.clone();
        wanted.filesystem = self.filesystem.unwrap_or(record.policy.filesystem);
        let mut differences = differences(&record.policy, &wanted);
        let files = LoopFiles::in_directory(&self.directory);
        let Backing::Loop(loopback) = &record.backing;
        if files != loopback.files {
            let directory =
                |files: &LoopFiles| files.data.parent().unwrap_or(Path::new("/")).display().to_string();
            let (is, asked) = (directory(&loopback.files), directory(&files));
            differences.push(Difference { setting: "dir", is, asked });
        }
        differences.retain(|difference| self.asked.contains(&difference.setting));
        differences
    }

    /// Writes down that a pool is about to be.
    fn begin<'h>(&self, host: &'h Host, paths: &Paths) -> Result<Pool<'h>, PoolError> {
        make_private_directory(&paths.locks())?;
        let filesystem = self.choose_filesystem(host)?;
        let record = PoolRecord {
            uuid: uuid::Uuid::new_v4(),
            state: PoolState::SettingUp,
            transaction_id: TransactionId::default(),
            created: now(),
            backing: Backing::Loop(Loopback { files: LoopFiles::in_directory(&self.directory), ids: None }),
            policy: Policy { filesystem, ..self.policy.clone() },
            clean: false,
        };
        let Backing::Loop(loopback) = &record.backing;
        for path in [&loopback.files.data, &loopback.files.metadata] {
            if path.try_exists().map_err(io_error("look for", path))? {
                return Err(LoopFileError::Exists(path.clone()).into());
            }
        }
        // A device of the pool's name that is somebody else's is refused before a byte is written.
        host.find_ours(&names::pool_device(&self.location.name)?, &Uuid::of_pool(&record.uuid))?;
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
fn make(pool: &mut Pool<'_>) -> Result<(), PoolError> {
    let policy = pool.record.policy.clone();
    make_files(pool, &policy)?;
    pool.load()?;
    make_base(pool, &policy)?;
    pool.catalog.set_pool_state(PoolState::Ready)?;
    pool.record.state = PoolState::Ready;
    Ok(pool.catalog.fold()?)
}

/// The loop files. At no moment are there files that nobody knows, nor could somebody else's be taken for them.
fn make_files(pool: &mut Pool<'_>, policy: &Policy) -> Result<(), PoolError> {
    let (files, uuid) = (pool.files().clone(), pool.record.uuid);
    let ids = files.create(&uuid, policy.data_size, policy.metadata_size)?;
    pool.record.backing = Backing::Loop(Loopback { files: files.clone(), ids: Some(ids) });
    pool.catalog.set_backing(&pool.record.backing, policy)?;
    Ok(files.name(&uuid)?)
}

/// The empty file system that everything descends from.
fn make_base(pool: &mut Pool<'_>, policy: &Policy) -> Result<(), PoolError> {
    let name = pool.name.clone();
    let new =
        NewThin { kind: DeviceKind::Base, origin: None, size: policy.base_size, becomes: DeviceState::Draft };
    let base = pool.change()?.create(&new, |_| names::base_device(&name), |_, _| Ok(true))?;
    let info = pool.activate_device(&base, Use::Own)?;
    let node = info.device.kernel_node();
    pool.host.fs.make(policy.filesystem, &node, &policy.mkfs_arguments)?;
    // Options that don't work must show now: the pool keeps them for its life.
    pool.host.fs.mount_detached(policy.filesystem, &node, &pool.mount_options()?)?.close()?;
    pool.deactivate_device(&base, Removal::Now)?;
    Ok(pool.catalog.set_device_state(base.id, DeviceState::Ready, Durability::Synced)?)
}

/// Every setting that two policies differ in.
fn differences(is: &Policy, asked: &Policy) -> Vec<Difference> {
    let told = |policy: &Policy| -> Vec<(&'static str, String)> {
        let size = |size: Bytes| size.to_string();
        let retries = policy.xfs_nospace_max_retries;
        vec![
            ("loop-data-size", size(policy.data_size)),
            ("loop-metadata-size", size(policy.metadata_size)),
            ("block-size", policy.block_size.to_string()),
            ("base-size", size(policy.base_size)),
            ("fs", policy.filesystem.to_string()),
            ("mkfs-args", policy.mkfs_arguments.join(" ")),
            ("mount-options", policy.mount_options.join(",")),
            ("zero-new-blocks", policy.zero_new_blocks.to_string()),
            ("discard-on-remove", policy.discard_on_remove.to_string()),
            ("min-free-space", policy.min_free_space.to_string()),
            ("deferred-removal", policy.deferred_removal.to_string()),
            ("deferred-deletion", policy.deferred_deletion.to_string()),
            ("xfs-nospace-max-retries", retries.map_or("not set".to_owned(), |retries| retries.to_string())),
        ]
    };
    let pairs = told(is).into_iter().zip(told(asked));
    pairs
        .filter(|(is, asked)| is.1 != asked.1)
        .map(|((setting, is), (_, asked))| Difference { setting, is, asked })
        .collect()
}

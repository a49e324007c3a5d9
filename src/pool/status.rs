//! What a pool's state is, as plain data: what its catalog knows, what the kernel tells, and what is wrong.

mod assess;
mod problem;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub(crate) use self::assess::{data_nearly_full, metadata_nearly_full};
pub use self::problem::{Problem, Severity, Unchecked};
use super::Trend;
use crate::catalog::MetadataCheck;
use crate::dm::{Blocks, NoSpacePolicy};
use crate::fs::FileSystem;
use crate::units::{BlockSize, Bytes, DataBlocks, MetaBlocks, Percent, PoolName, TransactionId};

/// Everything that `thinpool status` tells, in all its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The pool's name.
    pub pool: PoolName,
    /// How far the pool is set up.
    pub state: State,
    /// What the catalog tells; none if there is no catalog or it couldn't be read.
    pub known: Option<Known>,
    /// What the kernel tells; none unless the pool is active.
    pub live: Option<Live>,
    /// What is wrong. [`Status::assessed`] adds what follows from the rest.
    pub problems: Vec<Problem>,
    /// What this machine can do.
    pub host: HostSupport,
}

/// How far a pool is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is no such pool.
    Absent,
    /// A setup was begun and didn't end.
    HalfSetUp,
    /// The pool is set up and the kernel doesn't know it.
    Inactive,
    /// The kernel has the pool.
    Active,
}

/// What the pool's catalog tells, and the file systems under the loop files. Known also while the pool is
/// inactive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The name of the pool's device-mapper device.
    pub dm_name: String,
    /// The pool's identity, written when it was set up.
    pub uuid: String,
    /// When it was set up.
    pub set_up: SystemTime,
    /// The size of its blocks.
    pub block_size: BlockSize,
    /// The size of the base device.
    pub base_size: Bytes,
    /// The file system on the base device.
    pub file_system: FileSystem,
    /// What the pool lies on.
    pub lies_on: LiesOn,
    /// The loop files; none for a pool on other devices.
    pub loop_files: Option<LoopFiles>,
    /// The share that stays free for what exists already; 0% is off.
    pub min_free_space: Percent,
    /// The transaction id that the kernel should tell too.
    pub transaction_id: TransactionId,
    /// How many devices the pool has.
    pub devices: DeviceCounts,
    /// Devices that wait for their last user to be deleted.
    pub deferred_deleted: u64,
    /// Each of those, and each whose node waits for its last user to be removed.
    pub waiting: Vec<Waiting>,
    /// Whether a device in use is removed later.
    pub deferred_removal: bool,
    /// Whether a device in use is deleted later.
    pub deferred_deletion: bool,
    /// The last check of the metadata before it was loaded; none yet if the pool was never activated since its setup.
    pub metadata_check: Option<MetadataCheck>,
}

/// A device that waits for its last user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// What its node is called.
    pub device: String,
    /// Its id in the pool; unknown of a node that the catalog has no device for.
    pub device_id: Option<u32>,
    /// What is to happen to it then.
    pub to_be: Fate,
    /// How often it is open. One that is not is freed by the next command that removes or imports anything.
    pub open_count: u32,
}

/// What is to happen to a device when nobody uses it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Only its node goes: a container that was unmounted.
    Removed,
    /// All of it: a container or an image that was removed.
    Deleted,
}

/// What a pool lies on, as it was set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LiesOn {
    /// Two sparse files.
    LoopFiles,
    /// Two block devices.
    BlockDevices {
        /// The one with the data; none in a setup that was interrupted.
        data: Option<KnownDevice>,
        /// The one with the metadata; the same.
        metadata: Option<KnownDevice>,
        /// The volume group with what LVM made for the pool, if it made anything.
        volume_group: Option<String>,
        /// The volume, `group/volume`, in which new metadata is made when the old is damaged; none as long as there is none.
        metadata_spare: Option<String>,
        /// The disk for the day on which the volume group with the data is full, if one was given.
        data_spare: Option<SpareDisk>,
    },
    /// A thin pool that somebody else made.
    ThinPool {
        /// Its name.
        name: String,
    },
}

/// A block device under a pool, as it was when the pool was set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownDevice {
    /// What it was called.
    pub name: PathBuf,
    /// What it is known by.
    pub identity: String,
    /// How large it was.
    pub size: Bytes,
}

/// A disk that was given for the day on which the volume group with the data is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpareDisk {
    /// What it was called then.
    pub name: PathBuf,
    /// Whether the group has taken it.
    pub taken: bool,
}

/// The two files under a pool on loop devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopFiles {
    /// The file with the data.
    pub data: LoopFile,
    /// The file with the metadata.
    pub metadata: LoopFile,
}

/// A loop file and the file system that it lies on. What couldn't be read is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoopFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub size: Option<Bytes>,
    /// How much room it takes.
    pub allocated: Option<Bytes>,
    /// How large the file system is that it lies on.
    pub file_system_size: Option<Bytes>,
    /// How much is free there (statfs: `f_bfree * f_bsize`, less what ext4 keeps for itself).
    pub file_system_available: Option<Bytes>,
}

/// How many devices of each kind a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DeviceCounts {
    /// The base device: none until the first image, then one.
    pub base: u64,
    /// Image layers.
    pub images: u64,
    /// Containers.
    pub containers: u64,
}

/// What the kernel tells about an active pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The device under the data: `/dev/loop0`. None if its name couldn't be found.
    pub data_device: Option<PathBuf>,
    /// The device under the metadata.
    pub metadata_device: Option<PathBuf>,
    /// What the pool can still do.
    pub mode: Mode,
    /// The numbers; the kernel has none for a pool that failed.
    pub figures: Option<Figures>,
    /// Whether a process watches over the pool (`thinpool monitor`).
    pub monitored: bool,
    /// How it has filled lately; none if nobody has watched for long enough.
    pub trend: Option<Trend>,
}

/// What a pool can still do, as the kernel's status line tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything (`rw`).
    ReadWrite,
    /// Everything but a write to a new block (`out_of_data_space`).
    OutOfDataSpace,
    /// Only reads (`ro`); the kernel says this too when the metadata is full.
    ReadOnly,
    /// Nothing (`Fail`).
    Fail,
    /// The kernel couldn't even get the numbers (`Error`).
    Error,
}

/// The numbers of the kernel's status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Blocks for data.
    pub data: Blocks<DataBlocks>,
    /// Blocks for metadata.
    pub metadata: Blocks<MetaBlocks>,
    /// Whether the metadata must be checked before anything is written again.
    pub needs_check: bool,
    /// The transaction id in the pool's superblock.
    pub transaction_id: TransactionId,
    /// What happens to a write when there is no block left.
    pub no_space: NoSpacePolicy,
    /// What happens to discards.
    pub discard: Discard,
    /// The kernel raises an event when this many data blocks or fewer are free.
    pub low_water: DataBlocks,
    /// The same for metadata; older kernels don't tell it.
    pub metadata_low_water: Option<MetaBlocks>,
    /// The block of the metadata snapshot, if one is held.
    pub held_root: Option<u64>,
}

/// What happens to discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Discard {
    /// They free blocks in the pool and reach the device under it.
    Passdown,
    /// They free blocks in the pool.
    NoPassdown,
    /// They do nothing.
    Ignored,
}

/// What this machine can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostSupport {
    /// Whether udev can be waited for.
    pub udev_sync: bool,
    /// The version of libdevmapper, `1.02.185 (2022-05-18)`, or of the kernel's driver where there is none.
    pub library_version: String,
    /// The version of the kernel's thin-pool target, if it is there.
    pub thin_pool_target: Option<String>,
    /// The version of the kernel's device-mapper interface, `4.47.0`.
    pub kernel_driver: Option<String>,
}

/// A status in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Healthy,
    /// It works, and something needs a hand.
    Degraded,
    /// It doesn't work, or data is in danger.
    Failed,
    /// It is set up, nothing is wrong, and it isn't active.
    NotActive,
    /// There is no such pool.
    Absent,
}

impl Verdict {
    /// The exit code of `thinpool status`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::NotActive => 3,
            Self::Absent => 4,
            Self::Degraded | Self::Failed => 5,
        }
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::NotActive => "not active",
            Self::Absent => "absent",
        }
    }
}

impl Mode {
    /// The mode in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "read-write",
            Self::OutOfDataSpace => "out of data space",
            Self::ReadOnly => "read-only",
            Self::Fail => "failed",
            Self::Error => "status not readable",
        }
    }
}

impl State {
    /// The state in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::HalfSetUp => "half set up",
            Self::Inactive => "inactive",
            Self::Active => "active",
        }
    }
}

impl Status {
    /// The kernel's numbers, if it told them.
    #[must_use]
    pub fn figures(&self) -> Option<&Figures> {
        self.live.as_ref()?.figures.as_ref()
    }

    /// Used and free data in bytes; of a loop file no more is free than the file system under it has.
    #[must_use]
    pub fn data_space(&self) -> Option<Space> {
        let (known, figures) = (self.known.as_ref()?, self.figures()?);
        let in_bytes = |blocks: DataBlocks| blocks.bytes(known.block_size);
        let free = in_bytes(figures.data.free());
        let room = known.loop_files.as_ref().and_then(|files| files.data.file_system_available);
        Some(Space {
            used: in_bytes(figures.data.used),
            total: in_bytes(figures.data.total),
            available: room.map_or(free, |room| room.min(free)),
        })
    }

    /// The same for metadata.
    #[must_use]
    pub fn metadata_space(&self) -> Option<Space> {
        let figures = self.figures()?;
        let free = figures.metadata.free().bytes();
        let files = self.known.as_ref().and_then(|known| known.loop_files.as_ref());
        let room = files.and_then(|files| files.metadata.file_system_available);
        Some(Space {
            used: figures.metadata.used.bytes(),
            total: figures.metadata.total.bytes(),
            available: room.map_or(free, |room| room.min(free)),
        })
    }

    /// How long it takes until data is used up, as fast as it has filled lately; none if it isn't filling, or that isn't known.
    #[must_use]
    pub fn time_until_full(&self) -> Option<Duration> {
        self.trend()?.data.uses_up(self.data_space()?.available)
    }

    /// The same for metadata.
    #[must_use]
    pub fn time_until_metadata_full(&self) -> Option<Duration> {
        self.trend()?.metadata.uses_up(self.metadata_space()?.available)
    }

    /// How the pool has filled lately, if that is known.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        self.live.as_ref()?.trend
    }

    /// What must be free for a new image or container: whole blocks, as in Docker's driver.
    #[must_use]
    pub fn minimum_free_space(&self) -> Option<Bytes> {
        let (known, figures) = (self.known.as_ref()?, self.figures()?);
        Some(known.min_free_space.of_data(figures.data.total).bytes(known.block_size))
    }

    /// The status in one word. It is never healthy while anything is wrong, also where nobody called
    /// [`Status::assessed`] yet.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let found = self.find();
        let problems = self.problems.iter().chain(&found).filter(|p| !p.is_inactivity());
        match (self.state, problems.map(Problem::severity).max()) {
            (State::Absent, _) => Verdict::Absent,
            (State::HalfSetUp, _) | (_, Some(Severity::Critical)) => Verdict::Failed,
            (_, Some(Severity::Warning)) => Verdict::Degraded,
            (State::Inactive, _) => Verdict::NotActive,
            (State::Active, _) => Verdict::Healthy,
        }
    }
}

/// Room in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Used.
    pub used: Bytes,
    /// All there is.
    pub total: Bytes,
    /// What can really still be written.
    pub available: Bytes,
}

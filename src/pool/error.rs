//! What can go wrong with a pool, told for people.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::extend::ExtendError;
use super::lock::LockError;
use super::{Holders, RescueError};
use crate::backing::block::{BlockError, Identity, Obstacle};
use crate::backing::{LoopError, LoopFileError, Part, VolumesError};
use crate::catalog::CatalogError;
use crate::dm::{self, NameError, PoolStatus, SuperblockError};
use crate::fs::{FileSystem, FsError, MountTableError, OptionError};
use crate::thin_metadata::MetadataError;
use crate::units::{BlockSize, Bytes, DeviceId, Percent, TransactionId};

/// An error of a pool's verbs.
#[derive(Debug, Error)]
pub enum PoolError {
    /// There is no such pool.
    #[error("there is no pool '{pool}' under {root}; `thinpool setup` makes one")]
    Absent {
        /// The name asked for.
        pool: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// The kernel has the pool, and nobody knows what is in it.
    #[error(
        "the device {device} is active, but its catalog {catalog} is gone: nothing was changed; if the pool is to go as well, `dmsetup remove` its devices first"
    )]
    CatalogLost {
        /// The pool's device.
        device: dm::Name,
        /// Where its catalog should be.
        catalog: PathBuf,
    },
    /// The pool was ready, and its catalog is gone.
    #[error(
        "the catalog {catalog} of the pool '{pool}' is gone; nothing was changed. Put it back from a backup, or let `thinpool \
         repair --rebuild-catalog` make a new one of what the pool itself knows"
    )]
    CatalogMissing {
        /// The pool.
        pool: String,
        /// Where its catalog should be.
        catalog: PathBuf,
    },
    /// SQLite has something to say against the catalog's file.
    #[error("the catalog {catalog} is damaged: {why}")]
    CatalogDamaged {
        /// Its file.
        catalog: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// A catalog that needs no new one.
    #[error(
        "the catalog {0} can be read; `thinpool repair` mends what is wrong with its records, and nothing was changed"
    )]
    CatalogReadable(PathBuf),
    /// Nobody knows where the pool's blocks are.
    #[error(
        "what the pool lies on is not known: {0} doesn't tell, and nobody said so; add --datadev and --metadatadev for block \
         devices, --dir for loop files, or --thinpooldev for a thin pool of somebody else's"
    )]
    BackingUnknown(PathBuf),
    /// Deleting what a catalog doesn't know that is of another moment.
    #[error(
        "the pool '{0}' and its catalog are not of the same moment, so what the catalog doesn't know may be everything: nothing \
         was deleted. Run `thinpool repair` without --delete-orphans first"
    )]
    OrphansOfAnotherMoment(String),
    /// The kernel can't count further.
    #[error(
        "the pool '{pool}' has had {made} snapshots, and the kernel can't count further than {most} in a pool's life without \
         mixing up its blocks: no more are made. Set up a new pool and move to it what is needed"
    )]
    SnapshotsExhausted {
        /// The pool.
        pool: String,
        /// How many there were, at most.
        made: u64,
        /// How many there can be.
        most: u64,
    },
    /// A setup was killed, or is still at work.
    #[error(
        "the pool '{0}' is only half set up; run `thinpool setup` to set it up, or `thinpool destroy` to remove what is there"
    )]
    HalfSetUp(String),
    /// A destroy was killed, or is still at work.
    #[error("the pool '{0}' is half destroyed; run `thinpool destroy` to finish")]
    HalfDestroyed(String),
    /// It is there and not active.
    #[error("the pool '{0}' is not active; run `thinpool activate`")]
    NotActive(String),
    /// Setup was asked for something else than what is there.
    #[error("the pool '{pool}' is set up already, and not as asked for: {}; `thinpool destroy` it first, or leave these away", list(.differences))]
    Differs {
        /// The pool.
        pool: String,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// A pool or a base without a single whole block.
    #[error("{setting} can't be {size}: that is less than one block of {block}")]
    LessThanABlock {
        /// The setting.
        setting: &'static str,
        /// What was asked for.
        size: Bytes,
        /// The pool's blocks.
        block: BlockSize,
    },
    /// A device-mapper device has the name, and is not ours.
    #[error(
        "the device-mapper device {name} is not this pool's: its uuid is {found}, this pool's would be {expected}; remove it, or use another pool name"
    )]
    Foreign {
        /// The device.
        name: dm::Name,
        /// The uuid it would have.
        expected: dm::Uuid,
        /// The uuid it has.
        found: String,
    },
    /// The pool and its catalog don't belong together.
    #[error(
        "the pool and its catalog {catalog} do not belong together: the catalog expects transaction id {expected}, the pool has {found}; nothing was changed. If one of the two was restored from a backup, put back the one that belongs to the other; else `thinpool check` shows what differs, and `thinpool repair` brings them together"
    )]
    Mismatch {
        /// The catalog's file.
        catalog: PathBuf,
        /// What it expects.
        expected: TransactionId,
        /// What the pool says.
        found: TransactionId,
    },
    /// The pool has other devices than the catalog, at the same transaction.
    #[error(
        "the pool and its catalog {catalog} do not belong together, though they are at the same transaction id: {different} \
         devices of the catalog's are not the pool's, {unknown} of the pool's are not in the catalog; for one: {example}. \
         Nothing was changed. If one of the two was restored from a backup, put back the one that belongs to the other; else \
         `thinpool check` shows what differs, and `thinpool repair` brings them together"
    )]
    OtherDevices {
        /// The catalog's file.
        catalog: PathBuf,
        /// How many devices of the catalog's are gone, or others.
        different: usize,
        /// How many devices of the pool's the catalog doesn't know.
        unknown: usize,
        /// One that differs, and in what.
        example: String,
    },
    /// The metadata is for other blocks than the catalog says.
    #[error(
        "the pool's metadata is for blocks of {found}, the catalog says {expected}: they do not belong together"
    )]
    BlockSizeMismatch {
        /// What the catalog says.
        expected: BlockSize,
        /// What the superblock says.
        found: BlockSize,
    },
    /// The metadata can't be what a known pool's should be.
    #[error("the pool '{pool}' was not activated: {path}: {source}")]
    Superblock {
        /// The pool.
        pool: String,
        /// The metadata file.
        path: PathBuf,
        /// What is wrong with it.
        source: SuperblockError,
    },
    /// The checker found damage.
    #[error(
        "the pool '{pool}' was not activated: its metadata on {} is damaged ({said}). Nothing was changed. `thinpool \
         repair` tells what would be lost, and asks; `thinpool activate --no-check` loads it as it is", .metadata.display()
    )]
    MetadataDamaged {
        /// The pool.
        pool: String,
        /// Where its metadata is.
        metadata: PathBuf,
        /// What the checker said.
        said: String,
    },
    /// The metadata can't be read, or not be believed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It was read while somebody changed it.
    #[error("the metadata of the pool '{0}' changed while it was read; try again")]
    MetadataChanged(String),
    /// A live pool can keep its metadata for one reader only, and somebody else is one.
    #[error(
        "somebody else holds a metadata snapshot of the pool '{pool}', and it can have only one; wait until thin_dump, thin_ls \
         or what else reads it is done. If nothing does, `dmsetup message {device} 0 release_metadata_snap` lets go of it"
    )]
    MetadataSnapshotHeld {
        /// The pool.
        pool: String,
        /// Its device.
        device: dm::Name,
    },
    /// A loop file or a device is not as large as it was.
    #[error("{path} has {found}, {expected} were expected; the pool was not activated")]
    PartTooShort {
        /// Which.
        path: PathBuf,
        /// How long it was.
        expected: Bytes,
        /// How long it is.
        found: Bytes,
    },
    /// A device under the pool isn't there.
    #[error(
        "the pool's {part} is on {}, which isn't there (waited {waited:?} for {identity}); plug it in, or make it active, \
         and try again", .name.display()
    )]
    PartMissing {
        /// Data or metadata.
        part: Part,
        /// What it was called at setup.
        name: PathBuf,
        /// What it is known by.
        identity: Identity,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Something is on a device, or uses it.
    #[error("{} can't be used: {}{}", .device.display(), sentences(.obstacles), way_out(.device, .obstacles))]
    Obstacles {
        /// The device.
        device: PathBuf,
        /// What speaks against it.
        obstacles: Vec<Obstacle>,
    },
    /// Another pool has the device.
    #[error("{} belongs to the pool '{pool}' (`thinpool --pool {pool} status`)", .device.display())]
    UsedByPool {
        /// The device.
        device: PathBuf,
        /// The pool.
        pool: String,
    },
    /// After a reboot nobody could tell which device it was.
    #[error(
        "{} has nothing by which it could be known again after a reboot: no serial number, no partition or volume uuid. \
         Make a partition or an LVM volume on it{}", .0.display(), if .0.to_string_lossy().contains("/loop") {
            "; a pool on files is made with --dir instead"
        } else {
            ""
        }
    )]
    NoIdentity(PathBuf),
    /// Data and metadata, or two disks, are one device.
    #[error("{} is given twice", .0.display())]
    SameDevice(PathBuf),
    /// A metadata device with something on it that nobody knows.
    #[error(
        "{path} has no signature, but its first 4 KiB are not blank either: something may be on it. If nothing of that is \
         needed, add --wipe {path}", path = .0.display()
    )]
    NotBlank(PathBuf),
    /// A device is to be wiped that the pool isn't to lie on.
    #[error("--wipe {}: that is none of the devices for the pool, so nothing was done to it", .0.display())]
    WipeOfStranger(PathBuf),
    /// No device for the metadata.
    #[error("there is no device for the pool's metadata: {why}")]
    NoMetadataDevice {
        /// What was looked at, and what can be done.
        why: String,
    },
    /// A device that can't hold even the smallest pool.
    #[error("{} has {size}, and {needed} are the least that a pool needs for its {part}", .device.display())]
    DeviceTooSmall {
        /// Data or metadata.
        part: Part,
        /// The device.
        device: PathBuf,
        /// Its size.
        size: Bytes,
        /// What it needs.
        needed: Bytes,
    },
    /// The thin pool that was to be used isn't one, or not active.
    #[error(
        "there is no active thin pool {0}, and one that exists is for whoever made it to activate (an LVM pool: \
         `vgchange -ay`)"
    )]
    ExistingNotActive(String),
    /// The thin pool that a pool of ours is in can't be reached.
    #[error(
        "the thin pool {0} isn't active, so this pool's devices can't be deleted from it; activate it first (an LVM pool: \
         `vgchange -ay`), or, if it is gone for good, add --abandon"
    )]
    ExistingUnreachable(String),
    /// The thin pool has nothing by which it could be known again.
    #[error(
        "the thin pool {0} has no uuid in device-mapper, so nothing would tell it from another pool of that name; whoever \
         makes it can give it one (`dmsetup create --uuid`)"
    )]
    ExistingUnmarked(String),
    /// The device is no thin pool.
    #[error("{name} is no thin pool (`dmsetup table {name}` shows what it is){}", .meant.as_ref().map_or_else(String::new, |meant| format!("; {meant} is one")))]
    NotAThinPool {
        /// The device.
        name: String,
        /// The thin pool that LVM hides behind a device of this name.
        meant: Option<String>,
    },
    /// The thin pool that was to be used is somebody else's.
    #[error(
        "the thin pool {pool} is not empty: {whose}. Two managers of one pool would destroy each other's devices; give an empty \
         one{}", if *.maybe_ours {
            format!(
                "; or, if it was a pool of this program and its catalog is lost, make that anew with `thinpool repair \
                 --rebuild-catalog --thinpooldev {pool}`"
            )
        } else {
            String::new()
        }
    )]
    ExistingInUse {
        /// The pool.
        pool: String,
        /// Who uses it, and by what that was seen.
        whose: String,
        /// Whether it may be a pool of this program whose catalog is lost.
        maybe_ours: bool,
    },
    /// A loop file is attached by somebody else.
    #[error(
        "{path} is attached to /dev/loop{} already, not by this pool; detach it (`losetup -d /dev/loop{}`) first", .device.minor, .device.minor
    )]
    AttachedElsewhere {
        /// Which file.
        path: PathBuf,
        /// To which device.
        device: dm::DeviceNumber,
    },
    /// The kernel's pool can't take changes.
    #[error("the pool '{pool}' can't be changed: {what}; see `thinpool status`")]
    Unusable {
        /// The pool.
        pool: String,
        /// In which state it is.
        what: &'static str,
    },
    /// The kernel said yes, and its status says no.
    #[error(
        "the kernel accepted the change, but the pool's status says otherwise ({0:?}); it will be settled by the next command"
    )]
    NotCommitted(Box<PoolStatus>),
    /// Less than the minimum is free.
    #[error(
        "{kind} space: {free} of {total} are free, and {minimum} ({percent}) are kept free for what is there already; remove \
         containers or images, or make the pool larger (`thinpool extend`){}", most(.largest)
    )]
    TooFull {
        /// `data`, `metadata` or the host's `file system`.
        kind: &'static str,
        /// What is free.
        free: Bytes,
        /// What there is.
        total: Bytes,
        /// What must stay free.
        minimum: Bytes,
        /// The same as a share.
        percent: Percent,
        /// The containers that have most, as far as that can be told without a look into the metadata.
        largest: Vec<(String, Bytes)>,
    },
    /// There was enough when it began.
    #[error(
        "the pool '{0}' ran out of data space; what was half made is removed again. Remove containers or images, or make the pool larger (`thinpool extend`)"
    )]
    RanFull(String),
    /// All ids are taken.
    #[error("all {} thin device ids of the pool are in use", u64::from(DeviceId::MAX.get()) + 1)]
    IdsExhausted,
    /// The name is taken.
    #[error("there is a {what} '{name}' already")]
    NameTaken {
        /// `container` or `image`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name's device is still in use.
    #[error(
        "the container '{0}' was removed while it was in use, and its device still is; the name is free when its last user closes it"
    )]
    NameLingers(String),
    /// There is none of that name.
    #[error("there is no {what} '{name}'; `thinpool {what} list` shows what there is")]
    NoSuch {
        /// `container` or `image`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// What a command built on was removed by another one meanwhile.
    #[error("the {what} '{name}' was removed by another command meanwhile; try again")]
    Vanished {
        /// What it was.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The pool has devices that the catalog doesn't know, one after the other.
    #[error(
        "the pool has {0} devices in a row that the catalog does not know: somebody else makes devices in it; nothing was changed"
    )]
    UnknownDevices(u32),
    /// Somebody depends on it.
    #[error("the image '{image}' is needed by the containers {}; remove them first", .containers.join(", "))]
    Needed {
        /// The image.
        image: String,
        /// Who needs it.
        containers: Vec<String>,
    },
    /// Nothing tells what a container was.
    #[error(
        "the container '{0}' was not made of an image that is known here, so nothing tells what changed in it"
    )]
    Unlayered(String),
    /// It is mounted.
    #[error("{what} is mounted at {}; unmount it first", paths(.at))]
    Mounted {
        /// Which container.
        what: String,
        /// Where.
        at: Vec<PathBuf>,
    },
    /// Something lies over it.
    #[error("something else is mounted over {0}; unmount that first")]
    Covered(PathBuf),
    /// It is not mounted.
    #[error("the container '{0}' is not mounted")]
    NotMounted(String),
    /// It is open.
    #[error("{} is in use{}", .device.path().display(), users(.by, *.open_count))]
    InUse {
        /// Which device.
        device: dm::Name,
        /// How often it is open.
        open_count: u32,
        /// By whom, as far as was looked for.
        by: Box<Holders>,
    },
    /// Its mount is in use.
    #[error("{} can't be unmounted: {}", .at.display(), users_of_mount(.by))]
    Busy {
        /// The directory.
        at: PathBuf,
        /// By whom.
        by: Box<Holders>,
    },
    /// It is mounted there, and perhaps not as it was asked for.
    #[error("it is mounted at {} already, and how can't be changed while it is; unmount it first", .at.display())]
    MountedOtherwise {
        /// The directory.
        at: PathBuf,
    },
    /// Its file system is mounted for reading only.
    #[error("it is mounted read-only at {}, and so is its file system wherever else; unmount it first", .at.display())]
    MountedReadOnly {
        /// The directory.
        at: PathBuf,
    },
    /// What exists can only become larger.
    #[error(
        "{name} has {has}, and {asked} is less: a device is only made larger, since what its file system has at its end would be \
         lost"
    )]
    NotSmaller {
        /// The container, or the base.
        name: String,
        /// Its size.
        has: Bytes,
        /// What was asked for.
        asked: Bytes,
    },
    /// The new size is smaller than what there is.
    #[error("{asked} is less than the {image} of the image: a file system can't be made smaller here")]
    TooSmall {
        /// What was asked for.
        asked: Bytes,
        /// What the image has.
        image: Bytes,
    },
    /// No device can have that size.
    #[error("{} bytes can't be the size of a device: it is a multiple of 4 KiB, and at most 1 EiB", .0.0)]
    Size(Bytes),
    /// The host has no file system for it.
    #[error("this host can make neither xfs nor ext4: install xfsprogs or e2fsprogs")]
    NoFileSystem,
    /// The host can't make this one.
    #[error("this host can't make or mount {0}: its mkfs or its kernel module is missing")]
    FileSystemUnsupported(FileSystem),
    /// udev and we would race for the nodes.
    #[error(
        "udevd runs, but changes can't be synchronised with it: {0}; nodes may come late or wrong. Install device-mapper's udev rules (Debian: apt-get install dmsetup), or take the risk with --storage-opt dm.override_udev_sync_check=true"
    )]
    UdevRaces(dm::UdevSync),
    /// The kernel can't make pools.
    #[error(
        "the kernel has no thin-pool target; load it with `modprobe dm_thin_pool` (Debian: it comes with every linux-image package)"
    )]
    NoThinPool,
    /// A directory can't be used.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An error, and another one while cleaning up after it.
    #[error("{cause}; and cleaning up after it failed too: {cleanup}")]
    CleanUp {
        /// What went wrong first.
        cause: Box<PoolError>,
        /// What went wrong then.
        cleanup: Box<PoolError>,
    },
    /// Its metadata could not be backed up or replaced.
    #[error(transparent)]
    Rescue(#[from] RescueError),
    /// It could not be made larger.
    #[error(transparent)]
    Extend(#[from] ExtendError),
    /// Device-mapper.
    #[error(transparent)]
    Dm(#[from] dm::Error),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file system.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The table of mounts.
    #[error(transparent)]
    Mounts(#[from] MountTableError),
    /// Mount options.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// A loop device.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A loop file.
    #[error(transparent)]
    LoopFile(#[from] LoopFileError),
    /// A device's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A block device.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// LVM.
    #[error(transparent)]
    Lvm(#[from] lvm::LvmError),
    /// A tool that could not be run.
    #[error(transparent)]
    Tool(#[from] lvm::RunError),
    /// Volumes of LVM.
    #[error(transparent)]
    Volumes(#[from] VolumesError),
}

impl PoolError {
    /// Whether it may go away by itself: a device in use is let go, and one that vanished under our hands (LVM's
    /// blkdeactivate takes away whatever it finds at shutdown) is found gone.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Mounted { .. }
            | Self::InUse { .. }
            | Self::Busy { .. }
            | Self::Lock(LockError::Held { .. }) => true,
            Self::Dm(error) => matches!(error.errno(), Some(Errno::EBUSY | Errno::ENXIO)),
            _ => false,
        }
    }

    /// Whether a pool could not be made larger because there is no room for that: less may go.
    #[must_use]
    pub fn is_lack_of_room(&self) -> bool {
        match self {
            Self::Extend(ExtendError::NoRoomOnHost { .. } | ExtendError::DeviceTooSmall { .. }) => true,
            Self::Lvm(error) | Self::Volumes(VolumesError::Lvm(error)) => {
                matches!(error.refusal(), Some(lvm::Refusal::NoRoom { .. }))
            }
            Self::CleanUp { cause, .. } => cause.is_lack_of_room(),
            _ => false,
        }
    }

    /// This error, and with it the one of the cleaning up, if there was one.
    pub(super) fn after_cleaning_up(self, cleanup: Result<(), PoolError>) -> Self {
        match cleanup {
            Ok(()) => self,
            Err(cleanup) => Self::CleanUp { cause: self.into(), cleanup: cleanup.into() },
        }
    }
}

/// A setting that was asked for and is otherwise in the pool that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub setting: &'static str,
    /// What the pool has.
    pub is: String,
    /// What was asked for.
    pub asked: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, asked for {}", self.setting, self.is, self.asked)
    }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn sentences(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What to do about a device that something is on: wiping it helps only where nobody uses it.
fn way_out(device: &Path, obstacles: &[Obstacle]) -> String {
    if obstacles.iter().all(Obstacle::can_be_wiped) {
        format!(". If nothing of that is needed, add --wipe {}", device.display())
    } else {
        String::new()
    }
}

fn most(largest: &[(String, Bytes)]) -> String {
    if largest.is_empty() {
        return String::new();
    }
    let told: Vec<String> = largest.iter().map(|(name, size)| format!("{name} ({size})")).collect();
    format!("; of the active containers most is in {}", told.join(", "))
}

/// By whom a device is used, or how to look for them where nobody was found.
fn users(by: &Holders, open_count: u32) -> String {
    match (by.is_empty(), open_count) {
        (false, _) => format!(": {by}"),
        (true, 0) => String::new(),
        (true, count) => format!(": it is open {count} times, by nobody that can be seen from here"),
    }
}

/// Who keeps a mount from being unmounted: that it is mounted needs no telling.
fn users_of_mount(by: &Holders) -> String {
    let others = Holders { mounts: Vec::new(), ..by.clone() };
    if others.is_empty() {
        "it is in use, by nobody that can be seen from here; something may be mounted in it".to_owned()
    } else {
        others.to_string()
    }
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

//! File systems on thin devices: make, mount, grow, unmount.

mod grow;
mod identify;
mod inode_tables;
mod journal;
mod kind;
mod make;
mod mount;
mod mounts;
mod namespaces;
mod options;
mod processes;
mod shield;
mod trim;
mod write_back;
mod xfs;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use thiserror::Error;

pub use identify::Identified;
pub use kind::FileSystem;
pub use mount::Detached;
pub(crate) use mounts::unescape;
pub use mounts::{Mount, MountTableError, all_mounts};
pub use namespaces::Elsewhere;
pub use options::{MountOptions, OptionError};
pub use processes::{Process, Use, User};
pub use xfs::{Hurried, end_hurry};

use crate::dm::DeviceNumber;
use crate::units::Bytes;

/// How long processes are looked for that use a device. It is for people, who are told what was found by then.
const PATIENCE_WITH_PROC: Duration = Duration::from_secs(5);

/// A file system to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewFileSystem<'a> {
    /// Which.
    pub kind: FileSystem,
    /// The device, on which nothing was written yet.
    pub device: &'a Path,
    /// What mkfs is told besides our own arguments.
    pub arguments: &'a [String],
    /// Whether that device reads as zeroes also beside what is written in the same block, as one of a pool does that zeroes new
    /// blocks.
    pub reads_as_zeroes: bool,
}

/// A mount to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewMount<'a> {
    /// What is on the device.
    pub kind: FileSystem,
    /// The device.
    pub device: &'a Path,
    /// The directory.
    pub at: &'a Path,
    /// How.
    pub options: &'a MountOptions,
    /// Whose it is: what keeps it from other namespaces is known again by this.
    pub whose: &'a str,
}

/// What the pool's verbs need of file systems: the system's, or a test's.
pub trait FileSystems: Send + Sync {
    /// The kinds this host can make and mount, the preferred one first.
    fn supported(&self) -> Vec<FileSystem>;

    /// Makes a file system on an empty device.
    fn make(&self, new: &NewFileSystem<'_>) -> Result<(), FsError>;

    /// Mounts a device at a directory. No other namespace gets the mount, unless its options say so.
    fn mount(&self, mount: &NewMount<'_>) -> Result<(), FsError>;

    /// Takes a mount away, and what kept it from other namespaces. One that something else lies on is refused.
    fn unmount(&self, mount: &Mount, whose: &str) -> Result<(), FsError>;

    /// The same, also while it is in use: it is nowhere to be seen any more, and goes when its users are done.
    fn detach(&self, mount: &Mount, whose: &str) -> Result<(), FsError>;

    /// Has what was written brought to a device: by the file system on it, wherever that is mounted, or by who has it open.
    fn write_back(&self, device: &Path) -> Result<(), FsError>;

    /// Puts a mount at another directory. Whoever uses it doesn't notice.
    fn move_mount(&self, from: &Path, to: &Path, whose: &str) -> Result<(), FsError>;

    /// All mounts in our own namespace, in the order they were made.
    fn all_mounts(&self) -> Result<Vec<Mount>, MountTableError>;

    /// Those of a device.
    fn mounts(&self, device: DeviceNumber) -> Result<Vec<Mount>, MountTableError> {
        let mut mounts = self.all_mounts()?;
        mounts.retain(|mount| mount.device == device);
        Ok(mounts)
    }

    /// Takes away what was to keep mounts from other namespaces, where they never came, or are gone: for everybody of whom
    /// `whose` says so.
    fn lower_shields(&self, whose: &dyn Fn(&str) -> bool) -> Result<(), FsError>;

    /// The mounts of a device in other namespaces.
    fn mounts_elsewhere(&self, device: DeviceNumber) -> Result<Vec<Elsewhere>, MountTableError>;

    /// Unmounts a device in other namespaces. What is left there is given back.
    fn unmount_elsewhere(&self, device: DeviceNumber, whose: &str)
    -> Result<Vec<Elsewhere>, MountTableError>;

    /// Has the file system on a device give up soon what it can't write, if it would try for ever. [`Hurried`] also ends that.
    fn hurry(&self, device: DeviceNumber) -> Result<(), FsError>;

    /// Gives a file system its time back that was had to hurry.
    fn end_hurry(&self, device: DeviceNumber) -> Result<(), FsError>;

    /// The processes that use a device, as far as they can be found in some seconds.
    fn users(&self, device: DeviceNumber) -> Vec<User>;

    /// Mounts a device where only this process can reach it. It is gone with the process, however that ends.
    fn mount_detached(
        &self,
        kind: FileSystem,
        device: &Path,
        options: &MountOptions,
    ) -> Result<Detached, FsError>;

    /// Grows a file system to fill its device, and makes that durable. One that is mounted stays so, wherever that is; how one
    /// is mounted for it that isn't, the options say.
    fn grow(
        &self,
        kind: FileSystem,
        device: &Path,
        size: Bytes,
        options: &MountOptions,
    ) -> Result<(), FsError>;

    /// Frees every block of a device.
    fn discard(&self, device: &Path, size: Bytes) -> Result<(), FsError>;

    /// Discards every free block of a device of this size that is mounted at `at`, and tells how much that was; `None` if it
    /// is mounted there no more.
    fn trim(
        &self,
        device: DeviceNumber,
        size: Bytes,
        at: &Path,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<Option<Bytes>, FsError>;

    /// What file system is on a device, by its superblock alone; `None` if it is none of ours.
    fn identify(&self, device: &Path) -> Result<Option<Identified>, FsError>;
}

/// The system's file systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFileSystems;

impl FileSystems for SystemFileSystems {
    fn supported(&self) -> Vec<FileSystem> {
        [FileSystem::Xfs, FileSystem::Ext4].into_iter().filter(|kind| make::is_supported(*kind)).collect()
    }

    fn make(&self, new: &NewFileSystem<'_>) -> Result<(), FsError> {
        make::make(new)
    }

    fn mount(&self, mount: &NewMount<'_>) -> Result<(), FsError> {
        // First, so that it comes first where mounts are listed: since Linux 6.8 they are in the order in which they were made, not
        // attached, and who reads the list takes the last for the one on top.
        if !mount.options.propagates {
            shield::raise(mount.at, mount.whose)?;
        }
        let attached = Detached::open(mount.kind, mount.device, mount.options)
            .and_then(|detached| detached.attach(mount.at));
        attached.inspect_err(|_| {
            if let Err(error) = shield::lower(mount.at, mount.whose) {
                tracing::warn!(at = %mount.at.display(), %error, "an empty, read-only tmpfs stays there");
            }
        })
    }

    fn unmount(&self, mount: &Mount, whose: &str) -> Result<(), FsError> {
        refuse_if_covered(mount)?;
        if !mount.file_system_read_only {
            journal::flush(&mount.at);
        }
        unmount_top(&mount.at)?;
        shield::lower(&mount.at, whose)
    }

    fn detach(&self, mount: &Mount, whose: &str) -> Result<(), FsError> {
        refuse_if_covered(mount)?;
        unmount_by(&mount.at, MntFlags::MNT_DETACH)?;
        shield::lower(&mount.at, whose)
    }

    fn write_back(&self, device: &Path) -> Result<(), FsError> {
        write_back::write_back(device).map_err(|errno| FsError::Sync { device: device.to_owned(), errno })
    }

    fn move_mount(&self, from: &Path, to: &Path, whose: &str) -> Result<(), FsError> {
        shield::raise(to, whose)?;
        let moved = steps::around(format_args!("move the mount {}", from.display()), || {
            rustix::mount::mount_move(from, to)
        })
        .map_err(|error| FsError::Move {
            from: from.to_owned(),
            to: to.to_owned(),
            errno: mount::errno(error),
        });
        shield::lower(if moved.is_ok() { from } else { to }, whose)?;
        moved
    }

    fn all_mounts(&self) -> Result<Vec<Mount>, MountTableError> {
        all_mounts()
    }

    fn lower_shields(&self, whose: &dyn Fn(&str) -> bool) -> Result<(), FsError> {
        shield::lower_all(whose)
    }

    fn mounts_elsewhere(&self, device: DeviceNumber) -> Result<Vec<Elsewhere>, MountTableError> {
        namespaces::mounts_elsewhere(device)
    }

    fn unmount_elsewhere(
        &self,
        device: DeviceNumber,
        whose: &str,
    ) -> Result<Vec<Elsewhere>, MountTableError> {
        namespaces::unmount_elsewhere(device, whose)
    }

    fn hurry(&self, device: DeviceNumber) -> Result<(), FsError> {
        xfs::hurry(device)
    }

    fn end_hurry(&self, device: DeviceNumber) -> Result<(), FsError> {
        xfs::give_time(device)
    }

    fn users(&self, device: DeviceNumber) -> Vec<User> {
        processes::users_of(device, PATIENCE_WITH_PROC)
    }

    fn mount_detached(
        &self,
        kind: FileSystem,
        device: &Path,
        options: &MountOptions,
    ) -> Result<Detached, FsError> {
        Detached::open(kind, device, options)
    }

    fn grow(
        &self,
        kind: FileSystem,
        device: &Path,
        size: Bytes,
        options: &MountOptions,
    ) -> Result<(), FsError> {
        // Of a file system that is mounted already this is one more mount, in whatever namespace the others are.
        let mounted = self.mount_detached(kind, device, options)?;
        grow::grow(kind, mounted.root(), size).map_err(|errno| FsError::Grow {
            device: device.to_owned(),
            kind,
            size,
            errno,
        })?;
        mounted.close()
    }

    fn discard(&self, device: &Path, size: Bytes) -> Result<(), FsError> {
        grow::discard(device, size).map_err(|source| FsError::Discard { device: device.to_owned(), source })
    }

    fn trim(
        &self,
        device: DeviceNumber,
        size: Bytes,
        at: &Path,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<Option<Bytes>, FsError> {
        trim::trim(device, size, at, progress).map_err(|source| FsError::Trim { at: at.to_owned(), source })
    }

    fn identify(&self, device: &Path) -> Result<Option<Identified>, FsError> {
        identify::identify(device).map_err(|source| FsError::Identify { device: device.to_owned(), source })
    }
}

/// Unmounts what lies on top at a directory. Not lazily: that only hides the mount from us, and its users go on.
fn unmount_top(at: &Path) -> Result<(), FsError> {
    unmount_by(at, MntFlags::empty())
}

#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn unmount_by(at: &Path, flags: MntFlags) -> Result<(), FsError> {
    steps::around(format_args!("unmount {}", at.display()), || umount2(at, flags | MntFlags::UMOUNT_NOFOLLOW))
        .map_err(|errno| FsError::Unmount { at: at.to_owned(), errno })
}

/// Refuses when something else was mounted over a mount: by its path that one would be unmounted.
fn refuse_if_covered(mount: &Mount) -> Result<(), FsError> {
    if is_on_top(mount)? { Ok(()) } else { Err(FsError::Covered { at: mount.at.clone() }) }
}

/// Whether a mount of our own namespace is what its path leads to.
fn is_on_top(mount: &Mount) -> Result<bool, MountTableError> {
    let on_top = mounts::mount_id(&mount.at);
    Ok(on_top.map_err(|source| MountTableError { path: mount.at.clone(), source })? == mount.id)
}

/// What can go wrong with a file system.
#[derive(Debug, Error)]
pub enum FsError {
    /// The tool that makes the file system isn't there.
    #[error("{tool} is not installed (Debian: apt-get install {package}); without it no {kind} can be made")]
    NoTool {
        /// Its name.
        tool: &'static str,
        /// The Debian package it is in.
        package: &'static str,
        /// The file system asked for.
        kind: FileSystem,
    },
    /// The tool could not be run.
    #[error("{tool} could not be run: {source}")]
    Run {
        /// Its path.
        tool: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tool failed.
    #[error("{command} failed ({status}): {output}")]
    Tool {
        /// The whole command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// The mount failed.
    #[error("{device} can't be mounted as {kind}: {errno}{log}")]
    Mount {
        /// Which device.
        device: PathBuf,
        /// As what.
        kind: FileSystem,
        /// Why.
        errno: Errno,
        /// What the kernel said besides the number.
        log: String,
    },
    /// The mount is there, but not where it should be.
    #[error("the mount of {device} can't be put at {at}: {errno}")]
    Attach {
        /// Which device.
        device: PathBuf,
        /// The directory.
        at: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Something lies over it.
    #[error("something else is mounted over {at}; unmount that first")]
    Covered {
        /// The directory.
        at: PathBuf,
    },
    /// What would keep the mount from other namespaces can't be made.
    #[error(
        "other mount namespaces can't be kept from getting what is mounted at {at}: {errno} (-o shared lets them have it)"
    )]
    Shield {
        /// The directory.
        at: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The mount can't be moved.
    #[error("the mount at {from} can't be moved to {to}: {errno}")]
    Move {
        /// Where it is.
        from: PathBuf,
        /// Where it should be.
        to: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// XFS can't be told when to give up.
    #[error("{path} can't be written: {source}; without it XFS would retry for ever when the pool is full")]
    Retries {
        /// The kernel's file for it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// XFS can't be told how long to try.
    #[error("{path} can't be written: {source}")]
    Patience {
        /// The kernel's file for it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Writing out what was written failed.
    #[error("what was written to {device} could not be made durable: {errno}")]
    Sync {
        /// Which device.
        device: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The mount can't be taken away.
    #[error("{at} can't be unmounted: {errno}")]
    Unmount {
        /// The directory.
        at: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The file system can't be grown.
    #[error("the {kind} on {device} can't be grown to {size}: {errno}{}", grow_hint(*errno))]
    Grow {
        /// Which device.
        device: PathBuf,
        /// Of what kind.
        kind: FileSystem,
        /// To what size.
        size: Bytes,
        /// Why.
        errno: Errno,
    },
    /// The device's blocks can't be freed.
    #[error("the blocks of {device} can't be discarded: {source}")]
    Discard {
        /// Which device.
        device: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A mounted file system doesn't give back what it doesn't use.
    #[error("the file system at {at} can't be trimmed: {source}")]
    Trim {
        /// Where it is mounted.
        at: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The device can't be read.
    #[error("what is on {device} can't be read: {source}")]
    Identify {
        /// Which device.
        device: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The table of mounts can't be read.
    #[error(transparent)]
    MountTable(#[from] MountTableError),
}

/// ext4 says so of a file system that has errors (ext4_resize_begin).
fn grow_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => {
            " (a file system that was found to have errors isn't grown: unmount it, and check it with fsck)"
        }
        Errno::EROFS => " (it is mounted read-only)",
        _ => "",
    }
}

//! File systems on thin devices: make, mount, grow, unmount.

mod grow;
mod kind;
mod make;
mod mount;
mod mounts;
mod options;
mod trim;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::errno::Errno;
use thiserror::Error;

pub use kind::FileSystem;
pub use mount::Detached;
pub(crate) use mounts::unescape;
pub use mounts::{Mount, MountTableError, mounts_of};
pub use options::{MountOptions, OptionError};

use crate::dm::DeviceNumber;
use crate::units::Bytes;

/// What the pool's verbs need of file systems: the system's, or a test's.
pub trait FileSystems: Send + Sync {
    /// The kinds this host can make and mount, the preferred one first.
    fn supported(&self) -> Vec<FileSystem>;

    /// Makes a file system on an empty device, with these arguments for mkfs added to ours.
    fn make(&self, kind: FileSystem, device: &Path, arguments: &[String]) -> Result<(), FsError>;

    /// Mounts a device at a directory.
    fn mount(
        &self,
        kind: FileSystem,
        device: &Path,
        at: &Path,
        options: &MountOptions,
    ) -> Result<(), FsError>;

    /// Takes a mount away.
    fn unmount(&self, at: &Path) -> Result<(), FsError>;

    /// Mounts a device where only this process can reach it. It is gone with the process, however that ends.
    fn mount_detached(
        &self,
        kind: FileSystem,
        device: &Path,
        options: &MountOptions,
    ) -> Result<Detached, FsError>;

    /// Grows a file system to fill its device.
    fn grow(&self, kind: FileSystem, device: &Path, size: Bytes) -> Result<(), FsError>;

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
}

/// The system's file systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFileSystems;

impl FileSystems for SystemFileSystems {
    fn supported(&self) -> Vec<FileSystem> {
        [FileSystem::Xfs, FileSystem::Ext4].into_iter().filter(|kind| make::is_supported(*kind)).collect()
    }

    fn make(&self, kind: FileSystem, device: &Path, arguments: &[String]) -> Result<(), FsError> {
        make::make(kind, device, arguments)
    }

    fn mount(
        &self,
        kind: FileSystem,
        device: &Path,
        at: &Path,
        options: &MountOptions,
    ) -> Result<(), FsError> {
        Detached::open(kind, device, options)?.attach(at)
    }

    fn unmount(&self, at: &Path) -> Result<(), FsError> {
        // Never MNT_DETACH: a lazy unmount only hides the mount from us, and its users go on.
        nix::mount::umount2(at, nix::mount::MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|errno| FsError::Unmount { at: at.to_owned(), errno })
    }

    fn mount_detached(
        &self,
        kind: FileSystem,
        device: &Path,
        options: &MountOptions,
    ) -> Result<Detached, FsError> {
        Detached::open(kind, device, options)
    }

    fn grow(&self, kind: FileSystem, device: &Path, size: Bytes) -> Result<(), FsError> {
        let mounted = self.mount_detached(kind, device, &MountOptions::disposable())?;
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
    /// XFS can't be told when to give up.
    #[error("{path} can't be written: {source}; without it XFS would retry for ever when the pool is full")]
    Retries {
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
    #[error("{at} can't be unmounted: {errno}{}", busy_hint(*errno, at))]
    Unmount {
        /// The directory.
        at: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The file system can't be grown.
    #[error("the {kind} on {device} can't be grown to {size}: {errno}")]
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
    /// The table of mounts can't be read.
    #[error(transparent)]
    MountTable(#[from] MountTableError),
}

fn busy_hint(errno: Errno, at: &Path) -> String {
    match errno {
        Errno::EBUSY => format!(" (`fuser -vm {}` shows who uses it)", at.display()),
        _ => String::new(),
    }
}

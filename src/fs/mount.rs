//! Mounting by the kernel's newer calls (fsopen, fsmount, move_mount; Linux 5.2).
//!
//! They give a mount as a file descriptor, attached to no directory. An import or a growth that needs a device
//! mounted for itself never shows the mount to anybody, can't leak it into another namespace, and a process that
//! is killed leaves none behind.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno as RustixErrno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use steps::around;

use super::{FileSystem, FsError, MountOptions, inode_tables, xfs};

/// A mount that is attached to no directory. Dropping it unmounts.
#[derive(Debug)]
pub struct Detached {
    mount: Option<OwnedFd>,
    root: PathBuf,
    device: PathBuf,
}

impl Detached {
    /// Mounts a device.
    pub fn open(kind: FileSystem, device: &Path, options: &MountOptions) -> Result<Self, FsError> {
        let context = fsopen(kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|error| mount_error(kind, device, error, String::new()))?;
        let mount = configure(context.as_fd(), kind, device, options)
            .map_err(|error| mount_error(kind, device, error, kernel_log(&context)))?;
        // Before anybody sees the mount.
        if let (FileSystem::Xfs, Some(retries)) = (kind, options.xfs_nospace_retries) {
            xfs::limit_retries(device, retries)?;
        }
        let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(Self { mount: Some(mount), root, device: device.to_owned() })
    }

    /// A mount that only a test knows: a plain directory stands for it.
    #[must_use]
    pub fn pretended(root: PathBuf) -> Self {
        Self { mount: None, root, device: PathBuf::new() }
    }

    /// The path by which this process reaches the root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes everything written durable, and unmounts.
    #[allow(clippy::disallowed_methods, reason = "this is the step")]
    pub fn close(self) -> Result<(), FsError> {
        let Some(mount) = self.mount else { return Ok(()) };
        let device = self.device.display();
        // A mount descriptor is an O_PATH one, which can't be synced: open the directory itself.
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let synced = around(format_args!("sync the file system on {device}"), || {
            rustix::fs::openat(&mount, ".", flags, rustix::fs::Mode::empty()).and_then(rustix::fs::syncfs)
        });
        around(format_args!("unmount {device}"), || drop(mount));
        synced.map_err(|error| FsError::Sync { device: self.device, errno: errno(error) })
    }

    /// Puts the mount at a directory, where everybody in this namespace sees it.
    #[allow(clippy::disallowed_methods, reason = "this is the step")]
    pub fn attach(self, at: &Path) -> Result<(), FsError> {
        let Some(mount) = self.mount else { return Ok(()) };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        let attached = around(format_args!("attach the mount to {}", at.display()), || {
            move_mount(&mount, "", CWD, at, flags)
        });
        attached.map_err(|error| FsError::Attach {
            device: self.device,
            at: at.to_owned(),
            errno: errno(error),
        })
    }
}

fn configure(
    context: BorrowedFd<'_>,
    kind: FileSystem,
    device: &Path,
    options: &MountOptions,
) -> Result<OwnedFd, RustixErrno> {
    fsconfig_set_string(context, "source", device)?;
    match kind {
        // Every snapshot has its origin's uuid, and XFS refuses the second one it sees.
        FileSystem::Xfs => fsconfig_set_flag(context, "nouuid")?,
        FileSystem::Ext4 if options.reads_as_zeroes => {
            fsconfig_set_flag(context, inode_tables::LEFT_ALONE)?;
        }
        FileSystem::Ext4 => {}
    }
    let mut attributes = options.attributes;
    if options.read_only {
        fsconfig_set_flag(context, "ro")?;
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    for (key, value) in &options.parameters {
        match value {
            Some(value) => fsconfig_set_string(context, key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(context, key.as_str())?,
        }
    }
    mount(context, device, attributes)
}

/// Mounts what was configured.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn mount(context: BorrowedFd<'_>, device: &Path, attributes: MountAttrFlags) -> Result<OwnedFd, RustixErrno> {
    around(format_args!("mount {}", device.display()), || {
        fsconfig_create(context)?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    })
}

/// What the kernel says of a mount that failed, such as which option it doesn't know: ` (xfs: Unknown parameter 'x')`.
fn kernel_log(context: &OwnedFd) -> String {
    let Ok(duplicate) = context.try_clone() else { return String::new() };
    let mut log = std::fs::File::from(duplicate);
    let mut lines = Vec::new();
    let mut buffer = [0; 1024];
    // One message a read, until there are no more.
    while let Ok(length @ 1..) = log.read(&mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
        // "e ", "w ", "i ": how bad it is.
        lines.push(line.get(2..).unwrap_or_default().to_owned());
    }
    if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
}

fn mount_error(kind: FileSystem, device: &Path, error: RustixErrno, log: String) -> FsError {
    FsError::Mount { device: device.to_owned(), kind, errno: errno(error), log }
}

pub(super) fn errno(error: RustixErrno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

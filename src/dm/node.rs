//! Device numbers and the nodes under /dev that stand for them.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::name::Name;
use super::table::TableError;
use crate::files;

/// The major and minor number of a block device. Tables and the kernel's answers name devices by it, since a
/// path can point elsewhere by the time it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver's number.
    pub major: u32,
    /// The device's number within the driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// The device that a block device node stands for.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        if metadata.file_type().is_block_device() {
            Ok(Self::from_dev(metadata.rdev()))
        } else {
            Err(io::Error::other(format!("{} is not a block device", path.display())))
        }
    }

    /// From the number as `stat` gives it.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the kernel has 12 bits for a major and 20 for a minor"
    )]
    pub fn from_dev(dev: u64) -> Self {
        Self { major: nix::sys::stat::major(dev) as u32, minor: nix::sys::stat::minor(dev) as u32 }
    }

    /// The number as `mknod` takes it.
    #[must_use]
    pub fn to_dev(self) -> u64 {
        nix::sys::stat::makedev(self.major.into(), self.minor.into())
    }

    /// The kernel's own node of a device-mapper device, which devtmpfs makes before any rule of udev's runs.
    #[must_use]
    pub fn kernel_node(self) -> PathBuf {
        PathBuf::from(format!("/dev/dm-{}", self.minor))
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DeviceNumber {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let wrong = || TableError(text.to_owned());
        let (major, minor) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self { major: major.parse().map_err(|_| wrong())?, minor: minor.parse().map_err(|_| wrong())? })
    }
}

/// Makes sure that /dev/mapper/NAME stands for this device, and makes the node where udev did not. `Ok(true)`
/// if it had to be made.
pub(super) fn ensure(name: &Name, device: DeviceNumber) -> io::Result<bool> {
    let path = name.path();
    let is_right = || matches!(DeviceNumber::of(&path), Ok(found) if found == device);
    if is_right() {
        return Ok(false);
    }
    match make(&path, device) {
        // What an earlier device left, or udev's own, in this very moment.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if is_right() {
                return Ok(false);
            }
            forget(name)?;
            make(&path, device)?;
        }
        made => made?,
    }
    Ok(true)
}

fn make(path: &Path, device: DeviceNumber) -> io::Result<()> {
    let kernel_node = device.kernel_node();
    if matches!(DeviceNumber::of(&kernel_node), Ok(found) if found == device) {
        let to = Path::new("..").join(kernel_node.strip_prefix("/dev").unwrap_or(&kernel_node));
        return files::link(&to, path);
    }
    // No devtmpfs (a container, an old initramfs): a node of our own, as libdevmapper would make it.
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    Ok(files::make_node(path, mode, device.to_dev())?)
}

/// Removes what is left of /dev/mapper/NAME, if anything. `Ok` as well when there was nothing.
pub(super) fn forget(name: &Name) -> io::Result<()> {
    match files::remove(&name.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

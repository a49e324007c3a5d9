//! Block devices: what they are, by what they are known again, and what speaks against taking one.
//!
//! A name like `/dev/sdb` is given in the order in which the kernel happens to find disks; the next boot may give it to
//! another one. So a path is only where a person points to: [`BlockDevices::look`] tells which device that is and its
//! [`Identity`], which is what the catalog keeps and [`BlockDevices::find`] goes by.

mod error;
mod find;
mod identity;
mod look;
mod obstacle;
mod signatures;
mod sysfs;
mod udev;
mod usage;
mod wipe;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{BlockError, Found, Hint};
pub use identity::Identity;
pub use obstacle::Obstacle;

use crate::dm::DeviceNumber;
use crate::units::Bytes;

/// Block devices as the pool sees them: the system's, or a test's.
pub trait BlockDevices: Send + Sync {
    /// The block device that a path leads to: `/dev/sdb`, `/dev/vg/lv`, `/dev/disk/by-*`.
    fn look(&self, path: &Path) -> Result<BlockDevice, BlockError>;

    /// The device with this identity, if it is there and udev has finished with it. No device is opened, so that this
    /// never waits for a disk. Two devices with one identity are an error, unless one lies on the other, as a multipath
    /// device on its paths: then it is the upper one.
    fn find(&self, identity: &Identity) -> Result<Option<BlockDevice>, BlockError>;

    /// The same, but one that isn't there yet is waited for, at most this long. Where no udevd runs, nothing is waited for.
    fn wait_for(&self, identity: &Identity, patience: Duration) -> Result<Option<BlockDevice>, BlockError>;

    /// Who uses the device or a part of it, as far as the kernel names them: mounts, swap, other devices. The device isn't
    /// opened.
    fn users(&self, device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError>;

    /// Everything that speaks against giving the device to a pool, the worst first. Not a byte of it is changed.
    fn obstacles(&self, device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError>;

    /// Wipes every signature and zeroes the first 4 KiB, where a thin pool's superblock is, and makes that durable. A
    /// device that is in use is refused.
    fn wipe(&self, device: &BlockDevice) -> Result<(), BlockError>;
}

/// A block device as it was when somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its number, by which tables name it.
    pub number: DeviceNumber,
    /// The kernel's node of it: `/dev/sdb`, `/dev/dm-3`.
    pub node: PathBuf,
    /// Its name for people: `/dev/direct-lvm/data`, `/dev/mapper/luks-data`, else the node.
    pub name: PathBuf,
    /// Its size.
    pub size: Bytes,
    /// Whether the kernel refuses writes to it.
    pub read_only: bool,
    /// What it is known by after the next boot. `None` if there is nothing, as with a loop device.
    pub identity: Option<Identity>,
}

/// The block devices of this system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemBlockDevices;

impl BlockDevices for SystemBlockDevices {
    fn look(&self, path: &Path) -> Result<BlockDevice, BlockError> {
        look::look(path)
    }

    fn find(&self, identity: &Identity) -> Result<Option<BlockDevice>, BlockError> {
        find::find(identity)
    }

    fn wait_for(&self, identity: &Identity, patience: Duration) -> Result<Option<BlockDevice>, BlockError> {
        find::wait_for(identity, patience)
    }

    fn users(&self, device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
        usage::named(device)
    }

    fn obstacles(&self, device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
        let mut found = usage::of(device)?;
        found.extend(signatures::on(device)?);
        Ok(found)
    }

    fn wipe(&self, device: &BlockDevice) -> Result<(), BlockError> {
        wipe::wipe(device)
    }
}

//! What the kernel tells about block devices, in sysfs.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::BlockError;
use crate::dm::DeviceNumber;
use crate::units::{Bytes, Sectors};

/// A block device's folder in sysfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SysBlock {
    folder: PathBuf,
}

impl SysBlock {
    /// The device with this number.
    pub(super) fn of(number: DeviceNumber) -> Result<Self, BlockError> {
        let link = PathBuf::from(format!("/sys/dev/block/{number}"));
        let folder = link.canonicalize().map_err(io_error("look up", &link))?;
        Ok(Self { folder })
    }

    /// All block devices, partitions included.
    pub(super) fn all() -> Result<Vec<Self>, BlockError> {
        linked(Path::new("/sys/class/block"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn number(&self) -> Result<DeviceNumber, BlockError> {
        let file = self.folder.join("dev");
        let text = std::fs::read_to_string(&file).map_err(io_error("read", &file))?;
        text.trim().parse().map_err(io::Error::other).map_err(io_error("understand", &file))
    }

    /// The kernel's name of it: `sdb1`, `dm-3`.
    pub(super) fn kernel_name(&self) -> &OsStr {
        self.folder.file_name().unwrap_or_default()
    }

    /// The kernel's node of it. Where the name has a slash (`/dev/cciss/c0d0`), sysfs has an exclamation mark.
    pub(super) fn node(&self) -> PathBuf {
        let name: Vec<u8> = self
            .kernel_name()
            .as_bytes()
            .iter()
            .map(|byte| if *byte == b'!' { b'/' } else { *byte })
            .collect();
        Path::new("/dev").join(OsStr::from_bytes(&name))
    }

    pub(super) fn size(&self) -> Result<Bytes, BlockError> {
        self.read_number("size").map(|sectors| Sectors(sectors).bytes())
    }

    pub(super) fn is_read_only(&self) -> Result<bool, BlockError> {
        self.read_number("ro").map(|flag| flag != 0)
    }

    /// The name of a device-mapper device.
    pub(super) fn dm_name(&self) -> Option<String> {
        self.read("dm/name")
    }

    /// The uuid of a device-mapper device that has one.
    pub(super) fn dm_uuid(&self) -> Option<String> {
        self.read("dm/uuid")
    }

    /// The file or device that a loop device is attached to.
    pub(super) fn loop_backing(&self) -> Option<PathBuf> {
        self.read("loop/backing_file").map(PathBuf::from)
    }

    pub(super) fn is_partition(&self) -> bool {
        self.folder.join("partition").exists()
    }

    /// The disk that a partition is on.
    pub(super) fn disk(&self) -> Option<Self> {
        let above = self.folder.parent()?;
        self.is_partition().then(|| Self { folder: above.to_owned() })
    }

    /// The partitions of a disk.
    pub(super) fn partitions(&self) -> Result<Vec<Self>, BlockError> {
        let entries = self.folder.read_dir().map_err(io_error("list", &self.folder));
        let Some(entries) = unless_gone(entries)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let entry = Self { folder: entry.map_err(io_error("list", &self.folder))?.path() };
            if entry.is_partition() {
                found.push(entry);
            }
        }
        found.sort_by(|one, other| one.folder.cmp(&other.folder));
        Ok(found)
    }

    /// The block devices that are made of this one and say so to the kernel: of device-mapper, md, bcache.
    pub(super) fn holders(&self) -> Result<Vec<Self>, BlockError> {
        linked(&self.folder.join("holders"))
    }

    /// An attribute; none if the device has no such, or is gone.
    fn read(&self, attribute: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join(attribute)).ok()?;
        let text = text.trim_end_matches('\n');
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn read_number(&self, attribute: &str) -> Result<u64, BlockError> {
        let file = self.folder.join(attribute);
        let text = std::fs::read_to_string(&file).map_err(io_error("read", &file))?;
        text.trim().parse().map_err(io::Error::other).map_err(io_error("understand", &file))
    }
}

/// The devices that a folder of links leads to. One that vanishes meanwhile is not there.
fn linked(folder: &Path) -> Result<Vec<SysBlock>, BlockError> {
    let entries = unless_gone(folder.read_dir().map_err(io_error("list", folder)))?;
    let Some(entries) = entries else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let link = entry.map_err(io_error("list", folder))?.path();
        let folder = unless_gone(link.canonicalize().map_err(io_error("look up", &link)))?;
        found.extend(folder.map(|folder| SysBlock { folder }));
    }
    found.sort_by(|one, other| one.folder.cmp(&other.folder));
    Ok(found)
}

/// A device may go while it is looked at: then the kernel has no file of it any more, or ends the one that is open.
pub(super) fn unless_gone<T>(result: Result<T, BlockError>) -> Result<Option<T>, BlockError> {
    let gone = [Errno::ENOENT, Errno::ENODEV].map(|errno| Some(errno as i32));
    match result {
        Err(BlockError::Io { source, .. }) if gone.contains(&source.raw_os_error()) => Ok(None),
        result => result.map(Some),
    }
}

pub(super) fn io_error(action: &'static str, device: &Path) -> impl FnOnce(io::Error) -> BlockError {
    let device = device.to_owned();
    move |source| BlockError::Io { action, device, source }
}

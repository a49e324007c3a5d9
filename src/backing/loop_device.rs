//! Loop devices: a file as a block device.
//!
//! LOOP_CONFIGURE (Linux 5.8) attaches in one step what LOOP_SET_FD and LOOP_SET_STATUS did in two, with a moment
//! in between at which another process could see half a device. Autoclear makes the kernel detach the file when
//! its last user is gone, so that no crash of ours leaks a loop device.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use thiserror::Error;

use crate::dm::DeviceNumber;

/// Attaches files to loop devices: the kernel's, or a test's.
pub trait LoopDevices: Send + Sync {
    /// Attaches a file for reading and writing.
    fn attach(&self, file: &Path) -> Result<Attached, LoopError>;

    /// The loop device that a file is attached to already, if any.
    fn find(&self, file: &Path) -> Result<Option<DeviceNumber>, LoopError> {
        Ok(self.find_all(file)?.first().copied())
    }

    /// Every loop device that a file is attached to: nothing in the kernel keeps it to one.
    fn find_all(&self, file: &Path) -> Result<Vec<DeviceNumber>, LoopError>;

    /// Gives a loop device that is in use the length that its file has by now.
    fn adopt_length(&self, device: DeviceNumber) -> Result<(), LoopError>;
}

/// A block device that a table can name. Of a loop device, the kernel detaches the file as soon as this and every other
/// user of the device are gone: keep it until a table holds the device.
#[derive(Debug)]
pub struct Attached {
    /// The device's number.
    pub device: DeviceNumber,
    /// Its node.
    pub path: PathBuf,
    _open: Option<File>,
}

impl Attached {
    /// A device that is there by itself.
    #[must_use]
    pub fn as_it_is(device: DeviceNumber, path: PathBuf) -> Self {
        Self { device, path, _open: None }
    }
}

/// Why a file could not be attached.
#[derive(Debug, Error)]
pub enum LoopError {
    /// There are no loop devices to be had.
    #[error("no loop device can be had from /dev/loop-control: {0} (load the module: modprobe loop)")]
    Control(#[source] io::Error),
    /// The file can't be opened.
    #[error("{path} can't be opened: {source}")]
    Open {
        /// Which file or device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused to attach the file.
    #[error("{file} can't be attached to {device}: {errno}")]
    Configure {
        /// Which file.
        file: PathBuf,
        /// Which loop device.
        device: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The kernel refused to look at the file's length.
    #[error("{device} can't be given the length of its file: {errno}")]
    Length {
        /// Which loop device.
        device: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Every free loop device was taken by somebody else first.
    #[error(
        "every one of {0} free loop devices was taken by another process before {1} could be attached; try again"
    )]
    Contended(u32, PathBuf),
    /// The list of loop devices can't be read.
    #[error("the loop devices can't be listed: {0}")]
    List(#[source] io::Error),
}

/// The kernel's loop devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLoops;

const LOOP_SET_CAPACITY: libc::Ioctl = 0x4C07;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64` of <linux/loop.h>.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of <linux/loop.h>.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

impl LoopDevices for SystemLoops {
    fn attach(&self, file: &Path) -> Result<Attached, LoopError> {
        const ATTEMPTS: u32 = 64;
        let open = |path: &Path| {
            let result = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
            result.map_err(|source| LoopError::Open { path: path.to_owned(), source })
        };
        let backing = open(file)?;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .map_err(LoopError::Control)?;
        for _ in 0..ATTEMPTS {
            let path = PathBuf::from(format!(
                "/dev/loop{}",
                free_loop_device(&control).map_err(LoopError::Control)?
            ));
            let device = open(&path)?;
            let attached = steps::around(format_args!("attach {}", file.display()), || {
                configure_preferring_direct_io(&device, &backing, file)
            });
            match attached {
                Ok(()) => {
                    let number = DeviceNumber::of(&path).map_err(LoopError::Control)?;
                    return Ok(Attached { device: number, path, _open: Some(device) });
                }
                // Another process took this one between the two calls.
                Err(Errno::EBUSY) => {}
                Err(errno) => {
                    return Err(LoopError::Configure { file: file.to_owned(), device: path, errno });
                }
            }
        }
        Err(LoopError::Contended(ATTEMPTS, file.to_owned()))
    }

    fn find_all(&self, file: &Path) -> Result<Vec<DeviceNumber>, LoopError> {
        let identity = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        let file = identity(file).map_err(|source| LoopError::Open { path: file.to_owned(), source })?;
        let mut devices = Vec::new();
        for entry in Path::new("/sys/block").read_dir().map_err(LoopError::List)? {
            let device = entry.map_err(LoopError::List)?.path();
            let attached = std::fs::read(device.join("loop/backing_file")).unwrap_or_default();
            let attached = Path::new(OsStr::from_bytes(attached.trim_ascii_end()));
            // By what the path leads to: the same file may be reached through a bind mount.
            if attached.is_absolute() && identity(attached).is_ok_and(|found| found == file) {
                let number = std::fs::read_to_string(device.join("dev")).map_err(LoopError::List)?;
                devices.extend(number.trim().parse::<DeviceNumber>());
            }
        }
        Ok(devices)
    }

    fn adopt_length(&self, device: DeviceNumber) -> Result<(), LoopError> {
        // Whatever its minor number, its name is the kernel's to know.
        let folder = PathBuf::from(format!("/sys/dev/block/{device}"));
        let name = folder.canonicalize().map_err(LoopError::List)?;
        let path = Path::new("/dev").join(name.file_name().unwrap_or_default());
        let open = OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC).open(&path);
        let open = open.map_err(|source| LoopError::Open { path: path.clone(), source })?;
        // SAFETY: LOOP_SET_CAPACITY takes no argument.
        let adopt = || Errno::result(unsafe { libc::ioctl(open.as_raw_fd(), LOOP_SET_CAPACITY) });
        steps::around(format_args!("adopt the length of {}", path.display()), adopt)
            .map(drop)
            .map_err(|errno| LoopError::Length { device: path, errno })
    }
}

/// The file that a loop device is attached to, as the kernel names it. `None` if it is no loop device.
#[must_use]
pub fn backing_file(device: DeviceNumber) -> Option<PathBuf> {
    let name = std::fs::read(format!("/sys/dev/block/{device}/loop/backing_file")).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(name.trim_ascii_end())))
}

fn free_loop_device(control: &File) -> io::Result<i32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument.
    Ok(Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?)
}

/// Direct I/O saves the page cache from holding everything twice. Where the file system can't, the kernel either
/// falls back by itself or says EINVAL, depending on its age.
fn configure_preferring_direct_io(device: &File, backing: &File, name: &Path) -> Result<(), Errno> {
    match configure(device, backing, name, LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO) {
        Err(Errno::EINVAL) => configure(device, backing, name, LO_FLAGS_AUTOCLEAR),
        result => result,
    }
}

fn configure(device: &File, backing: &File, name: &Path, flags: u32) -> Result<(), Errno> {
    let mut file_name = [0; 64];
    // Only what `losetup` shows of old kernels' answers; sysfs has the whole path.
    for (to, from) in file_name.iter_mut().take(63).zip(name.as_os_str().as_bytes()) {
        *to = *from;
    }
    let info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags,
        file_name,
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    // Left to itself, the block size follows the disk below and the kernel's age, and a file system made with smaller
    // sectors can't be mounted once it has grown.
    let (fd, block_size) = (backing.as_raw_fd().cast_unsigned(), 512);
    let config = LoopConfig { fd, block_size, info, reserved: [0; 8] };
    // SAFETY: the structure is laid out as in <linux/loop.h>, and the kernel only reads it, during the call.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_kernels_header() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}

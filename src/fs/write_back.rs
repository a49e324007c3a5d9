//! Bringing to a device what was written.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

// BLKFLSBUF, of <linux/fs.h>.
nix::ioctl_none!(flush_buffers, 0x12, 97);

/// Syncs the file system that is mounted from a device, in whichever namespace that is, and what was written to the device
/// itself (`blkdev_flushbuf` in block/ioctl.c). No path leads there, so nothing that lies on a mount is in the way. How it went the kernel
/// doesn't say.
pub(super) fn write_back(device: &Path) -> Result<(), Errno> {
    let opened =
        File::open(device).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    steps::around(format_args!("write back what is on {}", device.display()), || {
        // SAFETY: the ioctl has no argument.
        unsafe { flush_buffers(opened.as_raw_fd()) }
    })
    .map(drop)
}

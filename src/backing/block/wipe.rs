//! Doing away with what is on a device.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use lvm::Wipefs;
use nix::errno::Errno;
use nix::libc;

use super::look::still_there;
use super::signatures::thin_pool;
use super::sysfs::io_error;
use super::usage::{self, is_busy, open};
use super::{BlockDevice, BlockError, Obstacle};
use crate::dm::SUPERBLOCK_SIZE;
use crate::files;

/// Wipes a device. It is claimed all the while, so that nobody can begin to use it meanwhile. udev watches devices that
/// were open for writing being closed, and then looks at this one again.
pub(super) fn wipe(device: &BlockDevice) -> Result<(), BlockError> {
    let wipefs = Wipefs::find()?;
    let users = usage::of(device)?;
    if !users.is_empty() {
        return Err(BlockError::InUse { device: device.name.clone(), obstacles: users });
    }
    let claimed = claim(device)?;
    // Now that it can't go away any more.
    still_there(device)?;
    wipefs.wipe_claimed(&device.node)?;
    zero_start(&claimed, device)?;
    forget_partitions(&claimed, device)?;
    verify(&wipefs, device)
}

/// Opens the device for ourselves alone. The kernel refuses that while the device, a partition of it or the disk that it
/// is on is mounted, swap, or part of something else.
fn claim(device: &BlockDevice) -> Result<File, BlockError> {
    match open(device, OpenOptions::new().read(true).write(true), libc::O_EXCL) {
        Err(BlockError::Io { source, .. }) if is_busy(&source) => Err(BlockError::InUse {
            device: device.name.clone(),
            obstacles: vec![Obstacle::Busy { device: device.name.clone() }],
        }),
        result => result,
    }
}

fn zero_start(claimed: &File, device: &BlockDevice) -> Result<(), BlockError> {
    let length = usize::try_from(device.size.0).unwrap_or(usize::MAX).min(SUPERBLOCK_SIZE);
    steps::around(format_args!("zero the start of {}", device.name.display()), || {
        claimed.write_all_at(&vec![0; length], 0)
    })
    .and_then(|()| files::sync(claimed, &device.node))
    .map_err(io_error("write to", &device.node))
}

/// Lets the kernel look for partitions again where it knows some, whose table is gone now.
fn forget_partitions(claimed: &File, device: &BlockDevice) -> Result<(), BlockError> {
    if still_there(device)?.partitions()?.is_empty() {
        return Ok(());
    }
    let forgotten = steps::around(format_args!("forget the partitions of {}", device.name.display()), || {
        // SAFETY: BLKRRPART takes no argument.
        unsafe { blkrrpart(claimed.as_raw_fd()) }
    });
    match forgotten {
        // Somebody, udev most likely, looks at a partition just now. udevd does this itself when we close the device.
        Ok(_) | Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(io_error("make the kernel forget the partitions of", &device.node)(errno.into())),
    }
}

nix::ioctl_none!(blkrrpart, 0x12, 95);

fn verify(wipefs: &Wipefs, device: &BlockDevice) -> Result<(), BlockError> {
    let found = wipefs.signatures(&device.node)?;
    if found.is_empty() && thin_pool(device)?.is_none() {
        return Ok(());
    }
    Err(BlockError::StillThere { device: device.name.clone(), found })
}

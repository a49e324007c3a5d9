//! Giving back what a mounted file system doesn't use.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::dm::DeviceNumber;
use crate::units::Bytes;

/// As much at a time as a disk is done with soon, so that somebody can be told how far it came.
const STEP: Bytes = Bytes::gib(8);

/// `struct fstrim_range` of <linux/fs.h>.
#[repr(C)]
struct Range {
    start: u64,
    length: u64,
    least: u64,
}

nix::ioctl_readwrite!(fitrim, b'X', 121, Range);

/// Discards every free block of the file system that is mounted at `at`, and tells how much that was. Should the device be
/// mounted there no more, another file system would be trimmed: then nothing is done.
pub(super) fn trim(
    device: DeviceNumber,
    size: Bytes,
    at: &Path,
    progress: &mut dyn FnMut(Bytes),
) -> io::Result<Option<Bytes>> {
    let root = File::open(at)?;
    if DeviceNumber::from_dev(root.metadata()?.dev()) != device {
        return Ok(None);
    }
    let mut trimmed = Bytes(0);
    let mut start = Bytes(0);
    while start < size {
        let length = STEP.min(size - start);
        let mut range = Range { start: start.0, length: length.0, least: 0 };
        // SAFETY: the kernel reads the range and writes how much it trimmed into it, during the call.
        match unsafe { fitrim(root.as_raw_fd(), &raw mut range) } {
            Ok(_) => trimmed = trimmed + Bytes(range.length),
            // The file system ends before its device does.
            Err(Errno::EINVAL) if start.0 > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
        start = start + length;
        progress(length);
    }
    Ok(Some(trimmed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_on_another_device_is_not_trimmed() {
        let directory = tempfile::tempdir().expect("tempdir");
        let other = DeviceNumber { major: 4095, minor: 1 };
        let trimmed = trim(other, Bytes::gib(1), directory.path(), &mut |_| {});
        assert_eq!(trimmed.expect("looked at"), None);
    }

    #[test]
    fn the_structure_has_the_size_in_the_ioctl_number_of_the_kernels_header() {
        assert_eq!(size_of::<Range>(), 24);
    }
}

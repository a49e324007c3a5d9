//! Growing a mounted file system, and freeing a device's blocks.
//!
//! By the ioctls that resize2fs and xfs_growfs end up making: both tools insist on finding the mount in
//! /proc/mounts, where a detached one never stands.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

use super::{FileSystem, inode_tables};
use crate::units::Bytes;

/// `struct xfs_fsop_geom_v1` of <xfs/xfs_fs.h>, up to what is needed here.
#[repr(C)]
#[derive(Default)]
struct XfsGeometry {
    block_size: u32,
    rt_extent_size: u32,
    ag_blocks: u32,
    ag_count: u32,
    log_blocks: u32,
    sector_size: u32,
    inode_size: u32,
    max_inode_percent: u32,
    data_blocks: u64,
    rt_blocks: u64,
    rt_extents: u64,
    log_start: u64,
    uuid: [u8; 16],
    stripe_unit: u32,
    stripe_width: u32,
    version: i32,
    flags: u32,
    log_sector_size: u32,
    rt_sector_size: u32,
    directory_block_size: u32,
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct XfsGrowData {
    new_blocks: u64,
    max_inode_percent: u32,
}

mod calls {
    use super::{XfsGeometry, XfsGrowData};

    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
    nix::ioctl_read!(xfs_geometry, b'X', 100, XfsGeometry);
    nix::ioctl_write_ptr!(xfs_grow_data, b'X', 110, XfsGrowData);
    nix::ioctl_write_ptr_bad!(discard, nix::request_code_none!(0x12, 119), [u64; 2]);
}

/// Grows the file system mounted at `root` to this size. One that is that large already is left alone.
pub(super) fn grow(kind: FileSystem, root: &Path, size: Bytes) -> Result<(), Errno> {
    let root = File::open(root).map_err(|error| errno(&error))?;
    let grow = || {
        steps::around(format_args!("grow the file system to {size}"), || match kind {
            FileSystem::Ext4 => grow_ext4(&root, size),
            FileSystem::Xfs => grow_xfs(&root, size),
        })
    };
    match kind {
        FileSystem::Ext4 => inode_tables::left_alone_while(&root, grow),
        FileSystem::Xfs => grow(),
    }
}

fn grow_ext4(root: &File, size: Bytes) -> Result<(), Errno> {
    let block = nix::sys::statvfs::fstatvfs(root)?.block_size().max(1);
    let blocks = size.0 / block;
    // SAFETY: the kernel reads one u64 during the call.
    unsafe { calls::ext4_resize(root.as_raw_fd(), &raw const blocks) }.map(drop)
}

fn grow_xfs(root: &File, size: Bytes) -> Result<(), Errno> {
    let mut geometry = XfsGeometry::default();
    // SAFETY: the structure has the layout and the size that the ioctl's number names; the kernel fills it.
    unsafe { calls::xfs_geometry(root.as_raw_fd(), &raw mut geometry) }?;
    let new_blocks = size.0 / u64::from(geometry.block_size.max(1));
    if new_blocks <= geometry.data_blocks {
        return Ok(());
    }
    let data = XfsGrowData { new_blocks, max_inode_percent: geometry.max_inode_percent };
    // SAFETY: as above; the kernel reads it during the call.
    unsafe { calls::xfs_grow_data(root.as_raw_fd(), &raw const data) }.map(drop)
}

/// Discards every block of a device.
pub(super) fn discard(device: &Path, size: Bytes) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).open(device)?;
    let range = [0, size.0];
    steps::around(format_args!("discard the blocks of {}", device.display()), || {
        // SAFETY: BLKDISCARD reads a start and a length, two u64, during the call.
        unsafe { calls::discard(opened.as_raw_fd(), &raw const range) }
    })?;
    Ok(())
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_in_the_ioctl_numbers_of_the_kernels_header() {
        // XFS_IOC_FSGEOMETRY_V1 and XFS_IOC_FSGROWFSDATA carry these sizes in their numbers.
        assert_eq!(size_of::<XfsGeometry>(), 112);
        assert_eq!(size_of::<XfsGrowData>(), 16);
    }
}

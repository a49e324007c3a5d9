//! What file system is on a device, and how large it is: read from its superblock, so that nothing is mounted and no
//! journal is played back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::FileSystem;
use crate::units::Bytes;

/// A file system that was found on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// Its kind.
    pub kind: FileSystem,
    /// How large it says it is.
    pub size: Bytes,
}

/// Both superblocks lie in here.
const START: usize = 4096;

/// Where ext4 keeps its superblock.
const EXT4: usize = 1024;

pub(super) fn identify(device: &Path) -> io::Result<Option<Identified>> {
    let mut start = [0; START];
    File::open(device)?.read_exact_at(&mut start, 0)?;
    Ok(xfs(&start).or_else(|| ext4(&start)))
}

/// `struct xfs_dsb` (fs/xfs/libxfs/xfs_format.h): big-endian, from the start.
fn xfs(start: &[u8; START]) -> Option<Identified> {
    if !start.starts_with(b"XFSB") {
        return None;
    }
    let block = u32::from_be_bytes(at(start, 4));
    let blocks = u64::from_be_bytes(at(start, 8));
    // 512 bytes to 64 KiB (XFS_MIN_BLOCKSIZE, XFS_MAX_BLOCKSIZE).
    let allowed = block.is_power_of_two() && (512..=65_536).contains(&block);
    let size = blocks.checked_mul(u64::from(block)).filter(|_| allowed)?;
    Some(Identified { kind: FileSystem::Xfs, size: Bytes(size) })
}

/// `struct ext4_super_block` (fs/ext4/ext4.h): little-endian.
fn ext4(start: &[u8; START]) -> Option<Identified> {
    const MAGIC: u16 = 0xEF53;
    const INCOMPAT_64BIT: u32 = 0x80;
    /// ext2 and ext3 have the same superblock; extents are what ext4 always has here.
    const INCOMPAT_EXTENTS: u32 = 0x40;
    if u16::from_le_bytes(at(start, EXT4 + 0x38)) != MAGIC {
        return None;
    }
    let low = u32::from_le_bytes(at(start, EXT4 + 0x4));
    let shift = u32::from_le_bytes(at(start, EXT4 + 0x18));
    let incompatible = u32::from_le_bytes(at(start, EXT4 + 0x60));
    let high = u32::from_le_bytes(at(start, EXT4 + 0x150));
    let high = if incompatible & INCOMPAT_64BIT == 0 { 0 } else { high };
    // 1 KiB to 64 KiB (EXT4_MAX_BLOCK_LOG_SIZE).
    if shift > 6 || incompatible & INCOMPAT_EXTENTS == 0 {
        return None;
    }
    let size = (u64::from(high) << 32 | u64::from(low)).checked_mul(1024 << shift)?;
    Some(Identified { kind: FileSystem::Ext4, size: Bytes(size) })
}

fn at<const N: usize>(start: &[u8; START], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&start[offset..offset + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ext4_of(blocks: u64) -> [u8; START] {
        let mut start = [0; START];
        start[EXT4 + 0x38..][..2].copy_from_slice(&0xEF53_u16.to_le_bytes());
        start[EXT4 + 0x18..][..4].copy_from_slice(&2_u32.to_le_bytes());
        start[EXT4 + 0x60..][..4].copy_from_slice(&0xC0_u32.to_le_bytes());
        let bytes = blocks.to_le_bytes();
        start[EXT4 + 0x4..][..4].copy_from_slice(&bytes[..4]);
        start[EXT4 + 0x150..][..4].copy_from_slice(&bytes[4..]);
        start
    }

    #[test]
    fn the_size_of_an_ext4_beyond_sixteen_tebibytes_is_read_whole() {
        let blocks = (1 << 32) + 7;
        let found = Identified { kind: FileSystem::Ext4, size: Bytes(blocks * 4096) };
        assert_eq!(ext4(&ext4_of(blocks)), Some(found));
    }

    #[test]
    fn the_size_of_an_xfs_is_read() {
        let mut start = [0; START];
        start[..4].copy_from_slice(b"XFSB");
        start[4..8].copy_from_slice(&4096_u32.to_be_bytes());
        start[8..16].copy_from_slice(&2560_u64.to_be_bytes());
        assert_eq!(xfs(&start), Some(Identified { kind: FileSystem::Xfs, size: Bytes::mib(10) }));
    }

    #[test]
    fn a_device_that_was_never_written_has_no_file_system() {
        assert_eq!((xfs(&[0; START]), ext4(&[0; START])), (None, None));
    }

    proptest! {
        #[test]
        fn no_superblock_makes_a_reader_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0x160), shift in any::<u32>(), is_xfs in any::<bool>()
        ) {
            let mut start = ext4_of(0);
            start[EXT4..][..0x160].copy_from_slice(&bytes);
            start[EXT4 + 0x38..][..2].copy_from_slice(&0xEF53_u16.to_le_bytes());
            start[EXT4 + 0x18..][..4].copy_from_slice(&shift.to_le_bytes());
            if is_xfs {
                start[..0x160].copy_from_slice(&bytes);
                start[..4].copy_from_slice(b"XFSB");
            }
            let _ = xfs(&start).or_else(|| ext4(&start));
        }
    }
}

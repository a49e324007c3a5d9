//! The superblock of a pool's metadata, read before a table is loaded.
//!
//! The kernel formats a metadata device whose first block is all zero as a fresh pool, without a word
//! (`__superblock_all_zeroes` in drivers/md/dm-thin-metadata.c). For a pool that is known to exist that would be
//! the loss of everything in it, so no table is loaded for one before this was read.

use std::io::{self, Read};

use thiserror::Error;

use super::Blocks;
use crate::units::{BlockSize, DataBlocks, MetaBlocks, Sectors, TransactionId};

/// Bytes of the superblock: one metadata block.
pub const SUPERBLOCK_SIZE: usize = 4096;

/// `THIN_SUPERBLOCK_MAGIC`.
const MAGIC: u64 = 27_022_010;

/// `SUPERBLOCK_CSUM_XOR`: a checksum of one kind of block never passes as one of another kind.
const CHECKSUM_XOR: u32 = 160_774;

/// What a superblock tells (`struct thin_disk_superblock`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// How far the pool got with its catalog.
    pub transaction_id: TransactionId,
    /// The block size the pool was made with.
    pub block_size: BlockSize,
    /// The snapshot clock: it grows by one a snapshot and is packed into 24 bits.
    pub time: u32,
    /// Whether the kernel asks for a check before the pool may be written again.
    pub needs_check: bool,
    /// How many blocks of metadata are in use.
    pub metadata_used: MetaBlocks,
    /// Used and total blocks of data. Nothing in the superblock of a metadata snapshot, which has no space maps.
    pub data: Blocks<DataBlocks>,
    /// Where the superblock of a metadata snapshot is, if one is held.
    pub held_root: Option<MetaBlocks>,
    /// Where the tree of all devices' mappings begins.
    pub mapping_root: MetaBlocks,
    /// Where the tree of what is known of each device begins.
    pub details_root: MetaBlocks,
}

/// What is wrong with a superblock.
#[derive(Debug, Error)]
pub enum SuperblockError {
    /// It can't be read.
    #[error("the pool's metadata can't be read: {0}")]
    Read(#[from] io::Error),
    /// Nothing but zeroes.
    #[error(
        "the metadata has no pool: its first block is all zero, and the kernel would format it as a new, empty pool"
    )]
    Empty,
    /// Not the superblock of a thin pool.
    #[error("the metadata's first block is not that of a thin pool (magic number {found}, expected {MAGIC})")]
    Magic {
        /// What stands where the magic number belongs.
        found: u64,
    },
    /// Damaged.
    #[error(
        "the metadata's first block is damaged: its checksum is {found:#010x}, computed {computed:#010x}"
    )]
    Checksum {
        /// What it carries.
        found: u32,
        /// What its content gives.
        computed: u32,
    },
    /// Right in itself, and in the wrong place.
    #[error("the block says that it is block {found} of the metadata, and is block {expected}")]
    Location {
        /// Where it is.
        expected: u64,
        /// Where it says that it is.
        found: u64,
    },
    /// Of a layout that no kernel made.
    #[error("the metadata says that its blocks have {0} sectors, which no kernel makes")]
    BlockSize(u32),
}

impl Superblock {
    /// Reads the superblock from the start of a metadata device or file.
    pub fn read(mut metadata: impl Read) -> Result<Self, SuperblockError> {
        let mut block = [0; SUPERBLOCK_SIZE];
        metadata.read_exact(&mut block)?;
        Self::parse(&block, MetaBlocks(0))
    }

    /// The block as the kernel would write it to a place, without the space maps' trees.
    pub(crate) fn encode(&self, location: MetaBlocks) -> [u8; SUPERBLOCK_SIZE] {
        let mut block = [0; SUPERBLOCK_SIZE];
        let mut put = |at: usize, value: u64| block[at..at + 8].copy_from_slice(&value.to_le_bytes());
        put(8, location.0);
        put(56, self.held_root.unwrap_or_default().0);
        put(64, self.data.total.0);
        put(72, self.data.used.0);
        put(320, self.mapping_root.0);
        put(328, self.details_root.0);
        block[4] = self.needs_check.into();
        block[32..40].copy_from_slice(&MAGIC.to_le_bytes());
        block[44..48].copy_from_slice(&self.time.to_le_bytes());
        block[48..56].copy_from_slice(&self.transaction_id.0.to_le_bytes());
        block[200..208].copy_from_slice(&self.metadata_used.0.to_le_bytes());
        let sectors = self.block_size.sectors().0.to_le_bytes();
        block[336..340].copy_from_slice(&sectors[..4]);
        let sum = checksum(&block[4..], CHECKSUM_XOR);
        block[..4].copy_from_slice(&sum.to_le_bytes());
        block
    }

    /// Makes sure that this is a superblock and belongs where it was read, and reads it.
    pub(crate) fn parse(
        block: &[u8; SUPERBLOCK_SIZE],
        location: MetaBlocks,
    ) -> Result<Self, SuperblockError> {
        if block.iter().all(|byte| *byte == 0) {
            return Err(SuperblockError::Empty);
        }
        let magic = le64(block, 32);
        if magic != MAGIC {
            return Err(SuperblockError::Magic { found: magic });
        }
        let (found, computed) = (le32(block, 0), checksum(&block[4..], CHECKSUM_XOR));
        if found != computed {
            return Err(SuperblockError::Checksum { found, computed });
        }
        let (expected, found) = (location.0, le64(block, 8));
        if found != expected {
            return Err(SuperblockError::Location { expected, found });
        }
        let sectors = le32(block, 336);
        let block_size = Sectors(sectors.into()).bytes().try_into();
        Ok(Self {
            transaction_id: TransactionId(le64(block, 48)),
            block_size: block_size.map_err(|_| SuperblockError::BlockSize(sectors))?,
            time: le32(block, 44),
            needs_check: le32(block, 4) & 1 != 0,
            // The first two numbers of `struct disk_sm_root`, in the roots of the space maps.
            metadata_used: MetaBlocks(le64(block, 200)),
            data: Blocks { used: DataBlocks(le64(block, 72)), total: DataBlocks(le64(block, 64)) },
            held_root: Some(MetaBlocks(le64(block, 56))).filter(|root| *root != MetaBlocks(0)),
            mapping_root: MetaBlocks(le64(block, 320)),
            details_root: MetaBlocks(le64(block, 328)),
        })
    }
}

/// The kernel's `dm_bm_checksum`: CRC-32C from all ones, without the final inversion that the usual definition
/// has, and an xor for the kind of block.
pub(crate) fn checksum(content: &[u8], xor: u32) -> u32 {
    !crc32c::crc32c(content) ^ xor
}

fn le32(block: &[u8; SUPERBLOCK_SIZE], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&block[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn le64(block: &[u8; SUPERBLOCK_SIZE], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A superblock as the kernel would write it.
    pub(crate) fn superblock(transaction_id: u64, block_sectors: u32) -> [u8; SUPERBLOCK_SIZE] {
        let mut block = [0; SUPERBLOCK_SIZE];
        block[32..40].copy_from_slice(&MAGIC.to_le_bytes());
        block[44..48].copy_from_slice(&7_u32.to_le_bytes());
        block[48..56].copy_from_slice(&transaction_id.to_le_bytes());
        block[336..340].copy_from_slice(&block_sectors.to_le_bytes());
        let sum = checksum(&block[4..], CHECKSUM_XOR);
        block[..4].copy_from_slice(&sum.to_le_bytes());
        block
    }

    #[test]
    fn a_good_superblock_tells_transaction_and_block_size() {
        let read = Superblock::read(&superblock(12, 128)[..]).expect("good");
        assert_eq!(read.transaction_id, TransactionId(12));
        assert_eq!(read.block_size, BlockSize::DEFAULT);
        assert_eq!((read.time, read.needs_check), (7, false));
    }

    #[test]
    fn an_all_zero_superblock_is_never_taken_for_a_pool() {
        assert!(matches!(Superblock::read(&[0; SUPERBLOCK_SIZE][..]), Err(SuperblockError::Empty)));
    }

    #[test]
    fn a_superblock_with_one_flipped_bit_is_not_believed() {
        for byte in [0, 4, 32, 48, 336, 4095] {
            let mut block = superblock(12, 128);
            block[byte] ^= 1;
            assert!(Superblock::read(&block[..]).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_superblock_in_another_blocks_place_is_not_believed() {
        let block = Superblock::read(&superblock(12, 128)[..]).expect("good").encode(MetaBlocks(7));
        assert!(Superblock::parse(&block, MetaBlocks(7)).is_ok());
        assert!(matches!(
            Superblock::read(&block[..]),
            Err(SuperblockError::Location { expected: 0, found: 7 })
        ));
    }

    #[test]
    fn a_short_metadata_device_is_an_error_not_a_pool() {
        assert!(matches!(Superblock::read(&[0; 512][..]), Err(SuperblockError::Read(_))));
        assert!(matches!(Superblock::read(&superblock(1, 100)[..]), Err(SuperblockError::BlockSize(100))));
    }
}

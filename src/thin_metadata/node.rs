//! A node of one of the kernel's B-trees (`struct btree_node`, drivers/md/persistent-data/dm-btree-internal.h).
//!
//! A header of 32 bytes; then room for as many keys as the node can have, 8 bytes each; then the values. An inner node's
//! values are the blocks of the nodes below it, and its keys are the lowest that each of those may have.

use super::blocks::SIZE;
use super::{Damage, MetadataError};
use crate::dm::checksum;
use crate::units::MetaBlocks;

const HEADER: usize = 32;
const KEY: usize = 8;

/// `BTREE_CSUM_XOR`.
pub(super) const CHECKSUM_XOR: u32 = 121_107;
/// `INTERNAL_NODE`.
pub(super) const INNER: u32 = 1;
/// `LEAF_NODE`.
pub(super) const LEAF: u32 = 2;

/// Bytes of a pointer to a node, and of a mapping.
pub(super) const POINTER: u32 = 8;

/// A node, with everything in it verified that can be without the nodes around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) block: MetaBlocks,
    pub(super) is_leaf: bool,
    keys: &'a [u8],
    values: &'a [u8],
    value_size: usize,
}

impl<'a> Node<'a> {
    /// Verifies what was read as this block, as a node of a tree whose leaves have values of this size.
    pub(super) fn parse(
        bytes: &'a [u8; SIZE],
        block: MetaBlocks,
        leaf_value: u32,
    ) -> Result<Self, MetadataError> {
        let node = Self::verify(bytes, block, leaf_value).map_err(|damage| damage.of(block))?;
        if node.keys().zip(node.keys().skip(1)).any(|(one, next)| one >= next) {
            return Err(Damage::Keys.of(block));
        }
        Ok(node)
    }

    fn verify(bytes: &'a [u8; SIZE], block: MetaBlocks, leaf_value: u32) -> Result<Self, Damage> {
        let (found, computed) = (le32(bytes, 0), checksum(&bytes[4..], CHECKSUM_XOR));
        if found != computed {
            return Err(Damage::Checksum { found, computed });
        }
        let location = u64::from(le32(bytes, 8)) | u64::from(le32(bytes, 12)) << 32;
        if location != block.0 {
            return Err(Damage::Location { found: location });
        }
        let (is_leaf, expected) = match le32(bytes, 4) {
            INNER => (false, POINTER),
            LEAF => (true, leaf_value),
            flags => return Err(Damage::Flags(flags)),
        };
        let (entries, capacity, found) = (le32(bytes, 16), le32(bytes, 20), le32(bytes, 24));
        if found != expected {
            return Err(Damage::ValueSize { found, expected });
        }
        let value_size = expected as usize;
        if entries > capacity || capacity as usize > (SIZE - HEADER) / (KEY + value_size) {
            return Err(Damage::Entries { entries, capacity });
        }
        if entries == 0 && !is_leaf {
            return Err(Damage::Empty);
        }
        let (entries, values) = (entries as usize, HEADER + capacity as usize * KEY);
        Ok(Self {
            block,
            is_leaf,
            keys: &bytes[HEADER..HEADER + entries * KEY],
            values: &bytes[values..values + entries * value_size],
            value_size,
        })
    }

    /// Makes sure that a node below a root has something in it, and only what the node above it says.
    pub(super) fn must_lie_in(&self, keys: &Keys) -> Result<(), MetadataError> {
        let (Some(first), Some(last)) = (self.keys().next(), self.keys().next_back()) else {
            return Err(Damage::Empty.of(self.block));
        };
        if first < keys.least || keys.below.is_some_and(|below| last >= below) {
            return Err(Damage::Keys.of(self.block));
        }
        Ok(())
    }

    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + use<'a> {
        self.keys.as_chunks::<KEY>().0.iter().map(|key| u64::from_le_bytes(*key))
    }

    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        self.values.chunks_exact(self.value_size)
    }

    /// The values, if they are numbers of 8 bytes.
    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + use<'a> {
        let values = if self.value_size == KEY { self.values } else { &[] };
        values.as_chunks::<KEY>().0.iter().map(|value| u64::from_le_bytes(*value))
    }

    /// The nodes below an inner node, each with the keys that it may have.
    pub(super) fn children(&self, keys: &Keys) -> Vec<(MetaBlocks, Keys)> {
        let least = self.keys();
        let below = self.keys().skip(1).map(Some).chain([keys.below]);
        let bounds = least.zip(below).map(|(least, below)| Keys { least, below });
        self.numbers().map(MetaBlocks).zip(bounds).collect()
    }
}

/// The keys that a part of a tree may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    least: u64,
    below: Option<u64>,
}

impl Keys {
    /// Every key.
    pub(super) const ALL: Self = Self { least: 0, below: None };
}

fn le32(bytes: &[u8; SIZE], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

//! A walk through one tree, that comes to an end whatever is on the disk: no node may have keys that the one above it
//! doesn't say, so none is met twice, and no way down is longer than [`DEEPEST`].

use super::blocks::{Blocks, Buffer};
use super::node::{Keys, Node};
use super::{Damage, MetadataError};
use crate::units::MetaBlocks;

/// The most levels that are believed. Three of them, as full as the kernel leaves them, hold more nodes than the largest
/// metadata has blocks.
pub(super) const DEEPEST: u32 = 16;

/// A tree, whose leaves have values of this many bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    pub(super) root: MetaBlocks,
    pub(super) value_size: u32,
}

impl Tree {
    /// Shows every leaf, in the order of the keys.
    pub(super) fn each_leaf(
        self,
        blocks: &dyn Blocks,
        mut visit: impl FnMut(&Node<'_>) -> Result<(), MetadataError>,
    ) -> Result<(), MetadataError> {
        self.descend(blocks, self.root, Keys::ALL, 1, &mut visit)
    }

    fn descend(
        self,
        blocks: &dyn Blocks,
        block: MetaBlocks,
        keys: Keys,
        level: u32,
        visit: &mut dyn FnMut(&Node<'_>) -> Result<(), MetadataError>,
    ) -> Result<(), MetadataError> {
        let mut buffer = Buffer::of_blocks(1);
        let node = self.read(blocks, block, keys, level, &mut buffer)?;
        if node.is_leaf {
            return visit(&node);
        }
        let children = node.children(&keys);
        drop(buffer);
        children.into_iter().try_for_each(|(child, keys)| self.descend(blocks, child, keys, level + 1, visit))
    }

    /// The highest key, or none in an empty tree.
    pub(super) fn last_key(self, blocks: &dyn Blocks) -> Result<Option<u64>, MetadataError> {
        let (mut block, mut keys, mut buffer) = (self.root, Keys::ALL, Buffer::of_blocks(1));
        for level in 1..=DEEPEST {
            let node = self.read(blocks, block, keys, level, &mut buffer)?;
            match node.children(&keys).pop() {
                Some(last) if !node.is_leaf => (block, keys) = last,
                _ => return Ok(node.keys().next_back()),
            }
        }
        Err(Damage::Deep(DEEPEST + 1).of(block))
    }

    /// How many levels are above the leaves.
    pub(super) fn height(self, blocks: &dyn Blocks) -> Result<u32, MetadataError> {
        let (mut block, mut keys, mut buffer) = (self.root, Keys::ALL, Buffer::of_blocks(1));
        for level in 1..=DEEPEST {
            let node = self.read(blocks, block, keys, level, &mut buffer)?;
            match node.children(&keys).first() {
                Some(first) if !node.is_leaf => (block, keys) = *first,
                _ => return Ok(level - 1),
            }
        }
        Err(Damage::Deep(DEEPEST + 1).of(block))
    }

    fn read<'b>(
        self,
        blocks: &dyn Blocks,
        block: MetaBlocks,
        keys: Keys,
        level: u32,
        buffer: &'b mut Buffer,
    ) -> Result<Node<'b>, MetadataError> {
        if level > DEEPEST {
            return Err(Damage::Deep(level).of(block));
        }
        buffer.read(blocks, block)?;
        let node = Node::parse(buffer.block(), block, self.value_size)?;
        if level > 1 {
            node.must_lie_in(&keys)?;
        }
        Ok(node)
    }
}

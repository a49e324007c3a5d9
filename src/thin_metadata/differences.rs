//! Where two devices differ, without reading what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::blocks::{Blocks, SIZE};
use super::node::{Keys, Node, POINTER};
use super::sweep::sweep;
use super::tree::Tree;
use super::usage::data_block;
use super::{Damage, Metadata, MetadataError};
use crate::units::{DataBlocks, DeviceId, MetaBlocks};

impl Metadata {
    /// The blocks, of the devices' own, that aren't the same block of the data in both: those that only one has, and those
    /// that each has somewhere else. In order, in ranges as long as can be. What is written to a snapshot or its origin
    /// shows here; what was never written to since doesn't.
    pub fn differences(
        &self,
        one: DeviceId,
        other: DeviceId,
    ) -> Result<Vec<Range<DataBlocks>>, MetadataError> {
        let blocks = self.blocks.as_ref();
        let (mut one, mut other) =
            (Cut::new(blocks, self.mappings(one)?)?, Cut::new(blocks, self.mappings(other)?)?);
        // A node is as high above its leaves in one tree as in the other, so what is shared is met at the same height.
        while one.height.max(other.height) > 0 {
            let (highest, lower) =
                if one.height >= other.height { (&mut one, &mut other) } else { (&mut other, &mut one) };
            if highest.height == lower.height {
                Cut::drop_shared(highest, lower);
                lower.descend(blocks)?;
            }
            highest.descend(blocks)?;
        }
        Cut::drop_shared(&mut one, &mut other);
        Ok(ranges(&one.mappings(blocks)?, &other.mappings(blocks)?))
    }
}

/// A tree cut through at some height: the nodes there that may differ, each with the keys that it may have.
struct Cut {
    height: u32,
    nodes: BTreeMap<MetaBlocks, Option<Keys>>,
}

impl Cut {
    fn new(blocks: &dyn Blocks, tree: Tree) -> Result<Self, MetadataError> {
        Ok(Self { height: tree.height(blocks)?, nodes: [(tree.root, None)].into() })
    }

    fn drop_shared(one: &mut Self, other: &mut Self) {
        let shared: BTreeSet<MetaBlocks> =
            one.nodes.keys().filter(|block| other.nodes.contains_key(block)).copied().collect();
        one.nodes.retain(|block, _| !shared.contains(block));
        other.nodes.retain(|block, _| !shared.contains(block));
    }

    fn descend(&mut self, blocks: &dyn Blocks) -> Result<(), MetadataError> {
        let mut below = BTreeMap::new();
        self.each(blocks, |node, keys| {
            let children = node.children(&keys.unwrap_or(Keys::ALL));
            below.extend(children.into_iter().map(|(child, keys)| (child, Some(keys))));
        })?;
        self.height -= 1;
        self.nodes = below;
        Ok(())
    }

    /// What the leaves map that are left.
    fn mappings(&self, blocks: &dyn Blocks) -> Result<BTreeMap<u64, u64>, MetadataError> {
        let mut mappings = BTreeMap::new();
        self.each(blocks, |leaf, _| mappings.extend(leaf.keys().zip(leaf.numbers().map(data_block))))?;
        Ok(mappings)
    }

    fn each(
        &self,
        blocks: &dyn Blocks,
        mut visit: impl FnMut(&Node<'_>, Option<Keys>),
    ) -> Result<(), MetadataError> {
        let wanted: Vec<MetaBlocks> = self.nodes.keys().copied().collect();
        sweep(blocks, &wanted, |block, bytes: &[u8; SIZE]| {
            let (node, keys) =
                (Node::parse(bytes, block, POINTER)?, self.nodes.get(&block).copied().flatten());
            if let Some(keys) = keys {
                node.must_lie_in(&keys)?;
            }
            if node.is_leaf != (self.height == 0) {
                return Err(Damage::Uneven.of(block));
            }
            visit(&node, keys);
            Ok(())
        })
    }
}

/// The keys that don't lead to the same place, as ranges.
fn ranges(one: &BTreeMap<u64, u64>, other: &BTreeMap<u64, u64>) -> Vec<Range<DataBlocks>> {
    let keys: BTreeSet<u64> = one.keys().chain(other.keys()).copied().collect();
    let mut ranges: Vec<Range<DataBlocks>> = Vec::new();
    for key in keys.into_iter().filter(|key| one.get(key) != other.get(key)) {
        let end = DataBlocks(key.saturating_add(1));
        match ranges.last_mut() {
            Some(last) if last.end == DataBlocks(key) => last.end = end,
            _ => ranges.push(DataBlocks(key)..end),
        }
    }
    ranges
}

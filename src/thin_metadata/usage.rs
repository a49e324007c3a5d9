//! Which blocks of the data each device has to itself: what would be free if it were deleted.
//!
//! Devices share mappings by sharing nodes, so no node is read for each device that leads to it. A first pass reads every
//! node once, and marks each block of the data as mapped in one leaf or in several. Which devices lead to a node is then
//! found in memory. A block belongs to one device alone if one leaf maps it, to which one device leads; the leaves to which
//! one device leads are read once more, to count these.
//!
//! Memory: two bits for each block of the data, and the inner nodes' pointers, about 8 bytes a leaf.

use std::collections::{BTreeMap, HashMap};

use super::blocks::Blocks;
use super::node::{Keys, Node, POINTER};
use super::sweep::sweep;
use super::tree::DEEPEST;
use super::{Damage, Metadata, MetadataError};
use crate::units::{DataBlocks, DeviceId, MetaBlocks};

/// Who uses the blocks of a pool's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockUsage {
    /// Each device's share.
    pub devices: BTreeMap<DeviceId, Share>,
    /// The blocks that several devices have, each counted once.
    pub shared: DataBlocks,
}

/// What one device has of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// All its blocks, with those that others have as well.
    pub mapped: DataBlocks,
    /// Those that no other device has.
    pub exclusive: DataBlocks,
}

impl BlockUsage {
    /// All blocks that any device has, each counted once.
    #[must_use]
    pub fn mapped(&self) -> DataBlocks {
        self.devices.values().map(|share| share.exclusive).sum::<DataBlocks>() + self.shared
    }
}

impl Metadata {
    /// Counts what each device has to itself. All mappings are read.
    pub fn usage(&self) -> Result<BlockUsage, MetadataError> {
        let roots: Vec<(DeviceId, MetaBlocks)> =
            self.roots()?.iter().map(|(id, root)| (*id, *root)).collect();
        let blocks = self.blocks.as_ref();
        let mut forest = Forest::default();
        let mut data = Marks::new(self.data_blocks);
        forest.grow(blocks, roots.iter().map(|(_, root)| *root), &mut data)?;
        let mut heights = HashMap::new();
        let mut shares: Vec<Share> = Vec::new();
        for (_, root) in &roots {
            let mapped = forest.measure(*root, 1, &mut heights)?.mapped;
            shares.push(Share { mapped: DataBlocks(mapped), exclusive: DataBlocks(0) });
        }
        let owners = forest.owners(roots.iter().map(|(_, root)| *root));
        let mut own: Vec<MetaBlocks> = forest
            .leaves
            .keys()
            .filter(|leaf| matches!(owners.get(leaf), Some(Owner::One(_))))
            .copied()
            .collect();
        own.sort_unstable();
        sweep(blocks, &own, |block, bytes| {
            let leaf = Node::parse(bytes, block, POINTER)?;
            if let Some(Owner::One(device)) = owners.get(&block)
                && let Some(share) = shares.get_mut(*device)
            {
                let alone = leaf.numbers().filter(|mapping| data.is_mapped_once(data_block(*mapping)));
                share.exclusive = share.exclusive + DataBlocks(alone.count() as u64);
            }
            Ok(())
        })?;
        let exclusive: DataBlocks = shares.iter().map(|share| share.exclusive).sum();
        let devices = roots.iter().map(|(id, _)| *id).zip(shares).collect();
        Ok(BlockUsage { devices, shared: data.mapped() - exclusive })
    }
}

/// Where a mapping leads: the upper 40 bits; the lower 24 are the time when it was made.
pub(super) fn data_block(mapping: u64) -> u64 {
    mapping >> 24
}

/// The trees of all devices, grown together where they share nodes.
#[derive(Default)]
pub(super) struct Forest {
    inner: HashMap<MetaBlocks, Vec<MetaBlocks>>,
    /// Each leaf with the number of its mappings.
    leaves: HashMap<MetaBlocks, u64>,
}

/// Which devices lead to a node, by their place among the roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    One(usize),
    Several,
}

/// What lies below a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    height: u32,
    mapped: u64,
}

impl Forest {
    /// Reads every node once, level by level, and marks what the leaves map.
    pub(super) fn grow(
        &mut self,
        blocks: &dyn Blocks,
        roots: impl Iterator<Item = MetaBlocks>,
        data: &mut Marks,
    ) -> Result<(), MetadataError> {
        let mut level: BTreeMap<MetaBlocks, Option<Keys>> = roots.map(|root| (root, None)).collect();
        while !level.is_empty() {
            let wanted: Vec<MetaBlocks> = level.keys().copied().collect();
            let mut below = BTreeMap::new();
            sweep(blocks, &wanted, |block, bytes| {
                let node = Node::parse(bytes, block, POINTER)?;
                let keys = level.get(&block).copied().flatten();
                if let Some(keys) = keys {
                    node.must_lie_in(&keys)?;
                }
                if node.is_leaf {
                    self.leaves.insert(block, node.keys().len() as u64);
                    return node.numbers().try_for_each(|mapping| data.mark(data_block(mapping), block));
                }
                let children = node.children(&keys.unwrap_or(Keys::ALL));
                self.inner.insert(block, children.iter().map(|(child, _)| *child).collect());
                below.extend(children.into_iter().map(|(child, keys)| (child, Some(keys))));
                Ok(())
            })?;
            below.retain(|block, _| !self.inner.contains_key(block) && !self.leaves.contains_key(block));
            level = below;
        }
        Ok(())
    }

    /// How high a node is above its leaves, which all lie at the same depth, and how much they map. A node that leads back
    /// to itself would be higher than [`DEEPEST`].
    pub(super) fn measure(
        &self,
        block: MetaBlocks,
        level: u32,
        known: &mut HashMap<MetaBlocks, Measure>,
    ) -> Result<Measure, MetadataError> {
        if level > DEEPEST {
            return Err(Damage::Deep(level).of(block));
        }
        let Some(children) = self.inner.get(&block) else {
            let mapped = self.leaves.get(&block).copied().unwrap_or(0);
            return Ok(Measure { height: 0, mapped });
        };
        if let Some(known) = known.get(&block) {
            return Ok(*known);
        }
        let mut below: Option<Measure> = None;
        for child in children {
            let measure = self.measure(*child, level + 1, known)?;
            below = match below {
                Some(below) if below.height != measure.height => return Err(Damage::Uneven.of(*child)),
                Some(below) => Some(Measure { mapped: below.mapped + measure.mapped, ..below }),
                None => Some(measure),
            };
        }
        let below = below.ok_or_else(|| Damage::Empty.of(block))?;
        let measure = Measure { height: below.height + 1, ..below };
        known.insert(block, measure);
        Ok(measure)
    }

    /// The nodes below an inner node, in the order of their keys; none of a leaf.
    pub(super) fn children(&self, block: MetaBlocks) -> Option<&[MetaBlocks]> {
        self.inner.get(&block).map(Vec::as_slice)
    }

    /// The leaves to which several devices lead, and that map anything, in the order in which they lie.
    pub(super) fn shared_leaves(&self, roots: impl Iterator<Item = MetaBlocks>) -> Vec<MetaBlocks> {
        let owners = self.owners(roots);
        let is_shared = |leaf: &MetaBlocks| matches!(owners.get(leaf), Some(Owner::Several));
        let leaves = self.leaves.iter().filter(|(_, mapped)| **mapped > 0).map(|(leaf, _)| *leaf);
        let mut shared: Vec<MetaBlocks> = leaves.filter(is_shared).collect();
        shared.sort_unstable();
        shared
    }

    /// Which devices lead to each node. No node is visited more than twice: for its first device, and when a second comes.
    fn owners(&self, roots: impl Iterator<Item = MetaBlocks>) -> HashMap<MetaBlocks, Owner> {
        let mut owners = HashMap::with_capacity(self.inner.len() + self.leaves.len());
        for (device, root) in roots.enumerate() {
            let mut open = vec![(root, Owner::One(device))];
            while let Some((block, owner)) = open.pop() {
                let owner = match owners.get(&block) {
                    None => owner,
                    Some(before) if *before == owner || *before == Owner::Several => continue,
                    Some(_) => Owner::Several,
                };
                owners.insert(block, owner);
                open.extend(self.inner.get(&block).into_iter().flatten().map(|child| (*child, owner)));
            }
        }
        owners
    }
}

/// Two bits for each block of the data: mapped in some leaf, and in more than one.
pub(super) struct Marks {
    blocks: DataBlocks,
    once: Vec<u64>,
    again: Vec<u64>,
}

impl Marks {
    pub(super) fn new(blocks: DataBlocks) -> Self {
        let words = usize::try_from(blocks.0.div_ceil(64)).unwrap_or(0);
        Self { blocks, once: vec![0; words], again: vec![0; words] }
    }

    fn mark(&mut self, block: u64, leaf: MetaBlocks) -> Result<(), MetadataError> {
        let (word, bit) = place(block);
        let (Some(once), Some(again), true) =
            (self.once.get_mut(word), self.again.get_mut(word), DataBlocks(block) < self.blocks)
        else {
            let damage = Damage::DataBlock { found: DataBlocks(block), blocks: self.blocks };
            return Err(damage.of(leaf));
        };
        *again |= *once & bit;
        *once |= bit;
        Ok(())
    }

    fn is_mapped_once(&self, block: u64) -> bool {
        let (word, bit) = place(block);
        self.once.get(word).zip(self.again.get(word)).is_some_and(|(once, again)| once & !again & bit != 0)
    }

    /// How many blocks are mapped at all.
    fn mapped(&self) -> DataBlocks {
        DataBlocks(self.once.iter().map(|word| u64::from(word.count_ones())).sum())
    }
}

fn place(block: u64) -> (usize, u64) {
    (usize::try_from(block / 64).unwrap_or(usize::MAX), 1 << (block % 64))
}

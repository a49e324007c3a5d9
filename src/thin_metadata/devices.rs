//! What a pool's metadata knows of each thin device (`struct disk_device_details`).

use std::collections::BTreeMap;

use super::node::POINTER;
use super::tree::Tree;
use super::{Damage, Metadata, MetadataError};
use crate::units::{DataBlocks, DeviceId, MetaBlocks, TransactionId};

const DETAILS: u32 = 24;

/// A thin device, as the pool's metadata knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThinDevice {
    /// Its id.
    pub id: DeviceId,
    /// How many blocks it has, shared ones included.
    pub mapped: DataBlocks,
    /// The pool's transaction id when it was made.
    pub transaction_id: TransactionId,
    /// The pool's snapshot clock when it was made.
    pub created: u32,
    /// The clock when it last became a snapshot or the origin of one: blocks that are older may be shared.
    pub snapshotted: u32,
}

impl Metadata {
    /// What is known of each thin device, by id, whether its mappings can be read or not.
    pub fn details(&self) -> Result<Vec<ThinDevice>, MetadataError> {
        let mut devices = Vec::new();
        let details = Tree { root: self.superblock.details_root, value_size: DETAILS };
        details.each_leaf(self.blocks.as_ref(), |leaf| {
            for (key, value) in leaf.keys().zip(leaf.values()) {
                devices.push(device(device_id(key, leaf.block)?, value));
            }
            Ok(())
        })?;
        Ok(devices)
    }

    /// Every thin device of the pool, by id.
    pub fn devices(&self) -> Result<Vec<ThinDevice>, MetadataError> {
        let devices = self.details()?;
        let roots = self.roots()?;
        let mut mapped = roots.keys().copied();
        for device in &devices {
            match mapped.next() {
                Some(id) if id == device.id => {}
                Some(id) if id < device.id => return Err(half(id, "mappings", "details")),
                _ => return Err(half(device.id, "details", "mappings")),
            }
        }
        match mapped.next() {
            Some(id) => Err(half(id, "mappings", "details")),
            None => Ok(devices),
        }
    }

    /// How far into a device its blocks reach: it has at least this length, in the pool's blocks.
    pub fn mapped_end(&self, device: DeviceId) -> Result<DataBlocks, MetadataError> {
        let last = self.mappings(device)?.last_key(self.blocks.as_ref())?;
        Ok(DataBlocks(last.map_or(0, |last| last.saturating_add(1))))
    }

    /// Where the mappings of each device begin: the upper level of the tree of mappings.
    pub(super) fn roots(&self) -> Result<&BTreeMap<DeviceId, MetaBlocks>, MetadataError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let mut roots = BTreeMap::new();
        let devices = Tree { root: self.superblock.mapping_root, value_size: POINTER };
        devices.each_leaf(self.blocks.as_ref(), |leaf| {
            for (key, root) in leaf.keys().zip(leaf.numbers()) {
                roots.insert(device_id(key, leaf.block)?, MetaBlocks(root));
            }
            Ok(())
        })?;
        Ok(self.roots.get_or_init(|| roots))
    }

    pub(super) fn mappings(&self, device: DeviceId) -> Result<Tree, MetadataError> {
        let root = self.roots()?.get(&device).copied().ok_or(MetadataError::NoSuchDevice(device))?;
        Ok(Tree { root, value_size: POINTER })
    }
}

fn device(id: DeviceId, details: &[u8]) -> ThinDevice {
    let number = |from: usize, to: usize| {
        details[from..to].iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
    };
    let clock = |from| u32::try_from(number(from, from + 4)).unwrap_or(u32::MAX);
    ThinDevice {
        id,
        mapped: DataBlocks(number(0, 8)),
        transaction_id: TransactionId(number(8, 16)),
        created: clock(16),
        snapshotted: clock(20),
    }
}

fn device_id(key: u64, block: MetaBlocks) -> Result<DeviceId, MetadataError> {
    let id = u32::try_from(key).ok().and_then(|id| DeviceId::try_from(id).ok());
    id.ok_or_else(|| Damage::DeviceId(key).of(block))
}

fn half(device: DeviceId, has: &'static str, lacks: &'static str) -> MetadataError {
    MetadataError::HalfADevice { device, has, lacks }
}

//! What a pool keeps on its metadata disk.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::dm::Blocks;
use crate::dm::superblock::{SUPERBLOCK_SIZE, Superblock};
use crate::units::{BlockSize, DataBlocks, DeviceId, MetaBlocks, TransactionId};

/// The most metadata blocks the kernel keeps back for itself, and shows as used.
const LARGEST_RESERVE: u64 = 4096;

/// Entries of a space map that fit in one metadata block.
const BITMAP_ENTRIES: u64 = 16_320;

/// Mappings in one leaf of the tree, half full as random writes leave it.
const LEAF_ENTRIES: u64 = 126;

/// Where a block of a device lies, and when it got there. The clock decides what is shared, as in the kernel: a
/// block is taken for shared also after the last other device that had it is gone, and copied once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The block of the data.
    pub block: u64,
    /// The snapshot clock when it was mapped.
    pub time: u32,
}

type Mappings = BTreeMap<u64, Mapping>;

/// One thin device in the metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// From the device's blocks to those of the data.
    pub mappings: BTreeMap<u64, Mapping>,
    /// The pool's transaction id when it was made.
    pub transaction_id: TransactionId,
    /// The snapshot clock when it was made.
    pub created: u32,
    /// The same when it last became a snapshot or the origin of one.
    pub snapshotted: u32,
}

/// A pool's metadata, always as committed: every change is committed at once here.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) transaction: TransactionId,
    pub(super) block_size: BlockSize,
    pub(super) needs_check: bool,
    pub(super) data_total: DataBlocks,
    pub(super) meta_total: MetaBlocks,
    time: u32,
    volumes: BTreeMap<DeviceId, Volume>,
    /// What a reserved metadata snapshot still sees: these blocks are not free while it is held.
    held: Option<BTreeMap<DeviceId, Volume>>,
    /// How many mappings, held ones included, lead to each data block that is in use.
    references: BTreeMap<u64, u32>,
    next_block: u64,
}

/// What a write finds where it wants to write.
pub(super) enum Target {
    /// A block of the device's own: no change of metadata.
    Own,
    /// Nothing, or a block that others may have: a new one is needed.
    NeedsBlock,
}

impl Metadata {
    /// What the kernel makes of an all-zero disk.
    pub(super) fn format(block_size: BlockSize, meta_total: MetaBlocks) -> Self {
        Self {
            transaction: TransactionId(0),
            block_size,
            needs_check: false,
            data_total: DataBlocks(0),
            meta_total,
            time: 0,
            volumes: BTreeMap::new(),
            held: None,
            references: BTreeMap::new(),
            next_block: 0,
        }
    }

    pub(super) fn superblock(&self) -> [u8; SUPERBLOCK_SIZE] {
        Superblock {
            transaction_id: self.transaction,
            block_size: self.block_size,
            time: self.time,
            needs_check: self.needs_check,
            metadata_used: self.meta_used(),
            data: Blocks { used: self.data_used(), total: self.data_total },
            held_root: self.held_root(),
            mapping_root: MetaBlocks(0),
            details_root: MetaBlocks(0),
        }
        .encode(MetaBlocks(0))
    }

    pub(super) fn devices(&self) -> Vec<DeviceId> {
        self.volumes.keys().copied().collect()
    }

    pub(super) fn contains(&self, id: DeviceId) -> bool {
        self.volumes.contains_key(&id)
    }

    pub(super) fn create_thin(&mut self, id: DeviceId) -> Result<(), Errno> {
        if self.contains(id) {
            return Err(Errno::EEXIST);
        }
        let (transaction_id, time) = (self.transaction, self.time);
        let new = Volume { mappings: Mappings::new(), transaction_id, created: time, snapshotted: time };
        self.volumes.insert(id, new);
        Ok(())
    }

    pub(super) fn create_snap(&mut self, id: DeviceId, origin: DeviceId) -> Result<(), Errno> {
        if self.contains(id) {
            return Err(Errno::EEXIST);
        }
        let volume = self.volumes.get_mut(&origin).ok_or(Errno::ENODATA)?;
        self.time += 1;
        volume.snapshotted = self.time;
        let (transaction_id, created) = (self.transaction, self.time);
        let volume = Volume { transaction_id, created, ..volume.clone() };
        self.hold(&volume.mappings);
        self.volumes.insert(id, volume);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: DeviceId) -> Result<(), Errno> {
        let volume = self.volumes.remove(&id).ok_or(Errno::ENODATA)?;
        self.release(&volume.mappings);
        Ok(())
    }

    pub(super) fn reserve_snapshot(&mut self) -> Result<(), Errno> {
        if self.held.is_some() {
            return Err(Errno::EBUSY);
        }
        let held = self.volumes.clone();
        for volume in held.values() {
            self.hold(&volume.mappings);
        }
        self.held = Some(held);
        Ok(())
    }

    pub(super) fn release_snapshot(&mut self) -> Result<(), Errno> {
        let held = self.held.take().ok_or(Errno::EINVAL)?;
        for volume in held.values() {
            self.release(&volume.mappings);
        }
        Ok(())
    }

    pub(super) fn target(&self, id: DeviceId, at: u64) -> Target {
        match self.volumes.get(&id).and_then(|volume| Some((volume, volume.mappings.get(&at)?))) {
            Some((volume, mapping)) if volume.snapshotted <= mapping.time => Target::Own,
            _ => Target::NeedsBlock,
        }
    }

    /// Gives a device a block of its own; the caller has checked that one is free.
    pub(super) fn allocate(&mut self, id: DeviceId, at: u64) {
        let Some(volume) = self.volumes.get_mut(&id) else { return };
        let block = self.next_block;
        self.next_block += 1;
        let before = volume.mappings.insert(at, Mapping { block, time: self.time });
        self.references.insert(block, 1);
        if let Some(before) = before {
            self.drop_reference(before.block);
        }
    }

    pub(super) fn unmap(&mut self, id: DeviceId, at: u64) {
        let mapping = self.volumes.get_mut(&id).and_then(|volume| volume.mappings.remove(&at));
        if let Some(mapping) = mapping {
            self.drop_reference(mapping.block);
        }
    }

    /// Whether a device has its first block.
    pub(super) fn maps_start(&self, id: DeviceId) -> bool {
        self.volumes.get(&id).is_some_and(|volume| volume.mappings.contains_key(&0))
    }

    /// How many blocks a device has, and its highest.
    pub(super) fn mapped(&self, id: DeviceId) -> (u64, Option<u64>) {
        self.volumes.get(&id).map_or((0, None), |volume| {
            let mappings = &volume.mappings;
            (mappings.len() as u64, mappings.last_key_value().map(|(at, _)| *at))
        })
    }

    pub(super) fn data_used(&self) -> DataBlocks {
        DataBlocks(self.references.len() as u64)
    }

    pub(super) fn data_free(&self) -> DataBlocks {
        self.data_total - self.data_used()
    }

    /// An estimate: it grows and shrinks as the kernel's does, but is not the same number.
    pub(super) fn meta_used(&self) -> MetaBlocks {
        let MetaBlocks(total) = self.meta_total;
        let maps = total.div_ceil(BITMAP_ENTRIES) + self.data_total.0.div_ceil(BITMAP_ENTRIES);
        let leaves = self.data_used().0.div_ceil(LEAF_ENTRIES) + self.volumes.len() as u64;
        let used = LARGEST_RESERVE.min(total / 10) + 7 + maps + leaves + u64::from(self.held.is_some());
        MetaBlocks(used.min(total))
    }

    /// Where the metadata snapshot is: the twin's is always in the same place.
    pub(super) fn held_root(&self) -> Option<MetaBlocks> {
        self.held.as_ref().map(|_| MetaBlocks(1))
    }

    pub(super) fn volumes(&self) -> &BTreeMap<DeviceId, Volume> {
        &self.volumes
    }

    pub(super) fn held_volumes(&self) -> Option<&BTreeMap<DeviceId, Volume>> {
        self.held.as_ref()
    }

    fn hold(&mut self, mappings: &Mappings) {
        for mapping in mappings.values() {
            *self.references.entry(mapping.block).or_default() += 1;
        }
    }

    fn release(&mut self, mappings: &Mappings) {
        for mapping in mappings.values() {
            self.drop_reference(mapping.block);
        }
    }

    fn drop_reference(&mut self, block: u64) {
        if let Some(count) = self.references.get_mut(&block) {
            *count -= 1;
            if *count == 0 {
                self.references.remove(&block);
            }
        }
    }
}

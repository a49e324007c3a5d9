//! A pool's behaviour: modes, messages, growing, provisioning (drivers/md/dm-thin.c).

use nix::errno::Errno;

use super::metadata::{Metadata, Target};
use crate::dm::{
    Blocks, DeviceNumber, Feature, Mode, NoSpacePolicy, PoolMessage, PoolStatus, PoolUsage, ThinPool,
};
use crate::units::{DataBlocks, DeviceId, MetaBlocks, Sectors};

/// The most that the metadata's own low-water mark can be: 4 MiB.
const LARGEST_META_LOW_WATER: MetaBlocks = MetaBlocks(1024);

/// In the kernel's order, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Write,
    OutOfData,
    OutOfMetadata,
    ReadOnly,
    Fail,
}

/// A pool that is active.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "as the kernel's struct pool, each of its own meaning")]
pub(super) struct Pool {
    pub(super) metadata: DeviceNumber,
    pub(super) data: DeviceNumber,
    pub(super) health: Health,
    pub(super) suspended: bool,
    /// Whether the data device takes discards.
    pub(super) passdown: bool,
    pub(super) features: Vec<Feature>,
    pub(super) low_water_mark: DataBlocks,
    pub(super) next_commit_fails: bool,
    pub(super) events: u32,
    low_water_told: bool,
    /// Growth that only the kernel's memory knows of.
    uncommitted: DataBlocks,
}

/// Why a write did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// It would wait: for a resume, or for the pool to grow.
    #[error("the write waits")]
    Blocked,
    /// It fails.
    #[error("the write fails: {0}")]
    Failed(Errno),
}

impl Pool {
    pub(super) fn new(table: &ThinPool) -> Self {
        Self {
            metadata: table.metadata,
            data: table.data,
            health: Health::Write,
            suspended: true,
            passdown: true,
            features: table.features.clone(),
            low_water_mark: table.low_water_mark,
            next_commit_fails: false,
            events: 0,
            low_water_told: false,
            uncommitted: DataBlocks(0),
        }
    }

    pub(super) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// A table takes control of the pool: always at a swap, and again whenever a suspended pool resumes.
    pub(super) fn bind(&mut self, metadata: &Metadata, table: &ThinPool, swapped: bool) {
        self.features.clone_from(&table.features);
        self.low_water_mark = table.low_water_mark;
        let health = match swapped {
            true if self.has(Feature::ReadOnly) => Health::ReadOnly,
            true => Health::Write,
            false => self.health,
        };
        self.set_health(metadata, health);
    }

    /// The kernel leaves neither `Fail` nor, while a check is needed, a mode in which it doesn't write.
    pub(super) fn set_health(&mut self, metadata: &Metadata, health: Health) {
        let before = self.health;
        self.health = match (before, health) {
            (Health::Fail, _) => Health::Fail,
            (Health::Write, Health::Write) if metadata.needs_check => Health::ReadOnly,
            (before, Health::Write) if metadata.needs_check => before,
            (_, health) => health,
        };
        if self.health != before {
            self.events += 1;
        }
    }

    /// What happens before a pool's I/O goes on: it takes what its devices have grown by.
    pub(super) fn resize(
        &mut self,
        metadata: &mut Metadata,
        data: DataBlocks,
        meta: MetaBlocks,
    ) -> Result<(), Errno> {
        if self.health == Health::Fail {
            return Ok(());
        }
        if data < metadata.data_total {
            return Err(Errno::EINVAL);
        }
        if data > metadata.data_total && !metadata.needs_check {
            // The trap: while nothing can be committed the pool stays as it is, with success, and grows once more
            // at the next resume. The first commit then counts every growth, beyond what the disk has.
            self.uncommitted = self.uncommitted + (data - metadata.data_total);
            if self.health < Health::OutOfMetadata {
                metadata.data_total = metadata.data_total + std::mem::take(&mut self.uncommitted);
            }
        }
        if meta < metadata.meta_total {
            return Err(Errno::EINVAL);
        }
        if meta > metadata.meta_total && !metadata.needs_check {
            metadata.meta_total = meta;
            if self.health == Health::OutOfMetadata {
                self.set_health(metadata, Health::Write);
            }
        }
        self.committed(metadata);
        Ok(())
    }

    pub(super) fn resumed(&mut self) {
        self.suspended = false;
        self.low_water_told = false;
    }

    /// A message, and the commit that follows it.
    pub(super) fn message(
        &mut self,
        metadata: &mut Metadata,
        message: &PoolMessage,
        active: impl Fn(DeviceId) -> bool,
    ) -> Result<(), Errno> {
        if self.health >= Health::OutOfMetadata {
            return Err(Errno::EOPNOTSUPP);
        }
        let before = self.next_commit_fails.then(|| metadata.clone());
        match *message {
            PoolMessage::CreateThin(device) => metadata.create_thin(device),
            PoolMessage::CreateSnap { device, origin } => metadata.create_snap(device, origin),
            PoolMessage::Delete(device) if active(device) => Err(Errno::EBUSY),
            PoolMessage::Delete(device) => metadata.delete(device),
            PoolMessage::SetTransactionId { from, .. } if from != metadata.transaction => Err(Errno::EINVAL),
            PoolMessage::SetTransactionId { to, .. } => {
                metadata.transaction = to;
                Ok(())
            }
            PoolMessage::ReserveMetadataSnap => metadata.reserve_snapshot(),
            PoolMessage::ReleaseMetadataSnap => metadata.release_snapshot(),
        }?;
        if let Some(before) = before {
            *metadata = before;
            self.next_commit_fails = false;
            self.needs_check(metadata);
        } else {
            self.committed(metadata);
        }
        Ok(())
    }

    pub(super) fn needs_check(&mut self, metadata: &mut Metadata) {
        metadata.needs_check = true;
        self.set_health(metadata, Health::ReadOnly);
    }

    /// After each commit the kernel looks at the room that is left.
    pub(super) fn committed(&mut self, metadata: &Metadata) {
        if self.health >= Health::OutOfMetadata {
            return;
        }
        if metadata.meta_used() >= metadata.meta_total {
            self.set_health(metadata, Health::OutOfMetadata);
        } else if self.health == Health::OutOfData && metadata.data_free() > DataBlocks(0) {
            self.set_health(metadata, Health::Write);
        }
    }

    /// Makes one block of a thin device writable.
    pub(super) fn provision(
        &mut self,
        metadata: &mut Metadata,
        id: DeviceId,
        at: u64,
    ) -> Result<(), IoError> {
        match (self.health, metadata.target(id, at)) {
            (Health::Fail, _) | (Health::ReadOnly | Health::OutOfMetadata, Target::NeedsBlock) => {
                Err(IoError::Failed(Errno::EIO))
            }
            // The kernel looks where a flush would go, which is block 0: while it can't provision, one that is not
            // there fails the flush, although the write itself was done.
            (Health::ReadOnly | Health::OutOfMetadata, Target::Own) if !metadata.maps_start(id) => {
                Err(IoError::Failed(Errno::EIO))
            }
            (Health::OutOfData, Target::Own) if !metadata.maps_start(id) => Err(self.no_space()),
            (_, Target::Own) => Ok(()),
            (Health::OutOfData, Target::NeedsBlock) => Err(self.no_space()),
            (Health::Write, Target::NeedsBlock) => {
                let free = metadata.data_free();
                if free <= self.low_water_mark && !self.low_water_told {
                    self.low_water_told = true;
                    self.events += 1;
                }
                if free == DataBlocks(0) {
                    self.set_health(metadata, Health::OutOfData);
                    return Err(self.no_space());
                }
                metadata.allocate(id, at);
                self.committed(metadata);
                Ok(())
            }
        }
    }

    pub(super) fn discard(
        &mut self,
        metadata: &mut Metadata,
        id: DeviceId,
        blocks: std::ops::Range<u64>,
    ) -> Result<(), IoError> {
        match self.health {
            Health::Fail => Err(IoError::Failed(Errno::EIO)),
            // Answered with success, and nothing is done.
            Health::ReadOnly | Health::OutOfMetadata => Ok(()),
            Health::Write | Health::OutOfData => {
                blocks.for_each(|at| metadata.unmap(id, at));
                self.committed(metadata);
                Ok(())
            }
        }
    }

    fn no_space(&self) -> IoError {
        if self.has(Feature::ErrorIfNoSpace) { IoError::Failed(Errno::ENOSPC) } else { IoError::Blocked }
    }

    pub(super) fn status(&self, metadata: &Metadata) -> PoolStatus {
        let discard = !self.has(Feature::IgnoreDiscard);
        PoolStatus::Working(PoolUsage {
            transaction_id: metadata.transaction,
            metadata: Blocks { used: metadata.meta_used(), total: metadata.meta_total },
            data: Blocks { used: metadata.data_used(), total: metadata.data_total },
            held_metadata_root: metadata.held_root(),
            mode: match self.health {
                Health::Write => Mode::ReadWrite,
                Health::OutOfData => Mode::OutOfDataSpace,
                Health::OutOfMetadata | Health::ReadOnly => Mode::ReadOnly,
                Health::Fail => return PoolStatus::Fail,
            },
            discard,
            discard_passdown: discard && self.passdown && !self.has(Feature::NoDiscardPassdown),
            no_space: if self.has(Feature::ErrorIfNoSpace) {
                NoSpacePolicy::Error
            } else {
                NoSpacePolicy::Queue
            },
            needs_check: metadata.needs_check,
            metadata_low_water: Some(LARGEST_META_LOW_WATER.min(MetaBlocks(metadata.meta_total.0 / 4))),
        })
    }
}

/// The whole metadata blocks of a device this long.
pub(super) fn meta_blocks(length: Sectors) -> MetaBlocks {
    /// 15.875 GiB: what the kernel can use.
    const MOST: u64 = 255 * ((1 << 14) - 64);
    MetaBlocks((length.bytes().0 / MetaBlocks::SIZE.0).min(MOST))
}

//! Making a pool larger while it is in use.
//!
//! At every moment the kernel has counted no more than the catalog says, and the catalog says no more than there is:
//!
//! 1. What is to grow goes to the catalog, durably. From here on a crash is noticed, and the next command goes on.
//! 2. What the pool lies on grows: a file, a volume.
//! 3. The catalog learns the new size, durably. From here on the pool can be loaded with it.
//! 4. The pool's table is loaded with it. The kernel may grow nothing and say that it went well, so its totals are read.
//! 5. The catalog forgets what was to grow.
//!
//! The metadata comes first. A pool without a free block of metadata is rescued by that, and growing the data takes
//! metadata: the kernel that finds none wants the whole pool checked before it writes again.

mod backing;
mod disks;
mod error;
mod room;

use std::path::PathBuf;

pub use error::ExtendError;
pub use room::{Room, RoomIn};

use super::activate::low_water_mark;
use super::lock::Lock;
use super::{Pool, PoolError};
use crate::backing::{Backing, MOST_METADATA, Part};
use crate::catalog::PoolGrowth;
use crate::dm::{PoolStatus, PoolUsage, Table, ThinPool, Visibility};
use crate::units::{Bytes, DataBlocks, Growth, MetaBlocks};

/// What is to grow, and on whose behalf. With nothing said, the pool takes what there is: a file, a volume or a partition
/// that somebody has made larger.
#[derive(Debug, Clone, Default)]
pub struct Extension {
    /// The data.
    pub data: Option<Growth>,
    /// The metadata.
    pub metadata: Option<Growth>,
    /// Blank disks that are added to the pool's volume group. Without a size, the volumes then get what they would have got
    /// had the group been made of all its disks.
    pub disks: Vec<PathBuf>,
    /// The disks among them that are wiped.
    pub wipe: Vec<PathBuf>,
    /// Who wants it.
    pub by: By,
}

/// Who wants a pool to grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum By {
    /// Somebody, who may have a volume grown that isn't ours, and a file by more than the host has room for.
    #[default]
    Hand,
    /// The pool itself, when it is nearly full: only what is its own grows, and only into room that is there.
    Itself,
}

/// What a growth came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    /// The data.
    pub data: Step,
    /// The metadata.
    pub metadata: Step,
}

/// The size of one part before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Before.
    pub from: Bytes,
    /// After.
    pub to: Bytes,
}

impl Step {
    /// Whether anything has grown.
    #[must_use]
    pub fn is_growth(&self) -> bool {
        self.to > self.from
    }
}

impl Pool<'_> {
    /// Makes the pool larger, online. What an earlier process left half done is finished first. Refused before anything is
    /// touched where that can be known. To ask for what is there already is no error and changes nothing.
    pub fn extend(&mut self, wanted: &Extension) -> Result<Extended, PoolError> {
        let _life = self.life()?;
        let from = self.sizes(&self.growable()?);
        self.settle_growth()?;
        if !wanted.disks.is_empty() {
            self.add_disks(wanted)?;
        }
        let growth = self.plan(wanted)?;
        if let Err(error) = self.refuse_without_room(&growth, wanted.by) {
            if !self.take_spare()? {
                return Err(error);
            }
            self.refuse_without_room(&growth, wanted.by)?;
        }
        if !growth.is_nothing() {
            self.catalog.intend_growth(&growth, &self.record.backing)?;
            self.grow(growth)?;
        }
        let to = self.sizes(&self.growable()?);
        // The kernel takes a larger metadata device unasked whenever the pool is loaded.
        for part in [Part::Data, Part::Metadata] {
            self.set_size(part, to.of(part))?;
        }
        Ok(Extended {
            data: Step { from: from.data, to: to.data },
            metadata: Step { from: from.metadata, to: to.metadata },
        })
    }

    /// What a growth would come to; nothing is changed. It may come to something else when it is made.
    pub fn plan_extension(&self, wanted: &Extension) -> Result<Extended, PoolError> {
        let (now, growth) = (self.sizes(&self.growable()?), self.plan(wanted)?);
        self.refuse_without_room(&growth, wanted.by)?;
        Ok(Extended {
            data: Step { from: now.data, to: growth.data.unwrap_or(now.data) },
            metadata: Step { from: now.metadata, to: growth.metadata.unwrap_or(now.metadata) },
        })
    }

    /// Finishes a growth that an earlier process was killed at. Whether there was any.
    pub fn finish_extension(&mut self) -> Result<bool, PoolError> {
        if self.catalog.growth()?.is_none() {
            return Ok(false);
        }
        let _life = self.life()?;
        self.settle_growth()?;
        Ok(true)
    }

    /// Finishes a growth that an earlier process was killed at. The life lock must be held.
    pub(super) fn settle_growth(&mut self) -> Result<(), PoolError> {
        self.learn_metadata_size()?;
        let Some(growth) = self.catalog.growth()? else { return Ok(()) };
        tracing::info!(pool = %self.name, ?growth, "finishing a growth that an earlier process left half done");
        self.growable()?;
        self.finish_adding_disks()?;
        self.grow(growth)
    }

    /// Writes down a size that nobody asked for: of the metadata, the kernel takes all there is whenever a pool is loaded, and
    /// never loads it with less again.
    fn learn_metadata_size(&mut self) -> Result<(), PoolError> {
        if matches!(self.record.backing, Backing::ThinPool(_)) {
            return Ok(());
        }
        match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Working(usage) => self.set_size(Part::Metadata, usage.metadata.total.bytes()),
            PoolStatus::Fail | PoolStatus::Error => Ok(()),
        }
    }

    /// The pool's numbers, if the kernel would make it larger: it does nothing, and calls that a success, as long as it wants the
    /// metadata checked. A pool that is out of metadata can grow, and nothing else.
    fn growable(&self) -> Result<PoolUsage, PoolError> {
        if let Backing::ThinPool(existing) = &self.record.backing {
            return Err(ExtendError::SomebodyElses { pool: existing.name.clone() }.into());
        }
        self.must_be_live()?;
        match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Fail | PoolStatus::Error => Err(self.unusable("it has failed")),
            PoolStatus::Working(usage) if usage.needs_check => {
                Err(self.unusable("its metadata needs a check, and until then the kernel grows nothing"))
            }
            PoolStatus::Working(usage) => Ok(usage),
        }
    }

    fn must_be_live(&self) -> Result<(), PoolError> {
        self.must_be_active().map(drop)
    }

    fn unusable(&self, what: &'static str) -> PoolError {
        PoolError::Unusable { pool: self.name.to_string(), what }
    }

    /// The sizes that the kernel has counted.
    fn sizes(&self, usage: &PoolUsage) -> Sizes {
        let block = self.record.policy.block_size;
        Sizes { data: usage.data.total.bytes(block), metadata: usage.metadata.total.bytes() }
    }

    /// What is to become of the pool's parts. Only what is to be larger than it is.
    fn plan(&self, wanted: &Extension) -> Result<PoolGrowth, PoolError> {
        let usage = self.growable()?;
        let now = self.sizes(&usage);
        let growth = match (wanted.data, wanted.metadata, wanted.disks.is_empty()) {
            (None, None, true) => self.what_is_there(&now)?,
            (None, None, false) => self.sizes_by_rule()?,
            (data, metadata, _) => PoolGrowth {
                data: data.map(|growth| asked(Part::Data, growth, now.data)).transpose()?,
                metadata: metadata.map(|growth| asked(Part::Metadata, growth, now.metadata)).transpose()?,
            },
        };
        let growth = PoolGrowth {
            data: growth.data.map(|size| self.whole_blocks(size)).filter(|size| *size > now.data),
            metadata: growth.metadata.map(whole_metadata_blocks).filter(|size| *size > now.metadata),
        };
        refuse_without_metadata(&growth, &usage, self.whole_data_blocks(growth.data.unwrap_or(now.data)))?;
        Ok(growth)
    }

    /// Carries a growth out that is written down. Every step of it can be made again.
    fn grow(&mut self, growth: PoolGrowth) -> Result<(), PoolError> {
        for part in [Part::Metadata, Part::Data] {
            let Some(size) = growth.of(part) else { continue };
            let size = match self.grow_backing(part, size) {
                Ok(size) => size,
                Err(error) => {
                    // Nothing has grown, or more than the pool takes, which the status tells.
                    self.catalog.end_growth()?;
                    return Err(error);
                }
            };
            self.set_size(part, size)?;
            self.take_growth(part)?;
        }
        Ok(self.catalog.end_growth()?)
    }

    /// Has the kernel take what is there by now, and makes sure that it did.
    fn take_growth(&self, part: Part) -> Result<(), PoolError> {
        let policy = &self.record.policy;
        // Nobody can make a device in a pool that is suspended, and a change could not commit.
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        let Some(Table::ThinPool(live)) = self.host.dm.table(&self.device)? else {
            return Err(PoolError::NotActive(self.name.to_string()));
        };
        // The other part may have grown before an earlier process was killed, and the table names its size as well.
        for part in [Part::Metadata, Part::Data] {
            self.adopt_lengths(&live, part)?;
        }
        let blocks = self.whole_data_blocks(policy.data_size);
        let table = match part {
            Part::Data => ThinPool {
                length: blocks.bytes(policy.block_size).sectors(),
                low_water_mark: low_water_mark(policy.autoextend_threshold, policy.min_free_space, blocks),
                ..live
            },
            // The kernel grows the data first, which is to wait until there is metadata for it.
            Part::Metadata => live,
        };
        self.host.dm.reload(&self.device, &Table::ThinPool(table), Visibility::Internal)?;
        let expected = match part {
            Part::Data => blocks.bytes(policy.block_size),
            Part::Metadata => whole_metadata_blocks(policy.metadata_size).min(MOST_METADATA),
        };
        let found = self.sizes(&self.growable()?).of(part);
        if found < expected {
            return Err(ExtendError::NotGrown { part, expected, found }.into());
        }
        tracing::debug!(pool = %self.name, %part, size = %found, "grown");
        Ok(())
    }

    fn whole_data_blocks(&self, size: Bytes) -> DataBlocks {
        DataBlocks(size.0 / self.record.policy.block_size.bytes().0)
    }

    fn whole_blocks(&self, size: Bytes) -> Bytes {
        self.whole_data_blocks(size).bytes(self.record.policy.block_size)
    }
}

/// The size of each part.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    data: Bytes,
    metadata: Bytes,
}

impl Sizes {
    fn of(&self, part: Part) -> Bytes {
        match part {
            Part::Data => self.data,
            Part::Metadata => self.metadata,
        }
    }
}

/// The size that somebody asks for.
fn asked(part: Part, growth: Growth, now: Bytes) -> Result<Bytes, ExtendError> {
    let size = growth.of(now).ok_or(ExtendError::BeyondCounting { growth })?;
    match (part, growth) {
        (Part::Metadata, Growth::To(asked)) if asked > MOST_METADATA => {
            Err(ExtendError::TooMuchMetadata { asked })
        }
        // A step leads to the end at most, and from there nowhere.
        (Part::Metadata, _) if now >= MOST_METADATA && size > now => {
            Err(ExtendError::TooMuchMetadata { asked: size })
        }
        (Part::Metadata, _) if size > MOST_METADATA => Ok(MOST_METADATA),
        _ if size < now => Err(ExtendError::Shrink { part, is: now, asked: size }),
        _ => Ok(size),
    }
}

fn whole_metadata_blocks(size: Bytes) -> Bytes {
    MetaBlocks(size.0 / MetaBlocks::SIZE.0).bytes()
}

/// Refuses to have more data counted than there is metadata for. The kernel keeps two bits for each data block, in blocks of
/// 16,320 entries (`struct disk_bitmap_header`, `ENTRIES_PER_BLOCK`), which a growth makes at once.
fn refuse_without_metadata(
    growth: &PoolGrowth,
    usage: &PoolUsage,
    data: DataBlocks,
) -> Result<(), ExtendError> {
    const ENTRIES: u64 = 16_320;
    // The roots and the index above the new blocks are written anew as well.
    const MARGIN: MetaBlocks = MetaBlocks(16);
    let Some(size) = growth.data else { return Ok(()) };
    let bitmaps = data.0.div_ceil(ENTRIES).saturating_sub(usage.data.total.0.div_ceil(ENTRIES));
    let needed = MetaBlocks(bitmaps + bitmaps / 64) + MARGIN;
    let grown = growth.metadata.map_or(MetaBlocks(0), |size| MetaBlocks(size.0 / MetaBlocks::SIZE.0));
    let free = usage.metadata.total.max(grown) - usage.metadata.used;
    if free >= needed {
        return Ok(());
    }
    Err(ExtendError::NoMetadata { data: size, needed: needed.bytes(), free: free.bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_stops_where_the_kernel_does() {
        let step = |growth, now| asked(Part::Metadata, growth, now);
        assert!(matches!(
            step(Growth::To(Bytes::gib(16)), Bytes::gib(1)),
            Err(ExtendError::TooMuchMetadata { .. })
        ));
        assert!(matches!(step(Growth::Share(20), Bytes::gib(15)), Ok(size) if size == MOST_METADATA));
        assert!(matches!(step(Growth::Share(20), MOST_METADATA), Err(ExtendError::TooMuchMetadata { .. })));
    }

    #[test]
    fn a_smaller_size_is_refused_and_the_same_is_not() {
        let step = |size| asked(Part::Data, Growth::To(size), Bytes::gib(10));
        assert!(matches!(step(Bytes::gib(9)), Err(ExtendError::Shrink { .. })));
        assert!(matches!(step(Bytes::gib(10)), Ok(size) if size == Bytes::gib(10)));
    }
}

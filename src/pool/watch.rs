//! What whoever watches over a pool needs of it.

use super::lock::Lock;
use super::{Location, Pool, PoolError, low_water_mark};
use crate::backing::Backing;
use crate::catalog::Policy;
use crate::dm::{self, Feature, NoSpacePolicy, PoolStatus, Table, ThinPool, Uuid, Visibility};
use crate::units::DataBlocks;

/// The right to be the one who watches over a pool, for as long as this is held.
#[derive(Debug)]
pub struct Watch(#[allow(dead_code, reason = "held, not read")] Lock);

/// How a pool is known to the kernel, for who asks for it again and again without opening its catalog.
#[derive(Debug, Clone)]
pub struct Pulse {
    device: dm::Name,
    uuid: Uuid,
}

impl Pulse {
    /// What the kernel says of the pool, and how many events it had raised before; none if it doesn't have the pool, or has
    /// another one of its name.
    pub fn feel(&self, dm: &dyn dm::DeviceMapper) -> Result<Option<(PoolStatus, u32)>, dm::Error> {
        let Some(info) = dm.find(&self.device)? else { return Ok(None) };
        let is_it = info.uuid.as_deref() == Some(self.uuid.as_str());
        let status = (is_it && info.live).then(|| dm.pool_status(&self.device)).transpose()?;
        Ok(status.map(|status| (status, info.events)))
    }
}

impl Location {
    /// Takes the right to watch over the pool; refused while another process has it.
    pub fn watch(&self) -> Result<Watch, PoolError> {
        let path = self.paths().monitor_lock();
        // Who reads the status asks for it as well, for no time at all.
        Ok(Watch(Lock::exclusive(&path, std::time::Duration::from_secs(1).min(self.patience))?))
    }

    /// Whether somebody watches over the pool. Nothing is written, and nobody waited for.
    pub(super) fn is_watched(&self) -> bool {
        Lock::is_held(&self.paths().monitor_lock())
    }
}

impl Pool<'_> {
    /// How the pool is known to the kernel.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse { device: self.device.clone(), uuid: self.dm_uuid() }
    }

    /// Says what is to happen to a write that finds no free block, and has the kernel raise its event for data anew:
    /// between two resumes of a pool it does so once. A pool that somebody else made is left as it is.
    pub fn when_full(&mut self, policy: NoSpacePolicy) -> Result<(), PoolError> {
        if matches!(self.record.backing, Backing::ThinPool(_)) {
            return Ok(());
        }
        let _life = self.life()?;
        // Nobody can make a device in a pool that is suspended, and a change could not commit.
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        let Some(Table::ThinPool(live)) = self.host.dm.table(&self.device)? else {
            return Err(PoolError::NotActive(self.name.to_string()));
        };
        let mut features = live.features;
        features.retain(|feature| *feature != Feature::ErrorIfNoSpace);
        if policy == NoSpacePolicy::Error {
            features.push(Feature::ErrorIfNoSpace);
        }
        // An older version may have loaded it, with another mark.
        let Policy { block_size, autoextend_threshold, min_free_space, .. } = self.record.policy;
        let blocks = DataBlocks(live.length.bytes().0 / block_size.bytes().0);
        let low_water_mark = low_water_mark(autoextend_threshold, min_free_space, blocks);
        let table = Table::ThinPool(ThinPool { low_water_mark, features, ..live });
        Ok(self.host.dm.reload(&self.device, &table, Visibility::Internal)?)
    }
}

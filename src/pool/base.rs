//! The base: the empty file system that everything descends from.

use super::grow::{Node, check_size};
use super::lock::Lock;
use super::{Grown, Pool, PoolError};
use crate::catalog::Policy;
use crate::units::Bytes;

impl Pool<'_> {
    /// Makes the base larger, for images that are imported from now on: what exists keeps its size.
    pub(super) fn grow_base(&mut self, size: Bytes) -> Result<(), PoolError> {
        check_size(size)?;
        let lock = self.base_lock()?;
        let base = self.base()?;
        // A pool that can't be written to can't have its base grown.
        self.usage()?;
        if size > base.size {
            let policy = Policy { base_size: size, ..self.record.policy.clone() };
            self.catalog.begin_base_growth(base.id, &policy)?;
            self.record.policy = policy;
        }
        drop(lock);
        self.finish_base_growth()
    }

    /// Grows the base's file system where whoever was to has died.
    pub(super) fn finish_base_growth(&mut self) -> Result<(), PoolError> {
        if !self.base()?.growing {
            return Ok(());
        }
        let _lock = self.base_lock()?;
        // Another command may have been quicker.
        let base = self.base()?;
        if !base.growing {
            return Ok(());
        }
        match self.finish_growth(&base, Node::Goes)? {
            Grown::Whole => Ok(()),
            Grown::DeviceOnly(_) => Err(match self.active_device(&base)? {
                Some(info) => self.in_use(&info),
                None => PoolError::Vanished { what: "base", name: base.node.to_string() },
            }),
        }
    }

    fn base(&self) -> Result<crate::catalog::Device, PoolError> {
        let vanished = || PoolError::Vanished { what: "base", name: self.name.to_string() };
        self.catalog.base()?.ok_or_else(vanished)
    }

    fn base_lock(&self) -> Result<Lock, PoolError> {
        Ok(Lock::exclusive(&self.paths.device_lock(self.base()?.id), self.patience)?)
    }
}

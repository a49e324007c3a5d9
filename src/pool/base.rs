//! The base: the empty file system that everything descends from.

use super::grow::{Node, check_size};
use super::lock::Lock;
use super::{Grown, Pool, PoolError};
use crate::catalog::{Device, Policy};
use crate::units::Bytes;

impl Pool<'_> {
    /// Makes the base larger, for images that are imported from now on: what exists keeps its size.
    pub(super) fn grow_base(&mut self, size: Bytes) -> Result<(), PoolError> {
        check_size(size)?;
        let _lock = Lock::exclusive(&self.paths.device_lock(self.base()?.id), self.patience)?;
        let base = self.base()?;
        // A pool that can't be written to can't have its base grown.
        self.usage()?;
        if size > base.size {
            let policy = Policy { base_size: size, ..self.record.policy.clone() };
            self.catalog.begin_base_growth(base.id, &policy)?;
            self.record.policy = policy;
        }
        let base = self.base()?;
        if !base.growing {
            return Ok(());
        }
        match self.finish_growth(&base, Node::Goes)? {
            Grown::Whole => Ok(()),
            Grown::DeviceOnly(by) => {
                Err(PoolError::InUse { device: base.node, open_count: 1, by: Box::new(by) })
            }
        }
    }

    fn base(&self) -> Result<Device, PoolError> {
        let vanished = || PoolError::Vanished { what: "base", name: self.name.to_string() };
        self.catalog.base()?.ok_or_else(vanished)
    }
}

//! Finished layers and the base, mounted to be read: where only this process reaches them, and so that nothing in them can
//! change.
//!
//! Several may read one at a time. They share the device's lock; who finds that nobody else has it any more takes the
//! node away.

use std::path::Path;

use super::device::Use;
use super::lock::Lock;
use super::{Pool, PoolError, names};
use crate::catalog::{Device, DeviceKind, DeviceState};
use crate::dm::Removal;
use crate::fs::{Detached, MountOptions};

/// A device that is mounted to be read. Dropping it unmounts it.
pub struct Reading<'h> {
    pool: Pool<'h>,
    device: Device,
    /// Held for as long as it is read: its node stays, and it isn't removed.
    lock: Option<Lock>,
    mount: Option<Detached>,
}

impl<'h> Reading<'h> {
    pub(super) fn new(pool: Pool<'h>, device: Device) -> Result<Self, PoolError> {
        let coming = Lock::exclusive(&pool.paths.reading_lock(), pool.patience)?;
        let lock = Lock::shared(&pool.paths.device_lock(device.id), pool.patience)?;
        let mut reading = Self { pool, device, lock: Some(lock), mount: None };
        let opened = reading.open();
        drop(coming);
        opened?;
        Ok(reading)
    }

    fn open(&mut self) -> Result<(), PoolError> {
        let vanished = || PoolError::Vanished { what: "layer", name: self.device.node.to_string() };
        let now = self.pool.catalog.device(self.device.id)?;
        now.filter(|now| now.state == DeviceState::Ready).ok_or_else(vanished)?;
        let info = self.pool.activate_device(&self.device, Use::Reading)?;
        let filesystem = self.pool.record.policy.filesystem;
        let (node, options) = (info.device.kernel_node(), MountOptions::reading());
        self.mount = Some(self.pool.host.fs.mount_detached(filesystem, &node, &options)?);
        Ok(())
    }

    /// Its root directory, for this process only.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.mount.as_ref().map_or(Path::new("/nonexistent"), Detached::root)
    }

    /// Unmounts it, and says so if that failed.
    pub fn close(mut self) -> Result<(), PoolError> {
        self.clear()
    }

    fn clear(&mut self) -> Result<(), PoolError> {
        self.mount = None;
        if self.lock.is_none() {
            return Ok(());
        }
        let _going = Lock::exclusive(&self.pool.paths.reading_lock(), self.pool.patience)?;
        self.lock = None;
        self.pool.rest(&self.device)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(device = %self.device.node, %error, "it stays active until the next command");
        }
    }
}

impl Pool<'_> {
    /// Takes the nodes away of what is only active while it is read or made, and isn't: who did was killed.
    pub(super) fn rest_all(&self) -> Result<(), PoolError> {
        let at_rest =
            |device: &Device| device.state == DeviceState::Ready && device.kind != DeviceKind::Container;
        for node in self.host.dm.list()?.into_iter().filter(|node| names::is_layer_or_base(&self.name, node))
        {
            let Some(device) = self.catalog.device_by_node(&node)?.filter(at_rest) else { continue };
            match self.rest(&device) {
                Err(error @ (PoolError::Lock(_) | PoolError::Catalog(_))) => return Err(error),
                Err(error) => tracing::warn!(device = %device.node, %error, "it stays active"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Takes a device's node away, unless somebody works on it.
    fn rest(&self, device: &Device) -> Result<(), PoolError> {
        let Some(lock) = Lock::try_exclusive(&self.paths.device_lock(device.id))? else { return Ok(()) };
        self.deactivate_device(device, Removal::Now)?;
        Ok(lock.remove()?)
    }
}

//! What earlier commands left: drafts of processes that died, what was deleted while in use, what grew only in part.

use super::device::Use;
use super::lock::Lock;
use super::{Pool, PoolError};
use crate::catalog::{Device, DeviceState};
use crate::dm::Removal;

impl Pool<'_> {
    /// Frees what can be freed now, and finishes what grew only in part. What is in use stays for a later command.
    pub fn reap(&mut self) -> Result<(), PoolError> {
        if self.catalog.intent()?.is_some() {
            // Whoever changes the pool settles what is open first.
            drop(self.change()?);
        }
        // What it sees is freed by no deletion.
        self.release_left_snapshot()?;
        // Drafts first: a dead one keeps the layers below it alive.
        self.reap_all(DeviceState::Draft)?;
        self.forget_unneeded_layers()?;
        self.reap_all(DeviceState::Deleted)?;
        self.finish_growths()?;
        self.rest_all()
    }

    /// Frees what is in this state. One that can't be freed is no reason to fail: it stays for a later command.
    fn reap_all(&mut self, state: DeviceState) -> Result<(), PoolError> {
        for device in self.catalog.devices_in(state)? {
            // Here nobody waits for a probe: there may be many, and each is looked at by every command.
            if self.active_device(&device)?.is_some_and(|info| info.open_count > 0) {
                continue;
            }
            let freed = self.reap_one(&device);
            or_later(&device, freed)?;
        }
        Ok(())
    }

    /// Frees one device, unless somebody works on it or uses it.
    pub(super) fn reap_one(&mut self, device: &Device) -> Result<(), PoolError> {
        // A draft's maker holds its lock for as long as it lives, and has it before it lets the pool's go: asked
        // outside of that one, a draft that its maker is just about to lock would look like one nobody works on.
        let change = self.change()?;
        let Some(lock) = Lock::try_exclusive(&change.pool.paths.device_lock(device.id))? else {
            return Ok(());
        };
        // It may have been finished, or freed by somebody else, since it was listed; then its id may be that of another, whose
        // maker gets its lock before he lets the pool's go.
        let Some(now) = change.pool.catalog.device(device.id)? else { return Ok(lock.remove()?) };
        drop(change);
        let is_left = matches!(now.state, DeviceState::Draft | DeviceState::Deleted);
        if is_left { self.free(&now, lock) } else { Ok(()) }
    }

    /// Frees a device that nobody needs any more, unless it is in use. `lock` is the device's. Whoever gives the device up
    /// holds it from before that until here: while it is free, others take the device for one that a dead process left.
    pub(super) fn free(&mut self, device: &Device, lock: Lock) -> Result<(), PoolError> {
        match self.after_probes(device)? {
            Some(info) if info.open_count > 0 => return Ok(()),
            _ => self.discard_blocks(device),
        }
        self.deactivate_device(device, Removal::Now)?;
        let mut change = self.change()?;
        change.delete(device)?;
        // While nobody can make another of this id.
        Ok(lock.remove()?)
    }

    /// Gives a device's blocks back to the host's file system: deleting it alone frees them in the pool only.
    /// A failure costs space in the host's file system, nothing else, so it is only logged.
    fn discard_blocks(&self, device: &Device) {
        if !self.record.policy.discard_on_remove {
            return;
        }
        let discarded = self
            .activate_device(device, Use::Own)
            .and_then(|info| Ok(self.host.fs.discard(&info.device.kernel_node(), device.size)?));
        if let Err(error) = discarded {
            tracing::warn!(device = %device.node, %error, "its blocks were not given back to the host's file system");
        }
    }

    /// Marks for deletion the layers of imports that died half-way, unless an import is at work.
    fn forget_unneeded_layers(&mut self) -> Result<(), PoolError> {
        if let Some(_alone) = Lock::try_exclusive(&self.paths.import_lock())? {
            self.catalog.forget_unneeded_layers()?;
        }
        Ok(())
    }
}

/// A device that can't be freed now stays for a later command, unless the pool itself can't be changed.
pub(super) fn or_later(device: &Device, freed: Result<(), PoolError>) -> Result<(), PoolError> {
    match freed {
        Err(error @ (PoolError::Lock(_) | PoolError::Catalog(_) | PoolError::Mismatch { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(device = %device.node, %error, "it can't be freed yet");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

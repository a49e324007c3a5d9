//! The end of a container.

use super::mount::Busy;
use crate::catalog::Container;
use crate::pool::lock::Lock;
use crate::pool::reap::or_later;
use crate::pool::{ContainerName, Holders, Pool, PoolError};

impl Pool<'_> {
    /// Removes a container. Its blocks are freed at once, or, if its device is in use and deletion may be deferred, when it no
    /// longer is: then those are given back who use it. One that is mounted is unmounted with `force`, and refused without.
    pub fn remove_container(
        &mut self,
        name: &ContainerName,
        force: bool,
    ) -> Result<Option<Holders>, PoolError> {
        let (container, lock) = self.claim(name.as_str())?;
        self.remove_claimed(&container, lock, force)
    }

    /// Removes a container that nobody else can work on.
    pub(super) fn remove_claimed(
        &mut self,
        container: &Container,
        lock: Lock,
        force: bool,
    ) -> Result<Option<Holders>, PoolError> {
        let deferred = self.record.policy.deferred_deletion;
        if force {
            self.unmount_everywhere(container, if deferred { Busy::GoesLater } else { Busy::Stays })?;
        } else {
            self.refuse_if_mounted(container)?;
        }
        let open = self.after_probes(&container.device)?.filter(|info| info.open_count > 0);
        if let Some(info) = open.as_ref().filter(|_| !deferred) {
            return Err(self.in_use(info));
        }
        // While they can still be found: what they have mounted goes with the mount point.
        let holders = open.map(|info| self.holders(&info));
        let change = self.change()?;
        change.pool.catalog.remove_container(container)?;
        drop(change);
        self.remove_own_mount_point(&self.paths.mounts().join(&container.name))?;
        if holders.is_none() {
            let freed = self.free(&container.device, lock);
            or_later(&container.device, freed)?;
        } else {
            drop(lock);
        }
        // Others that were removed while they were in use, and may be free by now.
        self.reap()?;
        let waits = self.catalog.device(container.device.id)?.is_some();
        Ok(holders.filter(|_| waits))
    }
}

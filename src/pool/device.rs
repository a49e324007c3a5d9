//! Thin devices as device-mapper devices: made when they are needed, gone when not.

use nix::errno::Errno;

use super::lock::Lock;
use super::{Pool, PoolError};
use crate::catalog::{Device, DeviceKind};
use crate::dm::{self, Access, NewDevice, Removal, Removed, Table, Thin, Uuid, Visibility};
use crate::units::{Bytes, DeviceId};

/// Sizes of devices are multiples of the page size: the kernel's discards and the file systems' blocks want it.
pub(super) const SIZE_STEP: Bytes = Bytes::kib(4);

/// More than ext4 can have (1 EiB) is a slip of the finger.
pub(super) const LARGEST: Bytes = Bytes::gib(1 << 30);

/// What a device is activated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// To make, grow or free it ourselves: nothing in the system is to look into it.
    Own,
    /// To read it ourselves: the kernel refuses every write.
    Reading,
    /// For a container's user.
    Users,
}

impl Pool<'_> {
    /// Gives a device its node. One that has it already keeps it, and is made fit for use.
    pub(super) fn activate_device(&self, device: &Device, usage: Use) -> Result<dm::Info, PoolError> {
        let visibility = match usage {
            Use::Own | Use::Reading => Visibility::Internal,
            Use::Users => visibility(device.kind),
        };
        let access = if usage == Use::Reading { Access::ReadOnly } else { Access::ReadWrite };
        let uuid = self.uuid_of(device.id);
        match self.host.find_ours(&device.node, &uuid)? {
            Some(info) if info.live && info.read_only == (access == Access::ReadOnly) => {
                self.host.dm.keep(&info, visibility)?;
                return Ok(info);
            }
            // Left by a creation that was killed between its two halves, or by a reader that was.
            Some(_) => drop(self.host.dm.remove(&device.node, Removal::Now)?),
            None => {}
        }
        let pool = self.must_be_active()?;
        let table = Table::Thin(Thin {
            length: device.size.sectors(),
            pool: pool.device,
            id: device.id,
            external_origin: None,
        });
        let new = NewDevice { name: &device.node, uuid: &uuid, table: &table, access, visibility };
        match self.host.dm.create(&new) {
            // The kernel makes no device in a pool that is suspended, which one is for a moment while it grows
            // (`thin_ctr`). Nobody suspends it as long as we hold the lock.
            Err(error) if error.errno() == Some(Errno::EINVAL) => {
                let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
                Ok(self.host.dm.create(&new)?)
            }
            created => Ok(created?),
        }
    }

    /// Takes a device's node away. One in use stays, with an error, unless its removal may be deferred.
    pub(super) fn deactivate_device(&self, device: &Device, removal: Removal) -> Result<Removed, PoolError> {
        let Some(info) = self.active_device(device)? else { return Ok(Removed::Gone) };
        // An open device needs no seconds of patience to be found busy; what udev's probes hold is let go at once.
        match self.host.dm.remove(&device.node, removal) {
            Ok(removed) => Ok(removed),
            Err(error) if error.errno() == Some(Errno::EBUSY) => {
                Err(PoolError::InUse { device: device.node.clone(), open_count: info.open_count })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the kernel knows of a device, if it is active.
    pub(super) fn active_device(&self, device: &Device) -> Result<Option<dm::Info>, PoolError> {
        self.host.find_ours(&device.node, &self.uuid_of(device.id))
    }

    /// How a device's removal is to be tried when nobody insists.
    pub(super) fn usual_removal(&self) -> Removal {
        if self.record.policy.deferred_removal { Removal::Deferred } else { Removal::Now }
    }

    fn uuid_of(&self, id: DeviceId) -> Uuid {
        Uuid::of_device(&self.record.uuid, id)
    }
}

/// Containers are for users; the rest is the pool's own.
pub(super) fn visibility(kind: DeviceKind) -> Visibility {
    match kind {
        DeviceKind::Base | DeviceKind::Image => Visibility::Internal,
        DeviceKind::Container => Visibility::Snapshot,
    }
}

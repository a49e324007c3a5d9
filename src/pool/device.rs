//! Thin devices as device-mapper devices: made when they are needed, gone when not.
//!
//! A device is known by its uuid. The name of its node is the catalog's to say: one that was renamed there by a process that
//! died before the kernel heard of it is brought in line by whoever works on it next, or wants the name that it still has.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::lock::Lock;
use super::{Pool, PoolError};
use crate::catalog::{Device, DeviceKind};
use crate::dm::{self, Access, NewDevice, Removal, Removed, Rules, Table, Thin, Uuid, Visibility};
use crate::units::{Bytes, DeviceId};

/// Sizes of devices are multiples of the page size: the kernel's discards and the file systems' blocks want it.
pub(super) const SIZE_STEP: Bytes = Bytes::kib(4);

/// More than ext4 can have (1 EiB) is a slip of the finger.
pub(super) const LARGEST: Bytes = Bytes::gib(1 << 30);

/// How long a device may be open, by nobody who is seen, before that is taken for more than a look of udev's into it.
pub(super) const PROBING: Duration = Duration::from_secs(2);

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// A growth suspends its pool up to three times in a row: for metadata, for data, and for what a full pool does.
const SUSPENSIONS: u32 = 3;

/// What a device is activated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// To make, grow or free it ourselves: nothing in the system is to look into it.
    Own,
    /// To read it ourselves: the kernel refuses every write.
    Reading,
    /// To mount it for a container's user, who may look into it but gets a directory: udev's links are nobody's concern.
    Mounting,
    /// For a container's user, who gets the device.
    Users,
}

impl Pool<'_> {
    /// Gives a device its node. One that has it already keeps it, and is made fit for use.
    pub(super) fn activate_device(&self, device: &Device, usage: Use) -> Result<dm::Info, PoolError> {
        let visibility = match usage {
            Use::Own | Use::Reading => Visibility::Internal,
            Use::Mounting | Use::Users => visibility(device.kind),
        };
        let rules = if usage == Use::Users { Rules::Awaited } else { Rules::Unawaited };
        let access = if usage == Use::Reading { Access::ReadOnly } else { Access::ReadWrite };
        match self.active_device(device)? {
            Some(info) if info.live && info.read_only == (access == Access::ReadOnly) => {
                let info = self.name_node(info, device)?;
                self.host.dm.keep(&info, visibility)?;
                self.lengthen(&info, device, visibility)?;
                return Ok(info);
            }
            // Left by a creation that was killed between its two halves, or by a reader that was.
            Some(info) => drop(self.host.dm.remove(&info.name, Removal::Now)?),
            None => {}
        }
        self.free_node(&device.node)?;
        let (uuid, table) = (self.uuid_of(device.id), self.table_of(device)?);
        let new = NewDevice { name: &device.node, uuid: &uuid, table: &table, access, visibility, rules };
        self.while_pool_is_live(|| self.host.dm.create(&new))
    }

    /// Loads a thin device's table. The kernel takes none while the pool is suspended, which it is for a moment while it
    /// grows (`thin_ctr`), and says EINVAL. Who suspends it holds the lock of changes until it is live again; the next step of its
    /// growth may come at once.
    fn while_pool_is_live<T>(&self, load: impl Fn() -> Result<T, dm::Error>) -> Result<T, PoolError> {
        for _ in 0..SUSPENSIONS {
            match load() {
                Err(error) if error.errno() == Some(Errno::EINVAL) => {
                    drop(Lock::exclusive(&self.paths.change_lock(), self.patience)?);
                    // One that has failed takes none either, and never will.
                    self.usage()?;
                }
                loaded => return Ok(loaded?),
            }
        }
        Ok(load()?)
    }

    /// Takes a device's node away. One in use stays, with an error, unless its removal may be deferred.
    pub(super) fn deactivate_device(&self, device: &Device, removal: Removal) -> Result<Removed, PoolError> {
        let Some(info) = self.active_device(device)? else { return Ok(Removed::Gone) };
        // An open device needs no seconds of patience to be found busy; what udev's probes hold is let go at once.
        match self.host.dm.remove(&info.name, removal) {
            Ok(removed) => Ok(removed),
            Err(error) if error.errno() == Some(Errno::EBUSY) => Err(self.in_use(&info)),
            Err(error) => Err(error.into()),
        }
    }

    /// What the kernel knows of a device, if it is active, by whatever name.
    pub(super) fn active_device(&self, device: &Device) -> Result<Option<dm::Info>, PoolError> {
        let uuid = self.uuid_of(device.id);
        match self.host.dm.find(&device.node)? {
            Some(info) if info.uuid.as_deref() == Some(uuid.as_str()) => Ok(Some(info)),
            _ => Ok(self.host.dm.find_uuid(&uuid)?),
        }
    }

    /// What the kernel knows of a device, if it is active, once nobody merely looks at it any more.
    pub(super) fn after_probes(&self, device: &Device) -> Result<Option<dm::Info>, PoolError> {
        self.unprobed(|| self.active_device(device))
    }

    /// The same of the device that is found so.
    pub(super) fn unprobed(
        &self,
        find: impl Fn() -> Result<Option<dm::Info>, PoolError>,
    ) -> Result<Option<dm::Info>, PoolError> {
        let deadline = Instant::now() + PROBING;
        loop {
            match find()? {
                Some(info) if info.open_count > 0 && self.holders(&info).is_probe() => {
                    if Instant::now() >= deadline {
                        return Ok(Some(info));
                    }
                    std::thread::sleep(PAUSE);
                }
                info => return Ok(info),
            }
        }
    }

    /// Gives an active device the name that it has in the catalog.
    pub(super) fn name_node(&self, info: dm::Info, device: &Device) -> Result<dm::Info, PoolError> {
        if info.name == device.node {
            return Ok(info);
        }
        self.free_node(&device.node)?;
        match self.host.dm.rename(&info.name, &device.node, visibility(device.kind)) {
            // Another command was at it, too.
            Err(error) if matches!(error.errno(), Some(Errno::ENXIO | Errno::EBUSY)) => {
                let now = self.active_device(device)?.filter(|now| now.name == device.node);
                now.ok_or_else(|| error.into())
            }
            renamed => Ok(renamed.map(|()| dm::Info { name: device.node.clone(), ..info })?),
        }
    }

    /// Makes sure that no active device has this name. One of this pool's that the catalog calls otherwise gets its right name;
    /// any other is refused.
    pub(super) fn free_node(&self, node: &dm::Name) -> Result<(), PoolError> {
        let Some(info) = self.host.dm.find(node)? else { return Ok(()) };
        let uuid = info.uuid.clone().unwrap_or_else(|| "none".to_owned());
        match self.id_of(&info).map(|id| self.catalog.device(id)).transpose()?.flatten() {
            Some(other) if other.node != *node => self.name_node(info, &other).map(drop),
            _ => {
                let expected = self
                    .catalog
                    .device_by_node(node)?
                    .map_or_else(|| self.dm_uuid(), |device| self.uuid_of(device.id));
                Err(PoolError::Foreign { name: node.clone(), expected, found: uuid })
            }
        }
    }

    /// Makes an active device as long as the catalog has it: whoever was to may have died.
    fn lengthen(&self, info: &dm::Info, device: &Device, visibility: Visibility) -> Result<(), PoolError> {
        if !device.growing {
            return Ok(());
        }
        match self.host.dm.table(&info.name)? {
            Some(table) if table.length() < device.size.sectors() => {
                let table = self.table_of(device)?;
                self.while_pool_is_live(|| self.host.dm.reload(&info.name, &table, visibility))
            }
            _ => Ok(()),
        }
    }

    fn table_of(&self, device: &Device) -> Result<Table, PoolError> {
        let pool = self.must_be_active()?;
        Ok(Table::Thin(Thin {
            length: device.size.sectors(),
            pool: pool.device,
            id: device.id,
            external_origin: None,
        }))
    }

    /// How a device's removal is to be tried when nobody insists.
    pub(super) fn usual_removal(&self) -> Removal {
        if self.record.policy.deferred_removal { Removal::Deferred } else { Removal::Now }
    }

    /// Which of this pool's devices an active one is, by its uuid.
    pub(super) fn id_of(&self, info: &dm::Info) -> Option<DeviceId> {
        let id = info.uuid.as_deref()?.strip_prefix(&Uuid::prefix_of(&self.record.uuid))?;
        DeviceId::try_from(id.parse::<u32>().ok()?).ok()
    }

    pub(super) fn uuid_of(&self, id: DeviceId) -> Uuid {
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

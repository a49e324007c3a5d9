//! Taking in devices of the pool's that no record knows.

use super::Orphans;
use crate::catalog::{Device, DeviceKind, DeviceState};
use crate::dm::{self, Access, NewDevice, Removal, Rules, Table, Thin, ThinStatus, Uuid, Visibility};
use crate::fs::Identified;
use crate::pool::device::SIZE_STEP;
use crate::pool::lock::Lock;
use crate::pool::{ContainerName, Pool, PoolError, names, now};
use crate::units::{Bytes, DeviceId, Sectors, TransactionId};

/// The image of a container of which nobody knows what it was made of. No image can have this name.
pub const UNKNOWN_IMAGE: &str = "(unknown)";

/// What was found out about a device.
struct Measured {
    /// How long it must be at least.
    size: Bytes,
    /// What is on it.
    on_it: Option<Identified>,
}

impl Pool<'_> {
    /// Makes a device a container, or marks it for deletion.
    pub(super) fn adopt(
        &mut self,
        id: DeviceId,
        made_at: TransactionId,
        orphans: Orphans,
    ) -> Result<(), PoolError> {
        let (name, node) = self.free_name_for(id)?;
        let _working = Lock::exclusive(&self.paths.device_lock(id), self.patience)?;
        let size = self.measure(id, &node)?.size;
        let (state, container) = match orphans {
            Orphans::Adopt => (DeviceState::Ready, Some((name.as_str(), UNKNOWN_IMAGE))),
            Orphans::Delete => (DeviceState::Deleted, None),
        };
        let device = Device {
            id,
            node,
            kind: DeviceKind::Container,
            state,
            origin: None,
            size,
            created: now(),
            growing: false,
        };
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        // One that has a record by now is no orphan any more.
        self.catalog.adopt(&device, made_at, container)?;
        Ok(())
    }

    /// Makes a device the base. What is on it is what the pool's file systems are.
    pub(super) fn adopt_base(&mut self, id: DeviceId, made_at: TransactionId) -> Result<(), PoolError> {
        let node = names::base_device(&self.name)?;
        let _working = Lock::exclusive(&self.paths.device_lock(id), self.patience)?;
        let measured = self.measure(id, &node)?;
        let Some(on_it) = measured.on_it else {
            return self.adopt_without_lock(id, made_at, measured.size);
        };
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        let mut policy = self.record.policy.clone();
        (policy.filesystem, policy.base_size) = (on_it.kind, measured.size);
        if policy != self.record.policy {
            self.catalog.set_backing(&self.record.backing, &policy)?;
            self.record.policy = policy;
        }
        let (kind, state) = (DeviceKind::Base, DeviceState::Ready);
        let device = Device {
            id,
            node,
            kind,
            state,
            origin: None,
            size: measured.size,
            created: now(),
            growing: false,
        };
        self.catalog.adopt(&device, made_at, None)?;
        Ok(())
    }

    /// What looked like a base, and has no file system.
    fn adopt_without_lock(
        &mut self,
        id: DeviceId,
        made_at: TransactionId,
        size: Bytes,
    ) -> Result<(), PoolError> {
        let (name, node) = self.free_name_for(id)?;
        let (kind, state) = (DeviceKind::Container, DeviceState::Ready);
        let device = Device { id, node, kind, state, origin: None, size, created: now(), growing: false };
        let _change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        self.catalog.adopt(&device, made_at, Some((name.as_str(), UNKNOWN_IMAGE)))?;
        Ok(())
    }

    /// Corrects the size of a device that has more blocks than fit into it.
    pub(super) fn correct_size(&mut self, device: &Device) -> Result<(), PoolError> {
        let _working = Lock::exclusive(&self.paths.device_lock(device.id), self.patience)?;
        let size = self.measure(device.id, &device.node)?.size;
        if size > device.size {
            self.catalog.set_device_size(device.id, size)?;
        }
        Ok(())
    }

    /// A name that no container and no node has: `recovered-<id>`.
    fn free_name_for(&self, id: DeviceId) -> Result<(ContainerName, dm::Name), PoolError> {
        for number in 1_u32.. {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let Ok(name) = format!("recovered-{id}{suffix}").parse::<ContainerName>() else { break };
            let node = names::container_device(&self.name, &name)?;
            if self.catalog.container(name.as_str())?.is_none()
                && self.catalog.device_by_node(&node)?.is_none()
            {
                return Ok((name, node));
            }
        }
        Err(PoolError::NameTaken { what: "container", name: format!("recovered-{id}") })
    }

    /// Finds out how long a device must be: as far as its file system says, and as far as its blocks reach. Of the device,
    /// only the first block is made readable, which holds the file system's superblock, and nothing of it writable.
    fn measure(&self, id: DeviceId, node: &dm::Name) -> Result<Measured, PoolError> {
        let (info, is_made) = match self.node_of(id)? {
            Some(info) => (info, false),
            None => (self.make_readable(id, node)?, true),
        };
        let measured = self.measure_node(&info);
        if is_made {
            self.host.dm.remove(&info.name, Removal::Now)?;
        }
        measured
    }

    fn measure_node(&self, info: &dm::Info) -> Result<Measured, PoolError> {
        let highest = match self.host.dm.thin_status(&info.name)? {
            ThinStatus::Working(usage) => usage.highest_mapped.map(|last| last + Sectors(1)),
            ThinStatus::Fail | ThinStatus::Error => {
                return Err(PoolError::Unusable { pool: self.name.to_string(), what: "it has failed" });
            }
        };
        let on_it = self.host.fs.identify(&info.device.kernel_node())?;
        let reach = highest.map_or(Bytes(0), Sectors::bytes);
        let size = on_it.map_or(Bytes(0), |found| found.size).max(reach);
        // A device without a block has nothing to be measured.
        let size = if size == Bytes(0) { self.record.policy.base_size } else { size };
        Ok(Measured { size: Bytes(size.0.div_ceil(SIZE_STEP.0) * SIZE_STEP.0), on_it })
    }

    /// The node that a device has already.
    fn node_of(&self, id: DeviceId) -> Result<Option<dm::Info>, PoolError> {
        let uuid = Uuid::of_device(&self.record.uuid, id);
        for name in self.host.dm.list()? {
            if let Some(info) = self.host.dm.find(&name)?
                && info.uuid.as_deref() == Some(uuid.as_str())
            {
                if info.live {
                    return Ok(Some(info));
                }
                self.host.dm.remove(&name, Removal::Now)?;
            }
        }
        Ok(None)
    }

    fn make_readable(&self, id: DeviceId, node: &dm::Name) -> Result<dm::Info, PoolError> {
        let pool = self.must_be_active()?;
        let length = self.record.policy.block_size.sectors();
        let table = Table::Thin(Thin { length, pool: pool.device, id, external_origin: None });
        let uuid = Uuid::of_device(&self.record.uuid, id);
        let (access, visibility, rules) = (Access::ReadOnly, Visibility::Internal, Rules::Unawaited);
        let new = NewDevice { name: node, uuid: &uuid, table: &table, access, visibility, rules };
        Ok(self.host.dm.create(&new)?)
    }
}

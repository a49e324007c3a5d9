//! Everything that is known of a container.

use super::ContainerStatus;
use crate::catalog::{Device, Image};
use crate::dm;
use crate::fs::{FileSystem, Mount};
use crate::pool::{ContainerName, Holders, Pool, PoolError};
use crate::units::PoolName;

/// Everything that is known of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDetails {
    /// What every list tells.
    pub status: ContainerStatus,
    /// Its pool.
    pub pool: PoolName,
    /// Its device's uuid in device-mapper.
    pub uuid: dm::Uuid,
    /// What its device has on it.
    pub file_system: FileSystem,
    /// Its image, if that is still there.
    pub image: Option<Image>,
    /// The device that it is a snapshot of, if that is still there.
    pub origin: Option<Device>,
    /// What the kernel knows of its device, while it is active.
    pub kernel: Option<dm::Info>,
    /// Its mounts in our own namespace.
    pub mounts: Vec<Mount>,
    /// Who keeps it busy. Nobody is looked for while it isn't open.
    pub holders: Holders,
}

impl Pool<'_> {
    /// Everything that is known of a container. Nothing is changed, and no lock taken.
    pub fn inspect_container(&self, name: &ContainerName) -> Result<ContainerDetails, PoolError> {
        let (status, kernel, mounts) = self.look(name)?;
        let device = &status.container.device;
        let open = kernel.as_ref().filter(|info| info.open_count > 0);
        Ok(ContainerDetails {
            pool: self.name.clone(),
            uuid: self.uuid_of(device.id),
            file_system: self.record.policy.filesystem,
            image: self.catalog.image(&status.container.image)?,
            origin: device.origin.map(|origin| self.catalog.device(origin)).transpose()?.flatten(),
            holders: open.map(|info| self.holders(info)).unwrap_or_default(),
            mounts,
            kernel,
            status,
        })
    }
}

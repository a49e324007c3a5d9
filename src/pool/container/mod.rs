//! Containers: writable snapshots of images, with a name. One verb a file.

mod create;
mod inspect;
mod labels;
mod mount;
mod remove;
mod rename;
mod resize;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use create::NewContainer;
pub use inspect::ContainerDetails;
pub use labels::{Label, LabelRefused, Labels};
pub use mount::MountRequest;
pub use rename::Renamed;
pub use resize::{NewSize, Resized};

use super::device::Use;
use super::grow::Node;
use super::lock::Lock;
use super::{ContainerName, Pool, PoolError};
use crate::catalog::{Container, DeviceState};
use crate::dm::{self, ThinStatus};
use crate::fs::Mount;
use crate::units::Bytes;

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// What the catalog knows.
    pub container: Container,
    /// Its node, while it is active.
    pub path: Option<PathBuf>,
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
    /// How much of it has blocks, shared ones included. Known only while it is active.
    pub mapped: Option<Bytes>,
}

/// A container that was to have a node and has none.
#[derive(Debug)]
pub struct NotActivated {
    /// Its name.
    pub name: String,
    /// Why.
    pub error: PoolError,
}

impl Pool<'_> {
    /// All containers.
    pub fn containers(&self) -> Result<Vec<ContainerStatus>, PoolError> {
        let containers = self.catalog.containers()?;
        // Of thousands few are active: the kernel is asked for what has a name as the pool gives it, not for each of them.
        let prefix = format!("{}-", self.name);
        let nodes = self.nodes_called(|name| name.as_str().starts_with(&prefix))?.into_iter();
        let mut nodes: BTreeMap<_, _> = nodes.map(|info| (info.uuid.clone(), info)).collect();
        let mounts = self.host.fs.all_mounts()?;
        let look = |container: Container| {
            let active = nodes.remove(&Some(self.uuid_of(container.device.id).as_str().to_owned()));
            self.look_at(container, active.as_ref(), &mounts)
        };
        Ok(containers.into_iter().map(look).collect())
    }

    /// One container.
    pub fn container(&self, name: &ContainerName) -> Result<ContainerStatus, PoolError> {
        Ok(self.look(name)?.0)
    }

    /// The same, with what the kernel knows of its device, if that is active, and its mounts.
    fn look(
        &self,
        name: &ContainerName,
    ) -> Result<(ContainerStatus, Option<dm::Info>, Vec<Mount>), PoolError> {
        let container = self.known_container(name.as_str())?;
        let active = self.active_device(&container.device)?;
        let mounts = active.as_ref().map(|info| self.host.fs.mounts(info.device)).transpose()?;
        let mounts = mounts.unwrap_or_default();
        Ok((self.look_at(container, active.as_ref(), &mounts), active, mounts))
    }

    /// Gives a container its node, `/dev/mapper/<pool>-<name>`, now and whenever the pool is activated.
    pub fn activate_container(&mut self, name: &ContainerName) -> Result<PathBuf, PoolError> {
        let (container, _lock) = self.claim(name.as_str())?;
        self.activate_claimed(&container)
    }

    /// The same of one that nobody else can work on.
    fn activate_claimed(&mut self, container: &Container) -> Result<PathBuf, PoolError> {
        self.activate_for_users(container)?;
        if !container.active {
            self.catalog.set_container_active(&container.name, true)?;
        }
        Ok(container.device.node.path())
    }

    /// Takes a container's node away, until it is activated again.
    pub fn deactivate_container(&mut self, name: &ContainerName) -> Result<(), PoolError> {
        let (container, _lock) = self.claim(name.as_str())?;
        self.refuse_if_mounted(&container)?;
        self.deactivate_device(&container.device, dm::Removal::Now)?;
        if container.active {
            self.catalog.set_container_active(&container.name, false)?;
        }
        Ok(())
    }

    /// Gives their nodes to all containers that are to have one whenever the pool is active. One that can't have it
    /// keeps no other from its own; those that can't, and why, are what is returned.
    pub fn activate_remembered(&mut self) -> Result<Vec<NotActivated>, PoolError> {
        let mut failed = Vec::new();
        for Container { name, .. } in self.catalog.remembered_containers()? {
            let claimed = self.claim(&name);
            match claimed.and_then(|(now, _lock)| self.activate_for_users(&now)) {
                // Removed by somebody since it was listed.
                Ok(()) | Err(PoolError::NoSuch { .. }) => {}
                Err(error) => failed.push(NotActivated { name, error }),
            }
        }
        Ok(failed)
    }

    /// Gives a container its node. What is in it is its user's business: a file system that can't be grown, or none at all, keeps
    /// nobody from the device.
    fn activate_for_users(&mut self, container: &Container) -> Result<(), PoolError> {
        if container.device.growing
            && self.active_device(&container.device)?.is_none()
            && let Err(error) = self.finish_growth(&container.device, Node::Goes)
        {
            tracing::warn!(container = container.name, %error, "its file system is smaller than its device");
        }
        self.activate_device(&container.device, Use::Users).map(drop)
    }

    /// A container that is ready, with the right to work on its device, which has the container's name.
    pub(super) fn claim(&self, name: &str) -> Result<(Container, Lock), PoolError> {
        let known = self.known_container(name)?;
        self.must_be_active()?;
        let lock = Lock::exclusive(&self.paths.device_lock(known.device.id), self.patience)?;
        // It may have been removed or renamed while we waited.
        match self.catalog.container(name)? {
            Some(now) if now.device.id == known.device.id && now.device.created == known.device.created => {
                self.settle_name(&now)?;
                Ok((now, lock))
            }
            _ => {
                // A lock's file stays with the device: another container may have the name of this one.
                if self.catalog.device(known.device.id)?.is_none() {
                    lock.remove()?;
                }
                Err(no_such(name))
            }
        }
    }

    /// A container that is ready.
    fn known_container(&self, name: &str) -> Result<Container, PoolError> {
        let ready = |container: &Container| container.device.state == DeviceState::Ready;
        self.catalog.container(name)?.filter(ready).ok_or_else(|| no_such(name))
    }

    /// What these tell of a container: its device, if that is active, and all mounts or those of the device.
    fn look_at(&self, container: Container, active: Option<&dm::Info>, mounts: &[Mount]) -> ContainerStatus {
        let Some(info) = active else {
            return ContainerStatus { container, path: None, mounts: Vec::new(), mapped: None };
        };
        let mounts = mounts.iter().filter(|mount| mount.device == info.device);
        let mounts = mounts.map(|mount| mount.at.clone()).collect();
        let mapped = match self.host.dm.thin_status(&info.name) {
            Ok(ThinStatus::Working(usage)) => Some(usage.mapped.bytes()),
            // It failed, or was removed since we looked.
            _ => None,
        };
        ContainerStatus { path: Some(info.name.path()), container, mounts, mapped }
    }

    fn refuse_if_mounted(&self, container: &Container) -> Result<(), PoolError> {
        let Some(info) = self.active_device(&container.device)? else { return Ok(()) };
        let at: Vec<PathBuf> = self.host.fs.mounts(info.device)?.into_iter().map(|mount| mount.at).collect();
        if at.is_empty() {
            return Ok(());
        }
        Err(PoolError::Mounted { what: format!("the container '{}'", container.name), at })
    }
}

fn no_such(name: &str) -> PoolError {
    PoolError::NoSuch { what: "container", name: name.to_owned() }
}

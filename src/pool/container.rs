//! Containers: writable snapshots of images, with a name.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::change::NewThin;
use super::destroy::remove_if_empty;
use super::device::{LARGEST, SIZE_STEP, Use};
use super::lock::Lock;
use super::{ContainerName, ImageName, Pool, PoolError, io_error, names};
use crate::catalog::{Container, Device, DeviceKind, DeviceState, Durability};
use crate::dm::{self, Removed, ThinStatus};
use crate::fs::{Mount, MountOptions, mounts_of};
use crate::units::Bytes;

/// A container to be made.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// Its name; `None` makes one up.
    pub name: Option<ContainerName>,
    /// The image it starts as.
    pub image: ImageName,
    /// Its size, if it is to be larger than the image's.
    pub size: Option<Bytes>,
}

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
    /// Makes a container of an image.
    pub fn create_container(&mut self, new: &NewContainer) -> Result<Container, PoolError> {
        let name = new.name.clone().map_or_else(|| made_up_name(&new.image), Ok)?;
        let node = names::container_device(&self.name, &name)?;
        self.free_name(&name, &node)?;
        let mut change = self.change()?;
        // Under the lock: an image that is being removed must not get a container on its way out.
        let image = change.pool.image(&new.image)?;
        let size = new.size.unwrap_or(image.device.size);
        if size < image.device.size {
            return Err(PoolError::TooSmall { asked: size, image: image.device.size });
        }
        if !size.0.is_multiple_of(SIZE_STEP.0) || size > LARGEST {
            return Err(PoolError::Size(size));
        }
        let is_larger = size > image.device.size;
        let becomes = if is_larger { DeviceState::Draft } else { DeviceState::Ready };
        let thin = NewThin { kind: DeviceKind::Container, origin: Some(&image.device), size, becomes };
        change.pool.refuse_taken_name(&name, &node)?;
        let device = change.create(
            &thin,
            |_| Ok(node.clone()),
            |transaction, device| container_of(device, &name, &new.image).insert(transaction),
        )?;
        // Growing is slow: the draft's own lock, taken before the pool's is let go, says that somebody is at it.
        let at_work = is_larger
            .then(|| Lock::exclusive(&change.pool.paths.device_lock(device.id), change.pool.patience));
        drop(change);
        if let Some(lock) = at_work.transpose()? {
            let grown = self.grow_new(&device);
            drop(lock);
            if let Err(cause) = grown {
                return Err(match self.reap_one(&device) {
                    Ok(()) => cause,
                    Err(cleanup) => PoolError::CleanUp { cause: cause.into(), cleanup: cleanup.into() },
                });
            }
        }
        Ok(container_of(&Device { state: DeviceState::Ready, ..device }, &name, &new.image))
    }

    /// All containers.
    pub fn containers(&self) -> Result<Vec<ContainerStatus>, PoolError> {
        self.catalog.containers()?.into_iter().map(|container| self.look_at(container)).collect()
    }

    /// Gives a container its node, `/dev/mapper/<pool>-<name>`, now and whenever the pool is activated.
    pub fn activate_container(&mut self, name: &ContainerName) -> Result<PathBuf, PoolError> {
        let (container, _lock) = self.claim(name.as_str())?;
        self.activate_device(&container.device, Use::Users)?;
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
        for Container { name, .. } in self.catalog.containers()?.into_iter().filter(|known| known.active) {
            let claimed = self.claim(&name);
            match claimed.and_then(|(now, _lock)| self.activate_device(&now.device, Use::Users)) {
                // Removed by somebody since it was listed.
                Ok(_) | Err(PoolError::NoSuch { .. }) => {}
                Err(error) => failed.push(NotActivated { name, error }),
            }
        }
        Ok(failed)
    }

    /// Mounts a container, at a directory or at one of the pool's own, and tells where. One that is mounted
    /// already, and nobody asked for another place, stays where it is.
    pub fn mount_container(&mut self, name: &ContainerName, at: Option<&Path>) -> Result<PathBuf, PoolError> {
        let found = |at: &Path| at.canonicalize().map_err(io_error("find the directory", at));
        let asked = at.map(found).transpose()?;
        let options = self.mount_options()?;
        let (container, _lock) = self.claim(name.as_str())?;
        let was_active = self.active_device(&container.device)?.is_some();
        let info = self.activate_device(&container.device, Use::Users)?;
        let mounted = mounts_of(info.device)?;
        let already = match &asked {
            Some(asked) => mounted.iter().find(|mount| mount.at == *asked),
            None => mounted.first(),
        };
        if let Some(already) = already {
            return Ok(already.at.clone());
        }
        match self.mount_at(&container, name, asked, &options) {
            Ok(at) => Ok(at),
            Err(cause) if was_active => Err(cause),
            Err(cause) => Err(match self.deactivate_device(&container.device, dm::Removal::Now) {
                Ok(_) => cause,
                Err(cleanup) => PoolError::CleanUp { cause: cause.into(), cleanup: cleanup.into() },
            }),
        }
    }

    fn mount_at(
        &self,
        container: &Container,
        name: &ContainerName,
        asked: Option<PathBuf>,
        options: &MountOptions,
    ) -> Result<PathBuf, PoolError> {
        let at = asked.map_or_else(|| self.own_mount_point(name), Ok)?;
        let filesystem = self.record.policy.filesystem;
        self.host.fs.mount(filesystem, &container.device.node.path(), &at, options)?;
        Ok(at)
    }

    /// Unmounts a container everywhere in our namespace, and takes its node away, unless somebody activated it to
    /// keep it.
    pub fn unmount_container(&mut self, name: &ContainerName) -> Result<(), PoolError> {
        let (container, _lock) = self.claim(name.as_str())?;
        let not_mounted = || PoolError::NotMounted(name.to_string());
        let info = self.active_device(&container.device)?.ok_or_else(not_mounted)?;
        let mounted = mounts_of(info.device)?;
        if mounted.is_empty() {
            return Err(not_mounted());
        }
        // The newest first: one may lie on another.
        for mount in mounted.iter().rev() {
            refuse_if_covered(mount)?;
            self.host.fs.unmount(&mount.at)?;
        }
        self.remove_own_mount_point(name)?;
        if container.active {
            return Ok(());
        }
        // Another namespace may still have it mounted: then the kernel removes the node when that one lets go.
        if self.deactivate_device(&container.device, self.usual_removal())? == Removed::WhenClosed {
            tracing::warn!(device = %container.device.node, "still in use elsewhere; the node goes when it is closed");
        }
        Ok(())
    }

    /// Removes a container. Its blocks are freed at once, or, if its device is in use and deletion may be
    /// deferred, when it no longer is.
    pub fn remove_container(&mut self, name: &ContainerName) -> Result<(), PoolError> {
        let (container, lock) = self.claim(name.as_str())?;
        self.refuse_if_mounted(&container)?;
        match self.active_device(&container.device)? {
            Some(info) if info.open_count > 0 && !self.record.policy.deferred_deletion => {
                return Err(PoolError::InUse { device: info.name, open_count: info.open_count });
            }
            _ => {}
        }
        let change = self.change()?;
        change.pool.catalog.remove_container(&container)?;
        drop(change);
        self.remove_own_mount_point(name)?;
        drop(lock);
        // This one, and others that were removed while they were in use and may be free by now.
        self.reap()
    }

    /// A container that is ready, with the right to work on its device.
    pub(super) fn claim(&self, name: &str) -> Result<(Container, Lock), PoolError> {
        let no_such = || PoolError::NoSuch { what: "container", name: name.to_string() };
        let ready = |container: &Container| container.device.state == DeviceState::Ready;
        let container = self.catalog.container(name)?.filter(ready).ok_or_else(no_such)?;
        self.must_be_active()?;
        let lock = Lock::exclusive(&self.paths.device_lock(container.device.id), self.patience)?;
        // It may have been removed while we waited.
        match self.catalog.container(name)? {
            Some(now) if now.device == container.device => Ok((container, lock)),
            _ => {
                lock.remove()?;
                Err(no_such())
            }
        }
    }

    fn look_at(&self, container: Container) -> Result<ContainerStatus, PoolError> {
        let Some(info) = self.active_device(&container.device)? else {
            return Ok(ContainerStatus { container, path: None, mounts: Vec::new(), mapped: None });
        };
        let mounts = mounts_of(info.device)?.into_iter().map(|mount| mount.at).collect();
        let mapped = match self.host.dm.thin_status(&container.device.node) {
            Ok(ThinStatus::Working(usage)) => Some(usage.mapped.bytes()),
            // It failed, or was removed since we looked.
            _ => None,
        };
        Ok(ContainerStatus { path: Some(container.device.node.path()), container, mounts, mapped })
    }

    fn refuse_if_mounted(&self, container: &Container) -> Result<(), PoolError> {
        let Some(info) = self.active_device(&container.device)? else { return Ok(()) };
        let at: Vec<PathBuf> = mounts_of(info.device)?.into_iter().map(|mount| mount.at).collect();
        if at.is_empty() {
            return Ok(());
        }
        Err(PoolError::Mounted { what: format!("the container '{}'", container.name), at })
    }

    /// Frees a name that is only kept by a container nobody needs any more: one whose creation was killed, or one that
    /// was removed while it was in use and has been closed since.
    fn free_name(&mut self, name: &ContainerName, node: &dm::Name) -> Result<(), PoolError> {
        let unfinished = self.catalog.container(name.as_str())?.map(|container| container.device);
        for device in [unfinished, self.catalog.device_by_node(node)?].into_iter().flatten() {
            self.reap_one(&device)?;
        }
        Ok(())
    }

    fn refuse_taken_name(&self, name: &ContainerName, node: &dm::Name) -> Result<(), PoolError> {
        if self.catalog.container(name.as_str())?.is_some() {
            return Err(PoolError::NameTaken { what: "container", name: name.to_string() });
        }
        if self.catalog.device_by_node(node)?.is_some() {
            return Err(PoolError::NameLingers(name.to_string()));
        }
        Ok(())
    }

    /// Grows a new container's file system to its device's size, and makes it ready.
    fn grow_new(&mut self, device: &Device) -> Result<(), PoolError> {
        let info = self.activate_device(device, Use::Own)?;
        let policy = &self.record.policy;
        self.host.fs.grow(policy.filesystem, &info.device.kernel_node(), device.size)?;
        self.deactivate_device(device, dm::Removal::Now)?;
        Ok(self.catalog.set_device_state(device.id, DeviceState::Ready, Durability::Synced)?)
    }

    fn own_mount_point(&self, name: &ContainerName) -> Result<PathBuf, PoolError> {
        let path = self.paths.mounts().join(name.as_str());
        crate::backing::make_private_directory(&path)?;
        Ok(path)
    }

    fn remove_own_mount_point(&self, name: &ContainerName) -> Result<(), PoolError> {
        remove_if_empty(&self.paths.mounts().join(name.as_str()))
    }
}

/// Refuses when something else was mounted over a mount: by its path that one would be unmounted.
fn refuse_if_covered(mount: &Mount) -> Result<(), PoolError> {
    let top = mount.at.metadata().map_err(io_error("look at", &mount.at))?.dev();
    if dm::DeviceNumber::from_dev(top) == mount.device {
        return Ok(());
    }
    Err(PoolError::Covered(mount.at.clone()))
}

fn container_of(device: &Device, name: &ContainerName, image: &ImageName) -> Container {
    Container {
        name: name.to_string(),
        device: device.clone(),
        image: image.to_string(),
        created: device.created,
        active: false,
    }
}

/// A name from the image's last part and some random digits: `debian-3f9c21`.
fn made_up_name(image: &ImageName) -> Result<ContainerName, PoolError> {
    let last = image.as_str().rsplit('/').next().unwrap_or_default();
    let stem: String =
        last.chars().take_while(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).take(48).collect();
    let digits = &uuid::Uuid::new_v4().simple().to_string()[..6];
    let name = format!("{stem}-{digits}");
    // "c" in front mends the stems that are no names by themselves, such as "" or "image-…".
    name.parse()
        .or_else(|_| format!("c{name}").parse())
        .map_err(|error: super::NameRefused| PoolError::NoSuch { what: "container", name: error.to_string() })
}

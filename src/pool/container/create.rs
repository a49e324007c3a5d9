//! A new container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Labels, MountRequest, no_such};
use crate::catalog::{Container, Device, DeviceKind, DeviceState, Durability};
use crate::dm;
use crate::pool::change::{Change, NewThin};
use crate::pool::device::Use;
use crate::pool::grow::check_size;
use crate::pool::lock::Lock;
use crate::pool::{ContainerName, ImageName, NameRefused, Pool, PoolError, names};
use crate::units::Bytes;

/// Whether who makes a container keeps it from others until he has put it to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    AtOnce,
    Never,
}

/// A container to be made.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// Its name; `None` makes one up.
    pub name: Option<ContainerName>,
    /// The image it starts as.
    pub image: ImageName,
    /// Its size, if it is to be larger than the image's.
    pub size: Option<Bytes>,
    /// What is to be noted on it.
    pub labels: Labels,
}

impl Pool<'_> {
    /// Makes a container of an image.
    pub fn create_container(&mut self, new: &NewContainer) -> Result<Container, PoolError> {
        self.make_container(new, Claim::Never).map(|(container, _)| container)
    }

    /// Makes a container and mounts it, and tells where. One that can't be mounted goes again.
    pub fn create_and_mount(
        &mut self,
        new: &NewContainer,
        request: &MountRequest,
    ) -> Result<(Container, PathBuf), PoolError> {
        let (request, options) = self.understood(request)?;
        self.create_for(new, |pool, container| pool.mount_claimed(container, &request, options))
    }

    /// Makes a container and gives it its node, now and whenever the pool is activated. One that can't have it goes again.
    pub fn create_and_activate(&mut self, new: &NewContainer) -> Result<(Container, PathBuf), PoolError> {
        self.create_for(new, Self::activate_claimed)
    }

    /// Makes a container that nobody else can work on before it is put to use, or gone again since it can't be.
    fn create_for<T>(
        &mut self,
        new: &NewContainer,
        put_to_use: impl FnOnce(&mut Self, &Container) -> Result<T, PoolError>,
    ) -> Result<(Container, T), PoolError> {
        let (container, lock) = self.make_container(new, Claim::AtOnce)?;
        let Some(lock) = lock else {
            // Somebody was faster, and may have put something in it: it is like any other that was there before.
            let (now, _lock) = self.claim(&container.name)?;
            if (now.device.id, now.device.created) != (container.device.id, container.device.created) {
                return Err(no_such(&container.name));
            }
            return put_to_use(self, &now).map(|used| (now, used));
        };
        match put_to_use(self, &container) {
            Ok(used) => Ok((container, used)),
            Err(cause) => {
                Err(cause.after_cleaning_up(self.remove_claimed(&container, lock, false).map(drop)))
            }
        }
    }

    /// Makes a container, and claims it if that is asked for and nobody else has by then.
    fn make_container(
        &mut self,
        new: &NewContainer,
        claim: Claim,
    ) -> Result<(Container, Option<Lock>), PoolError> {
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
        check_size(size)?;
        let is_larger = size > image.device.size;
        let becomes = if is_larger { DeviceState::Draft } else { DeviceState::Ready };
        let thin = NewThin { kind: DeviceKind::Container, origin: Some(&image.device), size, becomes };
        change.pool.refuse_taken_name(&name, &node)?;
        let container = |device: &Device| Container {
            name: name.to_string(),
            device: device.clone(),
            image: new.image.to_string(),
            created: device.created,
            active: false,
            labels: BTreeMap::from(new.labels.clone()),
        };
        let device = change.create(
            &thin,
            |_| Ok(node.clone()),
            |transaction, device| container(device).insert(transaction),
        )?;
        let lock = claim_new(&mut change, &container(&device), claim)?;
        drop(change);
        if is_larger && let Err(cause) = self.grow_new(&device) {
            let freed = lock.map_or(Ok(()), |lock| self.free(&device, lock));
            return Err(cause.after_cleaning_up(freed));
        }
        Ok((container(&Device { state: DeviceState::Ready, ..device }), lock))
    }

    /// Frees a name that is only kept by a container nobody needs any more: one whose creation was killed, or one that
    /// was removed while it was in use and has been closed since.
    pub(super) fn free_name(&mut self, name: &ContainerName, node: &dm::Name) -> Result<(), PoolError> {
        let unfinished = self.catalog.container(name.as_str())?.map(|container| container.device);
        for device in [unfinished, self.catalog.device_by_node(node)?].into_iter().flatten() {
            self.reap_one(&device)?;
        }
        Ok(())
    }

    pub(super) fn refuse_taken_name(&self, name: &ContainerName, node: &dm::Name) -> Result<(), PoolError> {
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
        let (kind, node) = (self.record.policy.filesystem, info.device.kernel_node());
        self.host.fs.grow(kind, &node, device.size, &self.disposable_mount())?;
        self.deactivate_device(device, dm::Removal::Now)?;
        Ok(self.catalog.set_device_state(device.id, DeviceState::Ready, Durability::Synced)?)
    }
}

/// The lock of a container that was made just now, by who still has the pool's: `reap_one` needs that to take a draft for one that
/// nobody works on. Who has claimed what is ready may be waiting for the pool's, so he isn't waited for.
fn claim_new(change: &mut Change<'_, '_>, made: &Container, claim: Claim) -> Result<Option<Lock>, PoolError> {
    let path = change.pool.paths.device_lock(made.device.id);
    if made.device.state == DeviceState::Draft {
        return Ok(Some(Lock::exclusive(&path, change.pool.patience)?));
    }
    if claim == Claim::Never {
        return Ok(None);
    }
    Lock::try_exclusive(&path).map_err(|cause| {
        let removed = change.pool.catalog.remove_container(made).map_err(PoolError::from);
        PoolError::from(cause).after_cleaning_up(removed)
    })
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
        .map_err(|error: NameRefused| PoolError::NoSuch { what: "container", name: error.to_string() })
}

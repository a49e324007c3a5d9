//! A new container.

use std::collections::BTreeMap;

use super::Labels;
use crate::catalog::{Container, Device, DeviceKind, DeviceState, Durability};
use crate::dm;
use crate::pool::change::NewThin;
use crate::pool::device::Use;
use crate::pool::grow::check_size;
use crate::pool::lock::Lock;
use crate::pool::{ContainerName, ImageName, NameRefused, Pool, PoolError, names};
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
    /// What is to be noted on it.
    pub labels: Labels,
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
        // Growing is slow: the draft's own lock, taken before the pool's is let go, says that somebody is at it.
        let at_work = is_larger
            .then(|| Lock::exclusive(&change.pool.paths.device_lock(device.id), change.pool.patience));
        drop(change);
        if let Some(lock) = at_work.transpose()?
            && let Err(cause) = self.grow_new(&device)
        {
            return Err(cause.after_cleaning_up(self.free(&device, lock)));
        }
        Ok(container(&Device { state: DeviceState::Ready, ..device }))
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

//! Layers of images while they are made: a snapshot of the layer below, mounted where only this process reaches it.

use std::path::Path;

use super::change::NewThin;
use super::device::Use;
use super::lock::Lock;
use super::reading::Reading;
use super::{ContainerName, Host, Location, Pool, PoolError, names};
use crate::catalog::{Container, Device, DeviceKind, DeviceState, Layer};
use crate::dm::{Mode, PoolStatus, Removal};
use crate::fs::{Detached, MountOptions};
use crate::units::Bytes;

/// Makes layers, one after the other. While it lives, no finished layer is tidied away.
pub struct DraftStore<'h> {
    host: &'h Host,
    location: Location,
    _importing: Lock,
}

/// A layer that is being filled. Dropping it discards it.
pub struct Draft<'h> {
    pool: Pool<'h>,
    device: Device,
    /// Held for as long as somebody fills the layer: what tells a draft at work from one whose process died.
    lock: Option<Lock>,
    mount: Option<Detached>,
}

impl<'h> DraftStore<'h> {
    /// Where layers of a pool are made, after what earlier imports left half made was tidied away.
    pub fn open(host: &'h Host, location: &Location) -> Result<Self, PoolError> {
        let mut pool = Pool::open(host, location)?;
        pool.must_be_active()?;
        pool.reap()?;
        let importing = Lock::shared(&pool.paths.import_lock(), location.patience)?;
        Ok(Self { host, location: location.clone(), _importing: importing })
    }

    /// Whether a layer is there, by its chain id.
    pub fn contains(&self, chain: &str) -> Result<bool, PoolError> {
        Ok(self.pool()?.catalog.layer(chain)?.is_some())
    }

    /// A new layer on top of another, or of the base.
    pub fn draft(&self, parent: Option<&str>) -> Result<Draft<'h>, PoolError> {
        let pool = self.pool()?;
        let origin = pool.layer_or_base(parent)?;
        let options = pool.disposable_mount();
        Draft::new(pool, &origin, &options)
    }

    /// A container as it is at this moment, as a layer that isn't finished. What its file system's journal holds is
    /// in its place. If it is in use it stays so; its writes wait for as long as the kernel takes for the snapshot.
    pub fn snapshot(&self, name: &ContainerName) -> Result<(Container, Draft<'h>), PoolError> {
        // Nobody makes it active between our look at it and the snapshot: of an active one that isn't suspended the
        // kernel would take a torn one.
        let pool = self.pool()?;
        let (container, _lock) = pool.claim(name.as_str())?;
        pool.write_back(&container.device)?;
        let options = pool.disposable_mount().without_access_times();
        let draft = Draft::new(pool, &container.device, &options)?;
        Ok((container, draft))
    }

    /// A finished layer, or the base, to be read.
    pub fn read(&self, chain: Option<&str>) -> Result<Reading<'h>, PoolError> {
        let pool = self.pool()?;
        let device = pool.layer_or_base(chain)?;
        Reading::new(pool, device)
    }

    fn pool(&self) -> Result<Pool<'h>, PoolError> {
        Pool::open(self.host, &self.location)
    }
}

impl<'h> Draft<'h> {
    fn new(mut pool: Pool<'h>, origin: &Device, options: &MountOptions) -> Result<Self, PoolError> {
        let thin = NewThin {
            kind: DeviceKind::Image,
            origin: Some(origin),
            // A layer below that is older than the base's growth is smaller: this one makes up for it.
            size: origin.size.max(pool.record.policy.base_size),
            becomes: DeviceState::Draft,
        };
        let name = pool.name.clone();
        let mut change = pool.change()?;
        let device = change.create(&thin, |id| names::layer_device(&name, id), |_, _| Ok(true))?;
        // Taken before the pool's lock is let go: between the two nobody could tell that we are at it.
        let lock = Lock::exclusive(&change.pool.paths.device_lock(device.id), change.pool.patience)?;
        drop(change);
        let mut draft = Self { pool, device, lock: Some(lock), mount: None };
        let info = draft.pool.activate_device(&draft.device, Use::Own)?;
        let (filesystem, node) = (draft.pool.record.policy.filesystem, info.device.kernel_node());
        if origin.growing || draft.device.size > origin.size {
            let size = draft.device.size;
            draft.pool.host.fs.grow(filesystem, &node, size, &draft.pool.disposable_mount())?;
        }
        draft.mount = Some(draft.pool.host.fs.mount_detached(filesystem, &node, options)?);
        Ok(draft)
    }
}

impl Draft<'_> {
    /// The layer's root directory, for this process only.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.mount.as_ref().map_or(Path::new("/nonexistent"), Detached::root)
    }

    /// Whether the pool is why writing failed: the file system on a full pool knows only of I/O errors.
    #[must_use]
    pub fn diagnosis(&self) -> Option<PoolError> {
        match self.pool.host.dm.pool_status(&self.pool.device) {
            Ok(PoolStatus::Working(usage)) if usage.mode == Mode::OutOfDataSpace => {
                Some(PoolError::RanFull(self.pool.name.to_string()))
            }
            _ => self.pool.usage().err(),
        }
    }

    /// Makes the layer durable and known. If another import made the same one meanwhile, this one is discarded.
    pub fn commit(
        mut self,
        chain: &str,
        diff: &str,
        parent: Option<&str>,
        content: Bytes,
    ) -> Result<(), PoolError> {
        if let Some(mount) = self.mount.take() {
            mount.close().map_err(|error| self.diagnosis().unwrap_or(error.into()))?;
        }
        self.pool.deactivate_device(&self.device, Removal::Now)?;
        let layer = Layer {
            chain: chain.to_owned(),
            diff: diff.to_owned(),
            parent: parent.map(str::to_owned),
            content,
            device: self.device.id,
        };
        if self.pool.catalog.finish_layer(&layer)? {
            self.lock = None;
            return Ok(());
        }
        self.clear()
    }

    /// Removes the layer.
    pub fn discard(mut self) -> Result<(), PoolError> {
        self.clear()
    }

    fn clear(&mut self) -> Result<(), PoolError> {
        self.mount = None;
        match self.lock.take() {
            Some(lock) => self.pool.free(&self.device, lock),
            None => Ok(()),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(device = %self.device.node, %error, "a half-made layer stays until the next command");
        }
    }
}

impl Pool<'_> {
    /// Has what was written to a device in use brought there: for a snapshot a file system on it is frozen, which writes what it
    /// still has, and until then nobody else can change the pool.
    fn write_back(&self, device: &Device) -> Result<(), PoolError> {
        let Some(info) = self.active_device(device)? else { return Ok(()) };
        // XFS tries for ever to write what the pool has no room for. A snapshot is refused then.
        if info.open_count > 0
            && !self.usage()?.is_full()
            && let Err(error) = self.host.fs.write_back(&info.device.kernel_node())
        {
            tracing::warn!(device = %info.name, %error, "not all of it could be written before the snapshot");
        }
        Ok(())
    }

    /// The device of a layer, or the base.
    fn layer_or_base(&self, parent: Option<&str>) -> Result<Device, PoolError> {
        let device = match parent {
            None => self.catalog.base()?,
            Some(chain) => match self.catalog.layer(chain)? {
                Some(layer) => self.catalog.device(layer.device)?,
                None => None,
            },
        };
        let name = parent.unwrap_or("base").to_owned();
        device.ok_or(PoolError::Vanished { what: "layer", name })
    }
}

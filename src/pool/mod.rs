//! The verbs: what can be done with a pool, each a call.

mod activate;
mod activity;
mod backing;
mod base;
mod change;
pub mod check;
mod container;
mod destroy;
mod device;
mod error;
pub mod extend;
mod family;
mod grow;
mod holders;
mod host;
mod image;
mod largest;
mod layer;
mod lock;
mod metadata;
mod metadata_check;
mod moment;
mod names;
mod observe;
mod paths;
mod reading;
mod reap;
mod repair;
mod rescue;
mod scarcity;
mod setup;
pub mod status;
#[cfg(test)]
mod tests;
mod trend;
pub mod trim;
mod usage;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use activate::low_water_mark;
pub use activate::{Activated, Deactivated};
pub use activity::DeviceActivity;
pub use container::{
    ContainerDetails, ContainerStatus, Label, LabelRefused, Labels, MountRequest, NewContainer, NewSize,
    NotActivated, Renamed, Resized,
};
pub use error::{Difference, PoolError};
pub use extend::ExtendError;
pub use family::{Member, Role};
pub use grow::Grown;
pub use holders::Holders;
pub use host::Host;
pub use image::{ImageDetails, ImageStatus, Pruned, Unused};
pub use layer::{Draft, DraftStore};
use lock::Lock;
pub use lock::LockError;
pub use metadata_check::Checking;
pub use names::{ContainerName, ImageName, NameRefused};
pub use paths::Paths;
pub use reading::Reading;
pub use repair::{Orphans, Rebuild, RebuildFrom, Rebuilt, Repaired};
pub use rescue::{
    BackedUp, BackedUpDevice, BackupMoment, Backups, Generation, Kept, MadeOf, MetadataBackup, Outlook,
    RenewalPlan, Renewed, RescueError, RestorePlan, Restored, UnreadableBackup,
};
pub use scarcity::Scarcity;
pub use setup::{SetUp, Setup, Wanted};
pub use trend::{Sample, Trend};
pub use usage::{Branch, DeviceShare, DeviceUsage, Usage};
pub use watch::{Pulse, Watch};

use crate::backing::Backing;
use crate::catalog::{Catalog, PoolFile, PoolRecord, PoolState};
use crate::dm;
use crate::fs::MountOptions;
use crate::units::PoolName;

/// A pool that is set up.
pub struct Pool<'h> {
    host: &'h Host,
    name: PoolName,
    paths: Paths,
    catalog: Catalog,
    record: PoolRecord,
    device: dm::Name,
    patience: Duration,
    device_patience: Duration,
    backups: u32,
}

impl Drop for Pool<'_> {
    /// Empties a catalog's log that has become long, unless somebody is about to write to it: then he does it.
    fn drop(&mut self) {
        if steps::is_dead() || !self.catalog.leaves_a_long_log() {
            return;
        }
        let Some(_idle) = Lock::for_a_moment(&self.paths.change_lock()) else { return };
        if let Err(error) = self.catalog.empty_log() {
            tracing::debug!(pool = %self.name, %error, "the catalog's log stays as it is");
        }
    }
}

/// Which pool, and how to go about it.
#[derive(Debug, Clone)]
pub struct Location {
    /// The pool's name.
    pub name: PoolName,
    /// The directory of all pools.
    pub root: PathBuf,
    /// How long to wait for another process's lock.
    pub patience: Duration,
    /// How long to wait for a device under the pool to appear.
    pub device_patience: Duration,
    /// How many backups of the metadata are kept; with 0 none is made unless somebody asks for one.
    pub metadata_backups: u32,
}

impl Location {
    /// The pool's paths.
    #[must_use]
    pub fn paths(&self) -> Paths {
        Paths::new(&self.root, &self.name)
    }

    /// Every pool under the same root, by name, however far its life has come.
    pub fn all_under_its_root(&self) -> Result<Vec<Self>, PoolError> {
        let listed = match self.root.read_dir() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.and_then(Iterator::collect::<Result<Vec<_>, _>>),
        };
        let names = listed.map_err(io_error("list", &self.root))?.into_iter().map(|entry| entry.file_name());
        let mut pools: Vec<_> = names
            .filter_map(|name| name.to_str()?.parse().ok())
            .map(|name| Self { name, ..self.clone() })
            .filter(|pool| {
                let catalog = pool.paths().catalog();
                catalog.exists() || PoolFile::beside(&catalog).exists()
            })
            .collect();
        pools.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pools)
    }

    fn absent(&self) -> PoolError {
        PoolError::Absent { pool: self.name.to_string(), root: self.root.clone() }
    }
}

impl<'h> Pool<'h> {
    /// Opens a pool that is set up, active or not.
    pub fn open(host: &'h Host, location: &Location) -> Result<Self, PoolError> {
        let pool = Self::open_in_any_state(host, location)?.ok_or_else(|| location.absent())?;
        match pool.record.state {
            PoolState::Ready => Ok(pool),
            PoolState::SettingUp => Err(PoolError::HalfSetUp(location.name.to_string())),
            PoolState::Destroying => Err(PoolError::HalfDestroyed(location.name.to_string())),
        }
    }

    /// Opens a pool however far its life has come, or `None` where there is nothing.
    fn open_in_any_state(host: &'h Host, location: &Location) -> Result<Option<Self>, PoolError> {
        let paths = location.paths();
        let found = match Catalog::open(&paths.catalog())? {
            Some(catalog) => catalog.pool()?.map(|record| (catalog, record)),
            None => None,
        };
        match found {
            Some((catalog, record)) => Self::new(host, location, catalog, record).map(Some),
            // Only of a pool that was ready there is this file; it goes before the catalog does.
            None if PoolFile::beside(&paths.catalog()).exists() => {
                Err(PoolError::CatalogMissing { pool: location.name.to_string(), catalog: paths.catalog() })
            }
            None => Ok(None),
        }
    }

    fn new(
        host: &'h Host,
        location: &Location,
        catalog: Catalog,
        record: PoolRecord,
    ) -> Result<Self, PoolError> {
        let device = match &record.backing {
            Backing::ThinPool(existing) => dm::Name::new(existing.name.as_str())?,
            Backing::Loop(_) | Backing::Devices(_) => names::pool_device(&location.name)?,
        };
        let (name, paths) = (location.name.clone(), location.paths());
        let (patience, device_patience) = (location.patience, location.device_patience);
        let backups = location.metadata_backups;
        Ok(Self { host, name, paths, catalog, record, device, patience, device_patience, backups })
    }

    /// The pool's name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// What was decided at setup.
    #[must_use]
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// How something of the pool is mounted that somebody asked for: with the pool's own options, and these after them, since
    /// the later beats the earlier.
    fn mount_options(&self, more: &[String]) -> Result<MountOptions, PoolError> {
        let policy = &self.record.policy;
        Ok(MountOptions::parse(&[&policy.mount_options[..], more].concat())?
            .with_xfs_nospace_retries(policy.xfs_nospace_max_retries)
            .where_unwritten_is_zero(policy.zero_new_blocks))
    }

    /// The same for ourselves, see [`MountOptions::disposable`].
    fn disposable_mount(&self) -> MountOptions {
        MountOptions::disposable().where_unwritten_is_zero(self.record.policy.zero_new_blocks)
    }

    /// The pool's own device-mapper device, if it is active. A device of that name that isn't this pool's is an
    /// error: nothing may be done to it.
    fn active(&self) -> Result<Option<dm::Info>, PoolError> {
        self.host.find_ours(&self.device, &self.dm_uuid())
    }

    /// The uuid that the pool's device has in device-mapper.
    fn dm_uuid(&self) -> dm::Uuid {
        match &self.record.backing {
            Backing::ThinPool(existing) => dm::Uuid::of_somebody_else(&existing.uuid),
            Backing::Loop(_) | Backing::Devices(_) => dm::Uuid::of_pool(&self.record.uuid),
        }
    }

    /// The pool's own device, which must be active.
    fn must_be_active(&self) -> Result<dm::Info, PoolError> {
        self.active()?.filter(|info| info.live).ok_or_else(|| PoolError::NotActive(self.name.to_string()))
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}

/// An I/O error, with what was tried and on what.
fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PoolError {
    move |source| PoolError::Io { action, path: path.to_owned(), source }
}

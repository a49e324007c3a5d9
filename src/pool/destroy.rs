//! Taking a pool away, with everything that belongs to it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::lock::Lock;
use super::metadata::keep_readers_out;
use super::rescue::remove_backups;
use super::setup::existing;
use super::{Host, Location, Paths, Pool, PoolError, io_error, names};
use crate::backing::{Backing, Volumes};
use crate::catalog::{Catalog, PoolFile, PoolState};
use crate::dm::{PoolMessage, Removal, Uuid};
use crate::files;
use crate::units::TransactionId;

/// Between two tries to remove nodes that are open: nothing tells when they no longer are.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl Location {
    /// Destroys the pool, however far its life has come. Refused while anything in it is in use. A destroy that was
    /// killed is finished by the next.
    ///
    /// Whoever says `abandon` gives up what the pool lay on, where that is gone for good: a thin pool of somebody else's, which
    /// otherwise must be active for our devices to be deleted from it.
    pub fn destroy(&self, host: &Host, abandon: bool) -> Result<(), PoolError> {
        let paths = self.paths();
        if !paths.directory().try_exists().map_err(io_error("look for", paths.directory()))? {
            return Err(self.absent());
        }
        let ours = [paths.life_lock(), paths.catalog()];
        if !ours.iter().any(|file| file.exists()) {
            // Whatever the directory is, it is no pool's; an empty one a setup left that died at once.
            remove_if_empty(paths.directory())?;
            return Err(self.absent());
        }
        // Before the right that keeps the pool from growing, which is not to wait with us.
        drop(keep_readers_out(&paths, self.patience)?);
        let life = match Lock::exclusive(&paths.life_lock(), self.patience) {
            // Another destroy was at work, and is done.
            Err(error) if error.is_not_found() => return Err(self.absent()),
            lock => lock?,
        };
        let Some(mut pool) = Pool::open_in_any_state(host, self)? else {
            // A setup that died before it wrote anything down, or a destroy that died after it removed that: then
            // nothing of it can be active.
            let device = names::pool_device(&self.name)?;
            if host.dm.find(&device)?.is_some() {
                return Err(PoolError::CatalogLost { device, catalog: paths.catalog() });
            }
            return remove_directory(&paths, life);
        };
        // What a half-made or half-destroyed pool has open is what its dead maker left: clearing waits for it.
        if pool.record.state == PoolState::Ready {
            pool.refuse_if_in_use().map_err(|error| pool.explained(error))?;
        }
        pool.clear(abandon)?;
        remove_directory(&paths, life)
    }
}

impl Pool<'_> {
    /// Removes everything of the pool but its directory. The catalog goes last: as long as anything is left, it
    /// says that the pool is being destroyed.
    pub(super) fn clear(&mut self, abandon: bool) -> Result<(), PoolError> {
        let readers = self.keep_readers_out()?;
        self.remove_idle_devices()?;
        let change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        // What can be refused comes first: until here nothing is lost.
        self.remove_nodes_patiently()?;
        self.refuse_to_give_back(abandon)?;
        if self.record.state == PoolState::Ready {
            self.catalog.set_pool_state(PoolState::Destroying)?;
            self.record.state = PoolState::Destroying;
        }
        // Who waits to back the metadata up finds that there is nothing to back up any more.
        drop(readers);
        // Without its log the file alone must not look like a pool that is ready.
        self.catalog.fold()?;
        // Whoever waits for the lock finds no pool, unless it is somebody else's: in that one he could still make a device.
        let _change = matches!(self.record.backing, Backing::ThinPool(_)).then_some(change);
        self.remove_replaced()?;
        remove_backups(&self.paths.backups())?;
        self.give_back_backing(abandon)?;
        PoolFile::remove(&self.paths.catalog())?;
        for file in Catalog::files(&self.paths.catalog()) {
            remove_if_there(&file)?;
        }
        Ok(())
    }

    /// Gives back what the pool lies on: files and volumes that were made for it go, devices are left blank, somebody
    /// else's thin pool is left empty.
    fn give_back_backing(&mut self, abandon: bool) -> Result<(), PoolError> {
        match &self.record.backing {
            Backing::Loop(loopback) => {
                for stranger in loopback.files.remove(&self.record.uuid, loopback.ids)? {
                    tracing::warn!(path = %stranger.display(), "not the file that this pool was made with: left alone");
                }
                loopback.files.data.parent().map_or(Ok(()), remove_if_empty)
            }
            Backing::Devices(devices) => {
                self.wipe_members(devices)?;
                if let Some(spare) = devices.spare.as_deref() {
                    Volumes::take_back_disks(&lvm::Lvm::find()?, std::slice::from_ref(spare))?;
                }
                match &devices.volumes {
                    Some(volumes) => Ok(volumes.remove(&lvm::Lvm::find()?, &self.record.uuid)?),
                    None => Ok(()),
                }
            }
            Backing::ThinPool(_) => self.empty_existing(abandon),
        }
    }

    /// What can keep the pool from giving back what it lies on, found out while nothing is lost yet.
    fn refuse_to_give_back(&self, abandon: bool) -> Result<(), PoolError> {
        match &self.record.backing {
            Backing::Loop(_) => Ok(()),
            Backing::Devices(devices) => {
                // Devices that were not taken stay as they are, whoever uses them by now.
                if devices.taken {
                    self.unused_members()?;
                }
                let Some(volumes) = &devices.volumes else { return Ok(()) };
                Ok(volumes.refuse_removal(&lvm::Lvm::find()?, &self.record.uuid)?)
            }
            Backing::ThinPool(existing) => match self.active() {
                Ok(None) if !abandon => Err(PoolError::ExistingUnreachable(existing.name.clone())),
                // Another one of its name: ours is gone.
                Ok(_) | Err(PoolError::Foreign { .. }) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }

    /// Deletes our devices from somebody else's thin pool, and takes its transaction id back to what it was. Only as long as
    /// its transaction id is ours: else somebody else works with it by now, and its devices aren't ours whatever their ids.
    fn empty_existing(&self, abandon: bool) -> Result<(), PoolError> {
        match self.active() {
            Ok(Some(_)) => {}
            Ok(None) if !abandon => return Err(PoolError::ExistingUnreachable(self.device.to_string())),
            Ok(None) | Err(PoolError::Foreign { .. }) => {
                tracing::warn!(pool = %self.device, "not there, so nothing was deleted from it");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let (from, known) = (self.usage()?.transaction_id, self.catalog.transaction_id()?);
        let to = TransactionId::default();
        let intended = self.catalog.intent()?.map(|intent| intent.before.next());
        if from != known && Some(from) != intended && from != to {
            tracing::warn!(pool = %self.device, expected = %known, found = %from, "somebody else works with it: left alone");
            return Ok(());
        }
        let pool = self.must_be_active()?;
        let ours = Uuid::prefix_of(&self.record.uuid);
        if let Some(device) = existing::device_in(self.host, &pool, Some(&ours))? {
            let whose = device.told();
            tracing::warn!(pool = %self.device, %whose, "somebody else works with it: left alone");
            return Ok(());
        }
        // The id goes back last: a destroy that was killed then had deleted every device, and what is there is another's.
        if from == to && known != to {
            return Ok(());
        }
        self.release_left_snapshot()?;
        // At the id it was found with, this pool has acknowledged no device; only one of an intent may be there.
        let intent_only = from == to;
        for id in self.catalog.device_ids()? {
            match self.host.dm.message(&self.device, &PoolMessage::Delete(id)) {
                Err(error) if error.errno() == Some(Errno::ENODATA) => {}
                Err(error) if intent_only => {
                    tracing::warn!(pool = %self.device, %id, %error, "not deleted: it may be somebody else's");
                }
                result => result?,
            }
        }
        if from != to {
            self.host.dm.message(&self.device, &PoolMessage::SetTransactionId { from, to })?;
        }
        Ok(())
    }

    /// Removes every node of the pool, and waits for who has one open: a mkfs outlives the setup that started it and
    /// was killed.
    fn remove_nodes_patiently(&self) -> Result<(), PoolError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.remove_nodes(Removal::Now) {
                Err(PoolError::Dm(error)) if error.errno() == Some(Errno::EBUSY) => {
                    if Instant::now() >= deadline {
                        // Names the device and who may have it.
                        self.refuse_if_in_use().map_err(|error| self.explained(error))?;
                        return Err(error.into());
                    }
                }
                result => return result,
            }
            std::thread::sleep(BUSY_PAUSE);
        }
    }
}

/// Removes the directory with what is known to be ours in it. Whatever else somebody put there stays, and the
/// directory with it.
pub(super) fn remove_directory(paths: &Paths, life: Lock) -> Result<(), PoolError> {
    for file in Catalog::files(&paths.catalog()) {
        remove_if_there(&file)?;
    }
    if let Ok(locks) = paths.locks().read_dir() {
        for lock in locks {
            let lock = lock.map_err(io_error("list", &paths.locks()))?;
            let name = lock.file_name().into_string().unwrap_or_default();
            if matches!(name.as_str(), "import" | "metadata" | "monitor") || name.parse::<u32>().is_ok() {
                remove_if_there(&lock.path())?;
            }
        }
    }
    if let Ok(mounts) = paths.mounts().read_dir() {
        for mount in mounts {
            remove_if_empty(&mount.map_err(io_error("list", &paths.mounts()))?.path())?;
        }
    }
    remove_if_empty(&paths.locks())?;
    remove_if_empty(&paths.mounts())?;
    remove_if_there(&paths.change_lock())?;
    remove_if_there(&paths.metadata_snapshot())?;
    for file in paths.trend() {
        remove_if_there(&file)?;
    }
    life.remove()?;
    remove_if_empty(paths.directory())
}

/// Removes a file that may be gone.
pub(super) fn remove_if_there(path: &Path) -> Result<(), PoolError> {
    files::remove_if_there(path).map_err(io_error("remove", path))
}

/// Removes a directory unless somebody keeps something in it, or has mounted something there.
pub(super) fn remove_if_empty(path: &Path) -> Result<(), PoolError> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
    match files::remove_directory(path) {
        Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty | ResourceBusy) => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

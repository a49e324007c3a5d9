//! Reading a pool's metadata at one moment: of a live pool through a metadata snapshot, of one that can't change as it is.
//!
//! The kernel keeps a metadata snapshot until it is told not to, over reboots as well, and frees no block that it sees. So
//! a file says that one is ours before it is made, and as long as it is held: whoever comes after a process that was
//! killed in between lets go of it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::lock::Lock;
use super::{Paths, Pool, PoolError, io_error};
use crate::backing::Part;
use crate::dm::{MetadataSnapshot, Mode, PoolMessage, PoolStatus, PoolUsage, Table};
use crate::files;
use crate::thin_metadata::{Metadata, MetadataError, Place};
use crate::units::MetaBlocks;

impl Pool<'_> {
    /// Reads the pool's metadata, whether it is active or not. Nothing in it changes meanwhile, and one reader waits for
    /// another.
    pub fn read_metadata<T>(
        &self,
        read: impl FnOnce(&Metadata) -> Result<T, MetadataError>,
    ) -> Result<T, PoolError> {
        self.read_metadata_under(&self.metadata_lock()?, read)
    }

    /// The right to read the metadata, for who has something else to hold still at the same time. Taken before that: a
    /// reader of all metadata is slow.
    pub(super) fn metadata_lock(&self) -> Result<Lock, PoolError> {
        Ok(Lock::exclusive(&self.paths.metadata_lock(), self.patience)?)
    }

    /// The same for who has that right.
    pub(super) fn read_metadata_under<T>(
        &self,
        _reading: &Lock,
        read: impl FnOnce(&Metadata) -> Result<T, MetadataError>,
    ) -> Result<T, PoolError> {
        if self.active()?.is_none_or(|info| !info.live) {
            let metadata = self.find_part(Part::Metadata)?;
            return self.read_resting(&Place::Path(metadata.path().to_owned()), read);
        }
        let place = self.live_metadata()?;
        match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Working(usage) if usage.mode != Mode::ReadOnly => {
                self.read_live(&usage, &place, read)
            }
            // No commit succeeds in these, so there is nothing to be kept from changing, and no message is taken.
            PoolStatus::Working(_) | PoolStatus::Fail | PoolStatus::Error => self.read_resting(&place, read),
        }
    }

    /// Waits for who reads the metadata, as a backup of a large one does for minutes. Before a right is taken that keeps the pool
    /// from growing, which is not to wait with us.
    pub(super) fn wait_for_readers(&self) -> Result<(), PoolError> {
        self.keep_readers_out().map(drop)
    }

    /// Waits for who reads the metadata, and lets nobody begin to. A pool that is only half there may have no readers yet.
    pub(super) fn keep_readers_out(&self) -> Result<Option<Lock>, PoolError> {
        keep_readers_out(&self.paths, self.patience)
    }

    /// Lets go of a metadata snapshot that a process of ours left when it was killed.
    pub(super) fn release_left_snapshot(&self) -> Result<(), PoolError> {
        if !self.paths.metadata_snapshot().exists() {
            return Ok(());
        }
        // Who has the lock is alive, and lets go itself.
        let Some(_lock) = Lock::try_exclusive(&self.paths.metadata_lock())? else { return Ok(()) };
        if let PoolStatus::Working(usage) = self.host.dm.pool_status(&self.device)?
            && usage.mode != Mode::ReadOnly
        {
            if self.is_left_by_us(&usage) {
                self.host.dm.message(&self.device, &PoolMessage::ReleaseMetadataSnap)?;
            }
            unmark(&self.paths.metadata_snapshot())?;
        }
        Ok(())
    }

    fn read_resting<T>(
        &self,
        place: &Place,
        read: impl FnOnce(&Metadata) -> Result<T, MetadataError>,
    ) -> Result<T, PoolError> {
        let metadata = Metadata::at_rest(self.host.metadata.open(place)?)?;
        let result = read(&metadata);
        // Damage that is only seen because blocks changed meanwhile is none.
        if !metadata.is_unchanged() {
            return Err(PoolError::MetadataChanged(self.name.to_string()));
        }
        Ok(result?)
    }

    fn read_live<T>(
        &self,
        usage: &PoolUsage,
        place: &Place,
        read: impl FnOnce(&Metadata) -> Result<T, MetadataError>,
    ) -> Result<T, PoolError> {
        let (dm, marker) = (self.host.dm.as_ref(), self.paths.metadata_snapshot());
        let held =
            || PoolError::MetadataSnapshotHeld { pool: self.name.to_string(), device: self.device.clone() };
        match usage.held_metadata_root {
            None => {}
            Some(_) if self.is_left_by_us(usage) => {
                dm.message(&self.device, &PoolMessage::ReleaseMetadataSnap)?;
            }
            Some(_) => return Err(held()),
        }
        mark(&marker, None)?;
        let snapshot = match MetadataSnapshot::reserve(dm, &self.device) {
            Err(error) => {
                unmark(&marker)?;
                return Err(if error.errno() == Some(Errno::EBUSY) { held() } else { error.into() });
            }
            Ok(snapshot) => snapshot,
        };
        let result = self.read_snapshot(&marker, place, read);
        let released = snapshot.release().map_err(PoolError::from).and_then(|()| unmark(&marker));
        match (result, released) {
            (Ok(value), released) => released.map(|()| value),
            (Err(cause), Ok(())) => Err(cause),
            (Err(cause), Err(cleanup)) => {
                tracing::warn!(pool = %self.name, %cleanup, "a metadata snapshot may be left; the next command lets go of it");
                Err(cause)
            }
        }
    }

    fn read_snapshot<T>(
        &self,
        marker: &Path,
        place: &Place,
        read: impl FnOnce(&Metadata) -> Result<T, MetadataError>,
    ) -> Result<T, PoolError> {
        let (root, usage) = match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Working(usage) if usage.held_metadata_root.is_some() => {
                (usage.held_metadata_root.unwrap_or_default(), usage)
            }
            status => return Err(PoolError::NotCommitted(Box::new(status))),
        };
        mark(marker, Some(root))?;
        let blocks = self.host.metadata.open(place)?;
        Ok(read(&Metadata::snapshot(blocks, root, usage.data)?)?)
    }

    /// The device with a live pool's metadata, as the kernel knows it.
    fn live_metadata(&self) -> Result<Place, PoolError> {
        match self.host.dm.table(&self.device)? {
            Some(Table::ThinPool(table)) => Ok(Place::Device(table.metadata)),
            _ => Err(PoolError::NotActive(self.name.to_string())),
        }
    }

    /// Whether the metadata snapshot that is held was made by a process of ours that has been killed. Only for who has the
    /// lock. Where that process came to write down which it had made, it must be that one.
    fn is_left_by_us(&self, usage: &PoolUsage) -> bool {
        let Some(held) = usage.held_metadata_root else { return false };
        match std::fs::read_to_string(self.paths.metadata_snapshot()) {
            Ok(root) => root.parse().is_ok_and(|root| MetaBlocks(root) == held) || root.is_empty(),
            Err(_) => false,
        }
    }
}

/// Says that the metadata snapshot is ours: durably before it is made, since it outlives a power cut.
fn mark(marker: &Path, root: Option<MetaBlocks>) -> Result<(), PoolError> {
    let text = root.map(|root| root.0.to_string()).unwrap_or_default();
    let written = files::create(marker).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        if root.is_some() {
            return Ok(());
        }
        files::sync(&file, marker)?;
        marker.parent().map_or(Ok(()), files::sync_directory)
    });
    written.map_err(io_error("write", marker))
}

fn unmark(marker: &Path) -> Result<(), PoolError> {
    match files::remove(marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", marker)(error)),
        _ => Ok(()),
    }
}

/// The same where nobody knows yet whether there is a pool.
pub(super) fn keep_readers_out(paths: &Paths, patience: Duration) -> Result<Option<Lock>, PoolError> {
    match Lock::exclusive(&paths.metadata_lock(), patience) {
        Err(error) if error.is_not_found() => Ok(None),
        lock => Ok(Some(lock?)),
    }
}

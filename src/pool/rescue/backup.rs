//! Backups are taken: whenever a pool is put to rest in order and anything has changed, and whenever somebody wants one.
//!
//! A pool that is in use is read through a metadata snapshot, so nobody who writes waits.

use std::path::Path;

use super::backups::Backups;
use super::generation::{BackedUp, BackupMoment, MetadataBackup};
use crate::backing::make_private_directory;
use crate::files;
use crate::pool::destroy::{remove_if_empty, remove_if_there};
use crate::pool::lock::Lock;
use crate::pool::{Location, Pool, PoolError, io_error, now};
use crate::thin_metadata::MetadataError;

/// What a backup is called that isn't finished.
const DRAFT: &str = ".draft";

impl Location {
    /// The backups of the pool's metadata, the newest first. The pool itself isn't looked at: it may be damaged.
    pub fn metadata_backups(&self) -> Result<Backups, PoolError> {
        if !self.paths().directory().exists() {
            return Err(self.absent());
        }
        Backups::in_directory(&self.paths().backups())
    }

    /// The moment of the newest backup; none if there is none that can be read.
    pub(crate) fn newest_backup(&self) -> Result<Option<BackupMoment>, PoolError> {
        Backups::newest_moment(&self.paths().backups())
    }

    /// Whether somebody makes the pool active or inactive just now, makes it larger or takes it away.
    pub(crate) fn is_changing(&self) -> bool {
        Lock::is_held(&self.paths().life_lock())
    }
}

impl Pool<'_> {
    /// Backs the metadata up, whether the pool is active or not. Of the backups before, as many are kept as are wanted
    /// with this one, and at least this one.
    pub fn back_up_metadata(&self) -> Result<MetadataBackup, PoolError> {
        let reading = self.metadata_lock()?;
        // Who waited for that may have waited for the pool's end.
        self.record_by_now()?;
        let before = Backups::in_directory(&self.paths.backups())?;
        let made = self.write_backup(&reading, &before, false)?;
        // It is taken whether anything changed or not.
        made.ok_or_else(|| PoolError::MetadataChanged(self.name.to_string()))
    }

    /// Backs the metadata up of a pool that was just put to rest, if anything has changed since the last backup. That it
    /// failed keeps nobody from anything.
    pub(in crate::pool) fn back_up_at_rest(&self) {
        if self.backups == 0 {
            return;
        }
        let made = self.metadata_lock().and_then(|reading| {
            let before = Backups::in_directory(&self.paths.backups())?;
            self.write_backup(&reading, &before, true)
        });
        match made {
            Ok(Some(made)) => {
                tracing::info!(pool = %self.name, path = %made.path.display(), "metadata backed up");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(pool = %self.name, %error, "the pool's metadata could not be backed up");
            }
        }
    }

    fn write_backup(
        &self,
        reading: &Lock,
        before: &Backups,
        only_changed: bool,
    ) -> Result<Option<MetadataBackup>, PoolError> {
        let directory = self.paths.backups();
        make_private_directory(&directory)?;
        let draft = directory.join(DRAFT);
        let written = self.read_metadata_under(reading, |metadata| {
            let of = BackedUp::of(metadata, &self.record.uuid, now())?;
            if only_changed && before.newest().is_some_and(|newest| newest.of.is_same_as(&of)) {
                return Ok(None);
            }
            // The right to read the metadata is one process's alone, so nobody else writes here.
            let file = files::create(&draft).map_err(MetadataError::Copy)?;
            of.write(metadata, &file)?;
            files::sync(&file, &draft).map_err(MetadataError::Copy)?;
            Ok(Some(of))
        });
        let of = match written {
            Ok(Some(of)) => of,
            Ok(None) => return Ok(None),
            Err(error) => {
                // The next backup begins anew in any case.
                drop(files::remove(&draft));
                return Err(error);
            }
        };
        let generation = before.next_generation();
        let path = directory.join(of.file_name(generation));
        files::rename_new(&draft, &path).map_err(|errno| io_error("name", &path)(errno.into()))?;
        files::sync_directory(&directory).map_err(io_error("sync", &directory))?;
        self.drop_older(&directory)?;
        MetadataBackup::open(&path, generation).map(Some)
    }

    fn drop_older(&self, directory: &Path) -> Result<(), PoolError> {
        let keep = usize::try_from(self.backups.max(1)).unwrap_or(usize::MAX);
        for old in Backups::in_directory(directory)?.readable.iter().skip(keep) {
            remove_if_there(&old.path)?;
        }
        Ok(())
    }
}

/// Removes the backups with their directory; whatever else somebody keeps there stays.
pub(in crate::pool) fn remove_all(directory: &Path) -> Result<(), PoolError> {
    let Ok(entries) = directory.read_dir() else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(io_error("list", directory))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if name == DRAFT || super::generation::of_name(&name).is_some() {
            remove_if_there(&entry.path())?;
        }
    }
    remove_if_empty(directory)
}

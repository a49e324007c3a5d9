//! All the backups of a pool.

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};

use super::RescueError;
use super::generation::{BackupMoment, Generation, MetadataBackup, describe, of_name};
use crate::pool::{PoolError, io_error};
use crate::units::PoolName;

/// The files in a directory that are backups, by their names.
fn files(directory: &Path) -> Result<Vec<(Generation, PathBuf)>, PoolError> {
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", directory))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error("list", directory))?.path();
        let generation = path.file_name().and_then(|name| name.to_str()).and_then(of_name);
        files.extend(generation.map(|generation| (generation, path)));
    }
    Ok(files)
}

/// The backups that a pool has, the newest first.
#[derive(Debug, Default)]
pub struct Backups {
    /// Those that can be read, as far as their beginning tells.
    pub readable: Vec<MetadataBackup>,
    /// Those that can't: nobody knows any more what they are of, so they are left alone.
    pub unreadable: Vec<UnreadableBackup>,
}

/// A backup that can't be read.
#[derive(Debug)]
pub struct UnreadableBackup {
    /// Which it was.
    pub generation: Generation,
    /// Its file.
    pub path: PathBuf,
    /// Why it can't be read.
    pub why: io::Error,
}

impl Backups {
    /// All in a directory.
    pub(super) fn in_directory(directory: &Path) -> Result<Self, PoolError> {
        let mut all = Self::default();
        for (generation, path) in files(directory)? {
            match describe(&path) {
                Ok((of, size)) => all.readable.push(MetadataBackup { generation, path, size, of }),
                Err(why) => all.unreadable.push(UnreadableBackup { generation, path, why }),
            }
        }
        all.readable.sort_by_key(|backup| Reverse(backup.generation));
        all.unreadable.sort_by_key(|backup| Reverse(backup.generation));
        Ok(all)
    }

    /// The moment of the newest one in a directory; none if there is none, or it can't be read.
    pub(super) fn newest_moment(directory: &Path) -> Result<Option<BackupMoment>, PoolError> {
        let newest = files(directory)?.into_iter().max_by_key(|(generation, _)| *generation);
        let Some((_, path)) = newest else { return Ok(None) };
        match describe(&path) {
            Ok((moment, _)) => Ok(Some(moment)),
            Err(why) => {
                tracing::debug!(path = %path.display(), %why, "the newest backup can't be read");
                Ok(None)
            }
        }
    }

    /// The newest that can be read.
    #[must_use]
    pub fn newest(&self) -> Option<&MetadataBackup> {
        self.readable.first()
    }

    /// The number of the next one.
    pub(super) fn next_generation(&self) -> Generation {
        let readable = self.readable.iter().map(|backup| backup.generation);
        let all = readable.chain(self.unreadable.iter().map(|backup| backup.generation));
        all.max().unwrap_or_default().next()
    }

    /// The one of this generation, or the newest. That a newer one can't be read is told: it would have been taken.
    pub(super) fn choose(
        self,
        generation: Option<Generation>,
        pool: &PoolName,
    ) -> Result<MetadataBackup, RescueError> {
        let is_asked = |found: Generation| generation.is_none_or(|asked| found == asked);
        let readable = self.readable.into_iter().find(|backup| is_asked(backup.generation));
        let unreadable = self.unreadable.into_iter().find(|backup| is_asked(backup.generation));
        match (readable, unreadable, generation) {
            (Some(backup), unreadable, _) => {
                if let Some(UnreadableBackup { path, why, .. }) =
                    unreadable.filter(|unreadable| unreadable.generation > backup.generation)
                {
                    tracing::warn!(path = %path.display(), %why, "a newer backup can't be read");
                }
                Ok(backup)
            }
            (None, Some(UnreadableBackup { path, why, .. }), _) => {
                Err(RescueError::BackupUnreadable { path, source: why })
            }
            (None, None, Some(asked)) => Err(RescueError::NoSuchBackup { pool: pool.to_string(), asked }),
            (None, None, None) => Err(RescueError::NoBackup(pool.to_string())),
        }
    }
}

//! The two sparse files under a loopback pool.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{Bytes, SECTOR_SIZE};

/// Where a loopback pool's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopFiles {
    /// The file with the data blocks.
    pub data: PathBuf,
    /// The file with the metadata.
    pub metadata: PathBuf,
}

/// What a file takes and could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileSpace {
    /// Its length, as `ls` shows it.
    pub logical: Bytes,
    /// What it occupies, as `du` shows it: a sparse file has holes.
    pub allocated: Bytes,
    /// The size of the file system under it.
    pub total: Bytes,
    /// What is free there (`f_bfree`).
    pub free: Bytes,
}

/// What can go wrong with the files.
#[derive(Debug, Error)]
pub enum LoopFileError {
    /// A file of that name is there already.
    #[error(
        "{0} exists already and does not belong to this pool; move it away, or choose another directory with --dir"
    )]
    Exists(PathBuf),
    /// The file system can't hold a file of that length.
    #[error(
        "{path} can't be made {size} long: {source} (the largest file of this file system may be smaller)"
    )]
    Size {
        /// Which file.
        path: PathBuf,
        /// How long it was to be.
        size: Bytes,
        /// Why it can't.
        source: io::Error,
    },
    /// Anything else.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl LoopFiles {
    /// The files in a directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { data: directory.join("data"), metadata: directory.join("metadata") }
    }

    /// Makes both files, sparse, for root's eyes only, and makes them durable. The directory is made where it is
    /// missing.
    pub fn create(&self, data: Bytes, metadata: Bytes) -> Result<(), LoopFileError> {
        for (path, size) in [(&self.data, data), (&self.metadata, metadata)] {
            let directory = path.parent().unwrap_or(Path::new("/"));
            make_private_directory(directory)?;
            create_sparse(path, size)?;
            // The name is durable only when the directory is.
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|source| LoopFileError::Io {
                action: "sync",
                path: directory.to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Removes both files. Those that are gone already don't matter.
    pub fn remove(&self) -> Result<(), LoopFileError> {
        for path in [&self.data, &self.metadata] {
            match std::fs::remove_file(path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LoopFileError::Io { action: "remove", path: path.clone(), source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl FileSpace {
    /// Looks at one file and at the file system under it.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        let host = nix::sys::statvfs::statvfs(path)?;
        Ok(Self {
            logical: Bytes(metadata.len()),
            allocated: Bytes(metadata.blocks() * SECTOR_SIZE),
            total: Bytes(host.blocks() * host.fragment_size()),
            free: Bytes(host.blocks_free() * host.fragment_size()),
        })
    }
}

/// Makes a directory that only root may look into. One that exists keeps its mode.
pub(crate) fn make_private_directory(path: &Path) -> Result<(), LoopFileError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| LoopFileError::Io { action: "make the directory", path: path.to_owned(), source })
}

fn create_sparse(path: &Path, size: Bytes) -> Result<(), LoopFileError> {
    let failed = |action| move |source| LoopFileError::Io { action, path: path.to_owned(), source };
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(LoopFileError::Exists(path.to_owned()));
        }
        file => file.map_err(failed("create"))?,
    };
    file.set_len(size.0).map_err(|source| LoopFileError::Size { path: path.to_owned(), size, source })?;
    file.sync_all().map_err(failed("sync"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_files_are_sparse_and_private() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(&directory.path().join("pool"));
        files.create(Bytes::gib(1), Bytes::mib(2)).expect("created");
        let space = FileSpace::of(&files.data).expect("there");
        assert_eq!(space.logical, Bytes::gib(1));
        assert!(space.allocated < Bytes::mib(1), "{space:?}");
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&files.metadata), 0o600);
        assert_eq!(mode(files.data.parent().expect("parent")), 0o700);
    }

    #[test]
    fn a_file_that_is_not_ours_is_never_taken_over() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(directory.path());
        std::fs::write(&files.data, "somebody's").expect("written");
        assert!(matches!(files.create(Bytes::gib(1), Bytes::mib(2)), Err(LoopFileError::Exists(_))));
        assert_eq!(std::fs::read(&files.data).expect("there"), b"somebody's");
    }

    #[test]
    fn removing_twice_is_fine() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(directory.path());
        files.create(Bytes::mib(1), Bytes::mib(2)).expect("created");
        files.remove().expect("removed");
        files.remove().expect("nothing left to do");
    }
}

//! The two sparse files under a loopback pool.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Part;
use crate::dm::DeviceNumber;
use crate::files;
use crate::units::{Bytes, SECTOR_SIZE};

/// Where a loopback pool's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopFiles {
    /// The file with the data blocks.
    pub data: PathBuf,
    /// The file with the metadata.
    pub metadata: PathBuf,
}

/// The files of a pool, and by what they are known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loopback {
    /// Where they are.
    pub files: LoopFiles,
    /// Known once they are made.
    pub ids: Option<LoopFileIds>,
}

/// How a file is known again: by its inode. Only files that are known to be the pool's are ever removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopFileIds {
    data: u64,
    metadata: u64,
}

impl LoopFileIds {
    /// Of files that are there.
    pub fn of(files: &LoopFiles) -> io::Result<Self> {
        Ok(Self { data: files.data.metadata()?.ino(), metadata: files.metadata.metadata()?.ino() })
    }

    /// Another file has taken the place of the one with the metadata.
    pub fn set_metadata(&mut self, inode: u64) {
        self.metadata = inode;
    }
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
    /// A file of that name is there, and it isn't the pool's.
    #[error("{0} is not the file that the pool was made with; it was left as it is")]
    Replaced(PathBuf),
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

impl LoopFileError {
    /// The same error about the file by the name that people know.
    fn about(self, known: &Path) -> Self {
        match self {
            Self::Size { size, source, .. } => Self::Size { path: known.to_owned(), size, source },
            other => other,
        }
    }
}

impl LoopFiles {
    /// The files in a directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { data: directory.join("data"), metadata: directory.join("metadata") }
    }

    /// Makes both files, sparse, for root's eyes only, under names that no other pool can have. The directory is made
    /// where it is missing.
    pub fn create(
        &self,
        pool: &uuid::Uuid,
        data: Bytes,
        metadata: Bytes,
    ) -> Result<LoopFileIds, LoopFileError> {
        let create = |path: &Path, size| {
            let draft = draft_name(path, pool);
            make_private_directory(directory(&draft))?;
            create_sparse(&draft, size).map_err(|error| error.about(path))
        };
        Ok(LoopFileIds { data: create(&self.data, data)?, metadata: create(&self.metadata, metadata)? })
    }

    /// Gives both files their names, unless something else has them, and makes that durable. What was made is known to
    /// whoever has to clear up by now.
    pub fn name(&self, pool: &uuid::Uuid) -> Result<(), LoopFileError> {
        for path in [&self.data, &self.metadata] {
            let draft = draft_name(path, pool);
            match files::rename_new(&draft, path) {
                Err(Errno::EEXIST) => return Err(LoopFileError::Exists(path.clone())),
                renamed => renamed.map_err(|errno| io("name", path)(errno.into()))?,
            }
            // A name is durable only when its directory is.
            let directory = directory(path);
            files::sync_directory(directory).map_err(io("sync", directory))?;
        }
        Ok(())
    }

    /// Removes both files, named or not. Those that are gone already don't matter; those that are not the ones that were
    /// made stay, and are given back.
    pub fn remove(&self, pool: &uuid::Uuid, ids: Option<LoopFileIds>) -> Result<Vec<PathBuf>, LoopFileError> {
        let mut strangers = Vec::new();
        for (path, id) in
            [(&self.data, ids.map(|ids| ids.data)), (&self.metadata, ids.map(|ids| ids.metadata))]
        {
            remove_if_there(&draft_name(path, pool))?;
            match path.symlink_metadata() {
                Ok(found) if id == Some(found.ino()) => remove_if_there(path)?,
                Ok(_) => strangers.push(path.clone()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io("look at", path)(error)),
            }
        }
        Ok(strangers)
    }
}

impl Loopback {
    /// Where a part is.
    #[must_use]
    pub fn file(&self, part: Part) -> &Path {
        match part {
            Part::Data => &self.files.data,
            Part::Metadata => &self.files.metadata,
        }
    }

    /// Makes a file so long, with a hole for what is new, and makes that durable. One that is as long stays as it is:
    /// nothing here ever makes a file shorter.
    pub fn grow(&self, part: Part, to: Bytes) -> Result<(), LoopFileError> {
        let path = self.file(part);
        let file = OpenOptions::new().write(true).open(path).map_err(io("open", path))?;
        let found = file.metadata().map_err(io("look at", path))?;
        let made = self.ids.map(|ids| match part {
            Part::Data => ids.data,
            Part::Metadata => ids.metadata,
        });
        if made.is_some_and(|made| made != found.ino()) {
            return Err(LoopFileError::Replaced(path.to_owned()));
        }
        if found.len() < to.0 {
            files::set_length(&file, path, to.0).map_err(|source| LoopFileError::Size {
                path: path.to_owned(),
                size: to,
                source,
            })?;
        }
        files::sync(&file, path).map_err(io("sync", path))
    }
}

impl FileSpace {
    /// Looks at one file and at the file system under it.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        let host = nix::sys::statvfs::statvfs(path)?;
        let free = host.blocks_free().saturating_sub(kept_by_ext4(metadata.dev()));
        Ok(Self {
            logical: Bytes(metadata.len()),
            allocated: Bytes(metadata.blocks() * SECTOR_SIZE),
            total: Bytes(host.blocks() * host.fragment_size()),
            free: Bytes(free * host.fragment_size()),
        })
    }
}

/// How many blocks ext4 keeps for what it may have to split itself: it calls them free, and gives them to no file, not even
/// root's (`ext4_has_free_clusters`). None of another file system.
fn kept_by_ext4(device: u64) -> u64 {
    let read = || -> io::Result<String> {
        let node = std::fs::read_link(format!("/sys/dev/block/{}", DeviceNumber::from_dev(device)))?;
        let of_it = Path::new("/sys/fs/ext4").join(node.file_name().unwrap_or_default());
        std::fs::read_to_string(of_it.join("reserved_clusters"))
    };
    read().ok().and_then(|blocks| blocks.trim().parse().ok()).unwrap_or(0)
}

/// Makes a directory that only root may look into. One that exists keeps its mode.
pub(crate) fn make_private_directory(path: &Path) -> Result<(), LoopFileError> {
    files::make_directory(path, 0o700).map_err(|source| LoopFileError::Io {
        action: "make the directory",
        path: path.to_owned(),
        source,
    })
}

/// Makes a file of this length, and tells its inode.
fn create_sparse(path: &Path, size: Bytes) -> Result<u64, LoopFileError> {
    let file = files::create_new(path).map_err(io("create", path))?;
    files::set_length(&file, path, size.0).map_err(|source| LoopFileError::Size {
        path: path.to_owned(),
        size,
        source,
    })?;
    files::sync(&file, path).map_err(io("sync", path))?;
    Ok(file.metadata().map_err(io("look at", path))?.ino())
}

/// The name that a file has until it is known to be the pool's: `.data.<uuid>`.
fn draft_name(path: &Path, pool: &uuid::Uuid) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", pool.simple()))
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn remove_if_there(path: &Path) -> Result<(), LoopFileError> {
    match files::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoopFileError {
    move |source| LoopFileError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made(files: &LoopFiles) -> (uuid::Uuid, LoopFileIds) {
        let pool = uuid::Uuid::new_v4();
        let ids = files.create(&pool, Bytes::gib(1), Bytes::mib(2)).expect("created");
        (pool, ids)
    }

    #[test]
    fn the_files_are_sparse_and_private() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(&directory.path().join("pool"));
        let (pool, _) = made(&files);
        files.name(&pool).expect("named");
        let space = FileSpace::of(&files.data).expect("there");
        assert_eq!(space.logical, Bytes::gib(1));
        assert!(space.allocated < Bytes::mib(1), "{space:?}");
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&files.metadata), 0o600);
        assert_eq!(mode(files.data.parent().expect("parent")), 0o700);
    }

    #[test]
    fn a_file_that_is_not_ours_is_never_taken_over_nor_removed() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(directory.path());
        std::fs::write(&files.data, "somebody's").expect("written");
        let (pool, ids) = made(&files);
        assert!(matches!(files.name(&pool), Err(LoopFileError::Exists(_))));
        assert_eq!(files.remove(&pool, Some(ids)).expect("removed"), std::slice::from_ref(&files.data));
        assert_eq!(std::fs::read(&files.data).expect("there"), b"somebody's");
        assert_eq!(directory.path().read_dir().expect("listed").count(), 1, "a draft is left");
    }

    #[test]
    fn a_setup_that_died_before_it_knew_its_files_removes_no_others() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(directory.path());
        let (dead, _) = made(&files);
        let (alive, _) = made(&files);
        files.name(&alive).expect("named");
        assert_eq!(files.remove(&dead, None).expect("removed").len(), 2);
        assert!(files.data.exists() && files.metadata.exists());
    }

    #[test]
    fn a_file_only_ever_gets_longer_and_stays_sparse() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(directory.path());
        let (pool, ids) = made(&files);
        files.name(&pool).expect("named");
        let loopback = Loopback { files: files.clone(), ids: Some(ids) };
        for (to, then) in [(2, 2), (1, 2), (3, 3)] {
            loopback.grow(Part::Data, Bytes::gib(to)).expect("grown");
            let space = FileSpace::of(&files.data).expect("there");
            assert_eq!(space.logical, Bytes::gib(then));
            assert!(space.allocated < Bytes::mib(1), "{space:?}");
        }
        // Another file in its place is somebody else's.
        std::fs::rename(&files.data, directory.path().join("moved")).expect("renamed");
        std::fs::write(&files.data, "somebody's").expect("written");
        assert!(matches!(loopback.grow(Part::Data, Bytes::gib(4)), Err(LoopFileError::Replaced(_))));
        assert_eq!(std::fs::read(&files.data).expect("there"), b"somebody's");
    }

    #[test]
    fn removing_twice_is_fine() {
        let directory = tempfile::tempdir().expect("tempdir");
        let files = LoopFiles::in_directory(directory.path());
        let (pool, ids) = made(&files);
        files.name(&pool).expect("named");
        assert!(files.remove(&pool, Some(ids)).expect("removed").is_empty());
        assert!(files.remove(&pool, Some(ids)).expect("nothing left to do").is_empty());
        assert_eq!(directory.path().read_dir().expect("listed").count(), 0);
    }
}

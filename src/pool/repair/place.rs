//! Putting a new catalog in the place of a damaged one, which is kept.

use std::io::{self, ErrorKind::AlreadyExists, ErrorKind::NotFound};
use std::path::{Path, PathBuf};

use crate::catalog::Catalog;
use crate::files;
use crate::pool::{PoolError, io_error, now};

/// Where a new catalog is made.
pub(super) fn draft(catalog: &Path) -> PathBuf {
    catalog.with_file_name("catalog.db.new")
}

/// Removes a new catalog that was not made to its end.
pub(super) fn clear_draft(catalog: &Path) -> Result<(), PoolError> {
    Catalog::files(&draft(catalog)).iter().try_for_each(|file| remove(file))
}

/// Gives the damaged catalog a second name, its log with it: `catalog.db.damaged-<time>`. Nothing is there any more if the
/// catalog is gone altogether.
pub(super) fn keep(catalog: &Path) -> Result<Option<PathBuf>, PoolError> {
    let mut kept = catalog.as_os_str().to_owned();
    kept.push(format!(".damaged-{}", now()));
    let kept = PathBuf::from(kept);
    // The log first: the file alone would look like the older catalog that it is.
    let [from_file, from_log, _] = Catalog::files(catalog);
    let [to_file, to_log, _] = Catalog::files(&kept);
    link(&from_log, &to_log)?;
    Ok(link(&from_file, &to_file)?.then_some(kept))
}

/// Puts the new catalog, which must be whole and closed, into its place. What a kill leaves in between is the damaged file
/// without its log, and the new one: placing it again is all that is missing.
pub(super) fn place(catalog: &Path) -> Result<(), PoolError> {
    let draft = draft(catalog);
    // SQLite would take the old catalog's log for the new one's.
    let [_, log, index] = Catalog::files(catalog);
    remove(&log)?;
    remove(&index)?;
    let [_, log, index] = Catalog::files(&draft);
    remove(&log)?;
    remove(&index)?;
    files::rename(&draft, catalog).map_err(io_error("put in place", &draft))?;
    let directory = catalog.parent().unwrap_or(Path::new("/"));
    files::sync_directory(directory).map_err(io_error("sync", directory))
}

/// `false` if there is nothing to be linked.
fn link(from: &Path, to: &Path) -> Result<bool, PoolError> {
    match files::hard_link(from, to) {
        Err(error) if error.kind() == NotFound => Ok(false),
        Err(error) if error.kind() == AlreadyExists => Ok(true),
        linked => linked.map(|()| true).map_err(io_error("keep", from)),
    }
}

fn remove(path: &Path) -> Result<(), PoolError> {
    match files::remove(path) {
        Err(error) if error.kind() != NotFound => {
            Err::<(), io::Error>(error).map_err(io_error("remove", path))
        }
        _ => Ok(()),
    }
}

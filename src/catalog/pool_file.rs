//! What the pool is, in a second place: `pool.json` beside the catalog.
//!
//! A catalog that is lost is made anew of what the pool's own metadata says. That doesn't say where the pool's blocks are,
//! nor by which uuid its devices are known, nor what was decided at setup: this file does.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CatalogError, Policy, PoolRecord};
use crate::backing::Backing;
use crate::files;

/// The part of a pool's record that nothing else could tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFile {
    /// The pool's uuid.
    pub uuid: String,
    /// When it was set up, in seconds since 1970.
    pub created: i64,
    /// Where its blocks come from.
    pub backing: Backing,
    /// What was decided at setup.
    pub policy: Policy,
}

impl PoolFile {
    /// Where it is, beside a catalog.
    #[must_use]
    pub fn beside(catalog: &Path) -> PathBuf {
        catalog.with_file_name("pool.json")
    }

    /// Of a pool's record.
    #[must_use]
    pub fn of(record: &PoolRecord) -> Self {
        Self {
            uuid: record.uuid.to_string(),
            created: record.created,
            backing: record.backing.clone(),
            policy: record.policy.clone(),
        }
    }

    /// Reads it, or `None` where there is none.
    pub fn read(catalog: &Path) -> Result<Option<Self>, CatalogError> {
        let path = Self::beside(catalog);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(failed("read", &path))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| failed("read", &path)(error.into()))
    }

    /// Writes it, durably and as a whole, unless it says the same already.
    pub fn keep(&self, catalog: &Path) -> Result<(), CatalogError> {
        if matches!(Self::read(catalog), Ok(Some(now)) if now == *self) {
            return Ok(());
        }
        let path = Self::beside(catalog);
        let draft = draft(catalog);
        let write = || {
            let mut file = files::create(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            files::sync(&file, &draft)?;
            files::rename(&draft, &path)?;
            files::sync_directory(path.parent().unwrap_or(Path::new("/")))
        };
        write().map_err(failed("write", &path))
    }

    /// Removes it: before the catalog goes, so that no catalog is missed that is to be gone.
    pub fn remove(catalog: &Path) -> Result<(), CatalogError> {
        Self::remove_draft(catalog)?;
        remove_if_there(&Self::beside(catalog))
    }

    /// Removes what a process left that was killed while it wrote one.
    pub fn remove_draft(catalog: &Path) -> Result<(), CatalogError> {
        remove_if_there(&draft(catalog))
    }
}

fn draft(catalog: &Path) -> PathBuf {
    catalog.with_file_name("pool.json.new")
}

fn remove_if_there(path: &Path) -> Result<(), CatalogError> {
    match files::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CatalogError {
    move |source| CatalogError::PoolFile { action, path: path.to_owned(), source }
}

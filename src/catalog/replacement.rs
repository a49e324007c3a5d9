//! That a pool's metadata is about to be replaced.

use std::path::PathBuf;

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::pool::{from_json, json};
use super::{Catalog, CatalogError, Durability, Prepared};
use crate::backing::Backing;

/// New metadata that is whole and checked, and is to be put in the place of the old. As long as this is there, that is at
/// work or was killed; it can be done again from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Replacement {
    /// A file takes the place of the loop file.
    File {
        /// The new one.
        new: PathBuf,
        /// By which it is known again.
        inode: u64,
        /// The name that the old one is to have.
        kept: PathBuf,
    },
    /// A file's content goes onto the device, of which a copy was kept.
    Device {
        /// The new metadata.
        new: PathBuf,
    },
}

impl Catalog {
    /// The replacement that isn't known to be finished, if any.
    pub fn replacement(&self) -> Result<Option<Replacement>, CatalogError> {
        self.read(|connection| {
            let replacement = connection.ask("SELECT replacement FROM pool", [], |row| {
                let known = row.get::<_, Option<String>>("replacement")?;
                known.map(|_| from_json(row, "replacement")).transpose()
            });
            replacement.optional().map(Option::flatten)
        })
    }

    /// Records, durably, that the metadata is about to be replaced.
    pub fn intend_replacement(&mut self, replacement: &Replacement) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            transaction.tell("UPDATE pool SET replacement = ?1", [json(replacement)?]).map(drop)
        })
    }

    /// Records, durably, that it has been, and where the metadata is from now on. What was checked is gone.
    pub fn end_replacement(&mut self, backing: &Backing) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            transaction
                .tell(
                    "UPDATE pool SET replacement = NULL, backing = ?1, clean = 0, checked = NULL",
                    [json(backing)?],
                )
                .map(drop)
        })?;
        self.keep_pool_file()
    }
}

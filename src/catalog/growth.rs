//! That a pool is about to grow.

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::pool::{from_json, json};
use super::{Catalog, CatalogError, Durability, Policy, PoolRecord, Prepared};
use crate::backing::{Backing, Part};
use crate::units::Bytes;

/// The sizes that a pool is about to have. Recorded before what it lies on is touched, and taken away when the kernel
/// has been seen to have grown the pool: as long as it is there, a growth is at work or was killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolGrowth {
    /// Of the data, if it is to grow.
    pub data: Option<Bytes>,
    /// Of the metadata, if it is to grow.
    pub metadata: Option<Bytes>,
}

impl PoolGrowth {
    /// The size that a part is to have.
    #[must_use]
    pub fn of(&self, part: Part) -> Option<Bytes> {
        match part {
            Part::Data => self.data,
            Part::Metadata => self.metadata,
        }
    }

    /// Whether nothing is to grow.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Catalog {
    /// The growth that isn't known to be finished, if any.
    pub fn growth(&self) -> Result<Option<PoolGrowth>, CatalogError> {
        self.read(|connection| {
            let growth = connection.ask("SELECT growth FROM pool", [], |row| {
                let known = row.get::<_, Option<String>>("growth")?;
                known.map(|_| from_json(row, "growth")).transpose()
            });
            growth.optional().map(Option::flatten)
        })
    }

    /// Records, durably, what is about to grow, and what is to be added to what the pool lies on for that.
    pub fn intend_growth(&mut self, growth: &PoolGrowth, backing: &Backing) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            let values = [json(growth)?, json(backing)?];
            transaction.tell("UPDATE pool SET growth = ?1, backing = ?2", values).map(drop)
        })?;
        self.keep_pool_file()
    }

    /// Records, durably, how large what the pool lies on has become. Only then may the kernel be told: a pool that the
    /// kernel has grown can't be loaded with less, so the catalog may know of more than the kernel, never of less.
    pub fn set_grown(&mut self, pool: &PoolRecord) -> Result<(), CatalogError> {
        self.change(Durability::Synced, |transaction| {
            // The rest of the policy may have been changed since it was read.
            let now: Policy =
                transaction.ask("SELECT policy FROM pool", [], |row| from_json(row, "policy"))?;
            let (data_size, metadata_size) = (pool.policy.data_size, pool.policy.metadata_size);
            let values = [json(&pool.backing)?, json(&Policy { data_size, metadata_size, ..now })?];
            transaction.tell("UPDATE pool SET backing = ?1, policy = ?2", values).map(drop)
        })?;
        self.keep_pool_file()
    }

    /// Records that no growth is open any more. Should a power cut lose it, the growth is found to have been made.
    pub fn end_growth(&mut self) -> Result<(), CatalogError> {
        self.change(Durability::Ordered, |transaction| {
            transaction.tell("UPDATE pool SET growth = NULL", []).map(drop)
        })
    }
}

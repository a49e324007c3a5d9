//! Catalog, pool and host compared with each other: whether each knows what the others have. Nothing is changed.
//!
//! The doctor looks at the host, whatever pools are on it; this looks at one pool. All that must fit together is read while
//! nobody can change it: under `life.lock` (shared), the lock of the metadata's readers and `change.lock`, for as long as
//! that takes. So nothing that another process is just about to do is a finding. What is worked on outside of those (a device
//! that is filled, mounted, removed) is told by its own lock, which is tried.

mod catalog;
mod devices;
mod finding;
mod limits;
mod loops;
mod metadata;
mod mounts;
mod nodes;
mod remains;
mod unfinished;
mod view;

pub(super) use devices::{disagreement, told};
pub(super) use finding::Phase;
pub use finding::{Finding, Remedy, Repair};
pub(super) use limits::{ids, is_scarce, until_scarce};
use view::View;

use super::lock::Lock;
use super::status::Severity;
use super::{Host, Location, Pool, PoolError};
use crate::catalog::{CatalogError, Clock, PoolFile};

/// Every kind of finding, with what it means.
pub const KINDS: &[(&str, &str)] = &[
    ("catalog_lost", "the catalog is gone, is damaged, or doesn't say what the pool is"),
    ("record_broken", "a record of the catalog can't be understood, or refers to what is not there"),
    ("quarantined", "a record is in quarantine"),
    (
        "layer_without_parent",
        "the layer below an image's layer is not in the catalog; what is in it is complete",
    ),
    ("transaction_mismatch", "catalog and pool are not of the same moment, or don't belong together"),
    ("device_missing", "the pool doesn't have a device that the catalog knows"),
    ("device_replaced", "the pool's device of this id is another one than the catalog's"),
    ("device_unknown", "the pool has a device that the catalog doesn't know"),
    ("size_wrong", "a device has more blocks than the catalog's size of it"),
    ("base_missing", "there is no base, so no image can be imported that builds on nothing else"),
    ("change_unsettled", "a process died in the middle of a change; the next change settles it"),
    ("device_abandoned", "a process died while it made a device"),
    ("deletion_waiting", "a device waits for its deletion"),
    ("node_stray", "a device-mapper node of the pool's belongs to nobody"),
    ("node_foreign", "a device-mapper node that isn't the pool's is on one of its devices"),
    ("loop_stray", "a loop device on one of the pool's files isn't the pool's"),
    ("mount_stray", "a device of the pool's is mounted that is no container"),
    ("mount_point_left", "a directory for a mount is left"),
    ("lock_left", "the file of a lock is left"),
    ("cookies_left", "semaphores on which commands waited for udev are left"),
    ("ids_scarce", "few ids are left for devices"),
    ("snapshots_scarce", "few snapshots can still be made in the pool's life"),
    ("metadata", "what the check of the kernel's metadata found"),
    ("not_looked_at", "something couldn't be looked at"),
];

impl Location {
    /// Compares what the catalog, the pool and the host say.
    pub fn check(&self, host: &Host) -> Result<Vec<Finding>, PoolError> {
        match Pool::open(host, self) {
            Ok(mut pool) => pool.check(),
            Err(error) if lost(&error) => Ok(vec![self.catalog_lost(&error)]),
            Err(error) => Err(error),
        }
    }

    fn catalog_lost(&self, error: &PoolError) -> Finding {
        let known = PoolFile::read(&self.paths().catalog());
        let more = match known {
            Ok(Some(_)) => "",
            _ => " (pool.json is gone as well: it needs to be told what the pool lies on)",
        };
        let hint = format!("`thinpool repair --rebuild-catalog` makes a new one of what is there{more}");
        Finding::new("catalog_lost", Severity::Critical, error.to_string(), Remedy::ByHand(hint))
    }
}

/// Whether the catalog can't even say what the pool is.
pub(super) fn lost(error: &PoolError) -> bool {
    matches!(
        error,
        PoolError::CatalogMissing { .. }
            | PoolError::Catalog(CatalogError::Damaged { .. } | CatalogError::Unreadable { .. })
    )
}

impl Pool<'_> {
    /// Compares what the catalog, the pool and the host say.
    pub fn check(&mut self) -> Result<Vec<Finding>, PoolError> {
        self.wait_for_readers()?;
        let life = Lock::shared(&self.paths.life_lock(), self.patience)?;
        self.check_under_lock(&life)
    }

    /// The same for who has the right that the pool stays as active as it is.
    pub(super) fn check_under_lock(&mut self, _life: &Lock) -> Result<Vec<Finding>, PoolError> {
        // A damaged file says anything, or nothing.
        match self.catalog.damages() {
            Ok(damages) if damages.is_empty() => {}
            Ok(damages) => {
                let why = damages.join("; ");
                let error = PoolError::CatalogDamaged { catalog: self.paths.catalog(), why };
                return Ok(vec![self.location().catalog_lost(&error)]);
            }
            Err(error) => {
                let error = error.into();
                return if lost(&error) {
                    Ok(vec![self.location().catalog_lost(&error)])
                } else {
                    Err(error)
                };
            }
        }
        let view = View::of(self)?;
        self.refresh_clock(&view)?;
        let mut findings = Vec::new();
        for look in [
            catalog::look,
            unfinished::look,
            devices::look,
            nodes::look,
            mounts::look,
            loops::look,
            remains::look,
            limits::look,
            metadata::look,
        ] {
            look(self, &view, &mut findings)?;
        }
        // The worst first; sorting is stable.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(findings)
    }

    /// What is known of the snapshot clock since the last activation is only how far it can have come at most.
    fn refresh_clock(&mut self, view: &View) -> Result<(), PoolError> {
        let Some(superblock) = &view.superblock else { return Ok(()) };
        let clock = Clock { time: superblock.time, transaction: superblock.transaction_id };
        let known = self.catalog.clock()?.unwrap_or_default();
        if limits::is_scarce(known.at_most(clock.transaction), Clock::END) && known != clock {
            self.catalog.set_clock(clock)?;
        }
        Ok(())
    }
}

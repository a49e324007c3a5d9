//! Who takes up most of a pool, as far as that is told without a look into its metadata.

use super::{Pool, PoolError};
use crate::dm::ThinStatus;
use crate::units::Bytes;

/// As many as fit into a sentence.
const NAMED: usize = 3;

impl Pool<'_> {
    /// The containers that have most blocks, shared ones included, the largest first. The kernel tells that only of those
    /// that are active.
    pub(super) fn largest_containers(&self) -> Result<Vec<(String, Bytes)>, PoolError> {
        let mut found = Vec::new();
        for container in self.catalog.containers()? {
            if self.active_device(&container.device)?.is_none() {
                continue;
            }
            // One that was removed since, or failed, is passed over.
            if let Ok(ThinStatus::Working(usage)) = self.host.dm.thin_status(&container.device.node) {
                found.push((container.name, usage.mapped.bytes()));
            }
        }
        found.sort_by(|(_, one), (_, other)| other.cmp(one));
        found.truncate(NAMED);
        Ok(found)
    }
}

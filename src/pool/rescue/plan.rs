//! What would be lost by other metadata, found out before anything is.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::DeviceState;
use crate::pool::check::{disagreement, told};
use crate::pool::{Pool, PoolError};
use crate::thin_metadata::ThinDevice;
use crate::units::DeviceId;

/// What other metadata would make of the pool's devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// Devices that the catalog knows and that would be gone, a sentence for each.
    pub lost: Vec<String>,
    /// Devices that the catalog knows and that would have lost blocks, a sentence for each.
    pub shrunk: Vec<String>,
    /// Devices that the catalog doesn't know, and that would be there.
    pub found: Vec<DeviceId>,
}

impl Pool<'_> {
    /// What would be of the devices in the catalog if the pool had these.
    pub(super) fn outlook(&self, devices: &BTreeMap<DeviceId, ThinDevice>) -> Result<Outlook, PoolError> {
        let entries = self.catalog.entries()?;
        let mut outlook = Outlook::default();
        let mut known = BTreeSet::new();
        for entry in &entries {
            match disagreement(false, entry, devices.get(&entry.device.id)) {
                None => drop(known.insert(entry.device.id)),
                // What isn't finished, or was to go, is nobody's loss.
                Some((_, why)) if entry.device.state == DeviceState::Ready => {
                    outlook.lost.push(format!("{}: {why}", told(entry)));
                }
                Some(_) => {}
            }
        }
        outlook.found.extend(devices.keys().filter(|id| !known.contains(id)));
        Ok(outlook)
    }
}

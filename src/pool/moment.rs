//! Whether a pool and its catalog are of the same moment, found out before the pool is loaded.
//!
//! The transaction id tells that nearly always. By accident, another pool or another copy of this one may have the same: then
//! its devices were made at other transactions. All that is read for that is what the metadata knows of each device, and not
//! their mappings: an activation has to look at each device, so it looks at as little as tells.

use std::collections::{BTreeMap, BTreeSet};

use super::check::disagreement;
use super::{Pool, PoolError};
use crate::catalog::DeviceState;
use crate::thin_metadata::{Metadata, Place, ThinDevice};
use crate::units::{DeviceId, TransactionId};

impl Pool<'_> {
    /// Refuses metadata of a pool whose devices are not those that the catalog knows. Single ones that are gone, or that
    /// nobody knows, are for a check to find: what is there can be used.
    pub(super) fn refuse_other_devices(&self, place: &Place) -> Result<(), PoolError> {
        let metadata = self.host.metadata.open(place).and_then(Metadata::at_rest);
        let devices = match metadata.and_then(|metadata| metadata.details()) {
            Ok(devices) => devices,
            // It is for thin_check to say what that means.
            Err(error) => {
                tracing::debug!(pool = %self.name, %error, "its devices could not be compared with the catalog");
                return Ok(());
            }
        };
        // Both are in order of their ids, so one walk along both tells.
        let mut found = devices.iter();
        let is_as_known = |(id, made_at): &(DeviceId, Option<TransactionId>)| {
            let found = found.find(|device| device.id >= *id).filter(|device| device.id == *id);
            found.is_some_and(|device| made_at.is_none_or(|made_at| made_at == device.transaction_id))
        };
        if self.catalog.ready_devices()?.iter().all(is_as_known) {
            return Ok(());
        }
        let devices: BTreeMap<DeviceId, ThinDevice> =
            devices.into_iter().map(|device| (device.id, device)).collect();
        let entries = self.catalog.entries()?;
        let mut different = Vec::new();
        for entry in entries.iter().filter(|entry| entry.device.state == DeviceState::Ready) {
            if let Some((kind, why)) = disagreement(true, entry, devices.get(&entry.device.id)) {
                tracing::warn!(pool = %self.name, device = %entry.device.node, "{why}; `thinpool check` tells more");
                different.push((kind, format!("{} ({why})", entry.device.node)));
            }
        }
        let known: BTreeSet<DeviceId> = entries.iter().map(|entry| entry.device.id).collect();
        let unknown = devices.keys().filter(|id| !known.contains(id)).count();
        let replaced = different.iter().find(|(kind, _)| *kind == "device_replaced");
        let example = replaced.or(different.first().filter(|_| unknown > 0));
        match example {
            None => Ok(()),
            Some((_, example)) => Err(PoolError::OtherDevices {
                catalog: self.paths.catalog(),
                different: different.len(),
                unknown,
                example: example.clone(),
            }),
        }
    }
}

//! What the catalog knows and what the pool has, compared both ways.

use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::catalog::{Device, DeviceKind, DeviceState, Entry, RecordKind, Suspect};
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};
use crate::thin_metadata::ThinDevice;
use crate::units::TransactionId;

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    if let (false, Some(found)) = (view.belongs_together(), view.transaction) {
        let expected = view.intent.map_or(view.expected, |intent| intent.before);
        let sentence = format!(
            "the catalog expects the pool's transaction id {expected}, and it is {found}: one of the two was restored from an \
             older copy, or they don't belong together"
        );
        let repair = Remedy::Repair(Repair::TakeTransaction(found));
        findings.push(Finding::new("transaction_mismatch", Severity::Critical, sentence, repair));
    }
    let devices = match &view.devices {
        Ok(devices) => devices,
        Err(why) => {
            findings.push(Finding::new(
                "not_looked_at",
                Severity::Warning,
                format!("the devices that the pool has could not be read: {why}"),
                Remedy::Nothing,
            ));
            return Ok(());
        }
    };
    if !devices.values().any(|device| is_unknown(view, device) && is_lost_base(view, device)) {
        base(view, findings);
    }
    for entry in view.entries.iter().filter(|entry| !view.is_suspect(entry.device.id)) {
        let found = devices.get(&entry.device.id);
        if let Some((kind, why)) = disagreement(view.belongs_together(), entry, found) {
            let suspect = suspect(pool, &entry.device, why.clone())?;
            let repair =
                suspect.map_or(Remedy::Nothing, |suspect| Remedy::Repair(Repair::Quarantine(suspect)));
            findings.push(Finding::new(kind, Severity::Critical, format!("{}: {why}", told(entry)), repair));
        } else if let Some(found) = found {
            findings.extend(size(pool, entry, found));
        }
    }
    for device in devices.values().filter(|device| is_unknown(view, device)) {
        let mapped = device.mapped.bytes(pool.record.policy.block_size);
        let (id, made_at) = (device.id, device.transaction_id);
        let as_base = is_lost_base(view, device);
        findings.push(Finding::new(
            "device_unknown",
            Severity::Critical,
            format!(
                "the pool has the device {id}, with {mapped} of blocks, made at its transaction {made_at}: the catalog doesn't \
                 know it"
            ),
            Remedy::Repair(Repair::Adopt { device: id, made_at, as_base }),
        ));
    }
    Ok(())
}

/// In what a device differs from its record so that the record can't be trusted.
pub(in crate::pool) fn disagreement(
    is_same_moment: bool,
    entry: &Entry,
    found: Option<&ThinDevice>,
) -> Option<(&'static str, String)> {
    let state = entry.device.state;
    match found {
        // It may or may not be there; and what is gone is what was wanted.
        None if matches!(state, DeviceState::Pending | DeviceState::Deleted) => None,
        None => Some(("device_missing", "the pool doesn't have it".to_owned())),
        Some(found) if entry.made_at.is_some_and(|made_at| made_at != found.transaction_id) => {
            let made_at = entry.made_at.unwrap_or_default();
            let why = format!(
                "it was made at the pool's transaction {made_at}, and the pool's device of this id at {}: it is another one",
                found.transaction_id
            );
            Some(("device_replaced", why))
        }
        // What is to be freed must be beyond doubt.
        Some(_) if entry.made_at.is_none() && state != DeviceState::Ready && !is_same_moment => {
            Some(("device_replaced", "it is to be freed by a catalog of another moment".to_owned()))
        }
        Some(_) => None,
    }
}

/// A device with more blocks than fit into its size.
fn size(pool: &Pool<'_>, entry: &Entry, found: &ThinDevice) -> Option<Finding> {
    let (block, size) = (pool.record.policy.block_size, entry.device.size);
    let mapped = found.mapped.bytes(block);
    // The last block may reach beyond the end.
    if mapped.0 < size.0.saturating_add(block.bytes().0) || entry.device.state == DeviceState::Deleted {
        return None;
    }
    Some(Finding::new(
        "size_wrong",
        Severity::Critical,
        format!("{} has {mapped} of blocks, and the catalog says that it is {size} long", told(entry)),
        Remedy::Repair(Repair::Measure(entry.device.clone())),
    ))
}

fn base(view: &View, findings: &mut Vec<Finding>) {
    let is_base = |entry: &&Entry| entry.device.kind == DeviceKind::Base;
    let bases = view.entries.iter().filter(is_base).filter(|entry| !view.is_suspect(entry.device.id));
    if !bases.into_iter().any(|entry| entry.device.state == DeviceState::Ready) {
        findings.push(Finding::new(
            "base_missing",
            Severity::Critical,
            "there is no base, so no image can be imported that builds on nothing else",
            Remedy::Repair(Repair::MakeBase),
        ));
    }
}

fn is_unknown(view: &View, device: &ThinDevice) -> bool {
    !view.claimed.contains(&i64::from(device.id.get()))
}

/// Whether a device that no record knows is the base that no record is of: setup makes it before anything else, and as the
/// only one that is no snapshot.
fn is_lost_base(view: &View, device: &ThinDevice) -> bool {
    let first = device.transaction_id == TransactionId::default() && device.created == 0;
    first && !view.entries.iter().any(|entry| entry.device.kind == DeviceKind::Base)
}

/// A device's record, if it is still there.
fn suspect(pool: &Pool<'_>, device: &Device, why: String) -> Result<Option<Suspect>, PoolError> {
    let records = pool.catalog.records_of(device.id)?;
    let record = records.into_iter().find(|record| record.kind == RecordKind::Device);
    Ok(record.map(|record| Suspect { record, why }))
}

/// A device as a sentence names it.
pub(in crate::pool) fn told(entry: &Entry) -> String {
    match (&entry.container, entry.device.kind) {
        (Some(name), _) => format!("the container '{name}' (device {})", entry.device.id),
        (None, DeviceKind::Base) => format!("the base (device {})", entry.device.id),
        (None, DeviceKind::Image) => {
            format!("the image layer {} (device {})", entry.device.node, entry.device.id)
        }
        (None, DeviceKind::Container) => format!("the device {} ({})", entry.device.id, entry.device.node),
    }
}

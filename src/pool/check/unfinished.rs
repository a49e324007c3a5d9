//! What processes left when they died: changes in the middle, half-made devices, deletions that wait.

use super::devices::told;
use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::catalog::{DeviceState, Entry};
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    // Only a dead process leaves one under a free lock.
    if let (Some(intent), true) = (view.intent, view.belongs_together()) {
        findings.push(Finding::new(
            "change_unsettled",
            Severity::Warning,
            format!("a process died in the middle of a change ({:?})", intent.action),
            Remedy::Repair(Repair::Settle),
        ));
    }
    for entry in view.entries.iter().filter(|entry| !view.is_suspect(entry.device.id)) {
        if matches!(entry.device.state, DeviceState::Draft | DeviceState::Deleted) {
            findings.extend(unneeded(pool, view, entry)?);
        }
    }
    Ok(())
}

/// A draft or a deleted device, unless somebody works on it.
fn unneeded(pool: &Pool<'_>, view: &View, entry: &Entry) -> Result<Option<Finding>, PoolError> {
    let device = &entry.device;
    let Some(_idle) = pool.not_worked_on(device.id)? else { return Ok(None) };
    // It may have been finished or freed since the view was taken.
    if pool.catalog.device(device.id)?.as_ref() != Some(device) {
        return Ok(None);
    }
    let repair = Remedy::Repair(Repair::Reap(device.clone()));
    if device.state == DeviceState::Draft {
        let sentence = format!("{} was never finished: whoever made it died", told(entry));
        return Ok(Some(Finding::new("device_abandoned", Severity::Warning, sentence, repair)));
    }
    let open = pool.active_device(device)?.map_or(0, |info| info.open_count);
    Ok(Some(if open > 0 {
        let sentence =
            format!("{} is removed and still open ({open} times): freed when it is closed", told(entry));
        Finding::note("deletion_waiting", sentence)
    } else if view.active {
        let sentence = format!("{} is removed, and its blocks are still to be freed", told(entry));
        Finding::new("deletion_waiting", Severity::Warning, sentence, repair)
    } else {
        let sentence = format!("{} is removed; its blocks are freed when the pool is active", told(entry));
        Finding::note("deletion_waiting", sentence)
    }))
}

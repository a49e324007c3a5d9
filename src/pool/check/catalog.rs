//! The catalog by itself: records that can't be trusted, and those that were put away.

use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    for suspect in &view.suspects {
        let sentence = format!("the record of {} can't be trusted: {}", suspect.record, suspect.why);
        let repair = Remedy::Repair(Repair::Quarantine(suspect.clone()));
        findings.push(Finding::new("record_broken", Severity::Critical, sentence, repair));
    }
    for (layer, parent) in pool.catalog.layers_without_parent()? {
        findings.push(Finding::note(
            "layer_without_parent",
            format!(
                "the layer {layer} was made on {parent}, which is not in the catalog: what is in it is complete, and an \
                 import of its image makes the layer below again"
            ),
        ));
    }
    for quarantined in pool.catalog.quarantined()? {
        findings.push(Finding::note(
            "quarantined",
            format!(
                "{} is in quarantine (number {}): {}: {}",
                quarantined.what, quarantined.number, quarantined.why, quarantined.record
            ),
        ));
    }
    Ok(())
}

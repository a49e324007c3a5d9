//! What is known of the kernel's own metadata. To check it is thin_check's work, which needs it at rest: made at each
//! activation, and here if the pool isn't active.

use super::finding::{Finding, Remedy};
use super::view::View;
use crate::backing::{Backing, Part};
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};
use crate::thin_tools::{Depth, Outcome};

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let known = pool.catalog.metadata_check()?;
    let outcome = match &view.superblock {
        Some(superblock) if !view.active && !matches!(pool.record.backing, Backing::ThinPool(_)) => {
            let metadata = pool.find_part(Part::Metadata)?;
            let limit = crate::pool::metadata_check::limit(superblock.metadata_used);
            Some(pool.host.checker.check(metadata.path(), Depth::Full, limit)?.outcome)
        }
        _ => known.map(|check| check.checked.outcome),
    };
    let by_hand = |hint: &str| Remedy::ByHand(hint.to_owned());
    findings.extend(match outcome {
        Some(Outcome::Damaged { said }) => Some(Finding::new(
            "metadata",
            Severity::Critical,
            format!("the pool's metadata is damaged: {said}"),
            by_hand("copy it before anything else, and repair the copy with thin_repair(8)"),
        )),
        Some(Outcome::Leaks) => Some(Finding::new(
            "metadata",
            Severity::Warning,
            "the pool's metadata counts blocks as used that nobody uses: nothing is lost but their room",
            by_hand("deactivate the pool, and repair a copy of the metadata with thin_repair(8)"),
        )),
        Some(Outcome::Unfinished { .. } | Outcome::NoTool | Outcome::Skipped) => Some(Finding::note(
            "metadata",
            "the pool's metadata was not checked, or not to the end (`thinpool status` tells why)",
        )),
        Some(Outcome::Sound) | None => None,
    });
    if view.superblock.is_some_and(|superblock| superblock.needs_check) {
        findings.push(Finding::new(
            "metadata",
            Severity::Critical,
            "the kernel wants the pool's metadata checked, and writes nothing until then",
            by_hand("`thinpool status` tells what to do"),
        ));
    }
    Ok(())
}

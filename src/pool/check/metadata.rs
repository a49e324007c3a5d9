//! What is known of the kernel's own metadata. To check it is thin_check's work, which needs it at rest: made at each
//! activation, and here if the pool isn't active.

use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::backing::{Backing, Part};
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};
use crate::thin_tools::{Depth, Outcome};
use crate::units::MetaBlocks;

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let at_rest = !view.active && !matches!(pool.record.backing, Backing::ThinPool(_));
    let outcome = if at_rest {
        check(pool, view)?
    } else {
        pool.catalog.metadata_check()?.map(|check| check.checked.outcome)
    };
    let mend = |repair| {
        if at_rest {
            Remedy::Repair(repair)
        } else {
            Remedy::ByHand("`thinpool deactivate`, then `thinpool repair`".to_owned())
        }
    };
    let needs_check = view.superblock.is_some_and(|superblock| superblock.needs_check);
    // New metadata has no such flag.
    let is_sound = matches!(outcome, Some(Outcome::Sound));
    findings.extend(match outcome {
        Some(Outcome::Damaged { said }) => Some(Finding::new(
            "metadata",
            Severity::Critical,
            format!("the pool's metadata is damaged: {said}"),
            mend(Repair::RenewMetadata),
        )),
        Some(Outcome::Leaks) => Some(Finding::new(
            "metadata",
            Severity::Warning,
            "the pool's metadata counts blocks as used that nobody uses: nothing is lost but their room",
            mend(Repair::RenewMetadata),
        )),
        Some(Outcome::Unfinished { .. } | Outcome::NoTool | Outcome::Skipped) => Some(Finding::note(
            "metadata",
            "the pool's metadata was not checked, or not to the end (`thinpool status` tells why)",
        )),
        Some(Outcome::Sound) | None => None,
    });
    if needs_check && (is_sound || !at_rest) {
        findings.push(Finding::new(
            "metadata",
            Severity::Critical,
            "the kernel wants the pool's metadata checked, and writes nothing until then",
            mend(Repair::ClearNeedsCheck),
        ));
    }
    Ok(())
}

/// A full check of metadata at rest. One that has no superblock any more needs none.
fn check(pool: &Pool<'_>, view: &View) -> Result<Option<Outcome>, PoolError> {
    let metadata = match pool.find_part(Part::Metadata) {
        Ok(metadata) => metadata,
        Err(error @ PoolError::PartTooShort { .. }) => {
            return Ok(Some(Outcome::Damaged { said: error.to_string() }));
        }
        // That the file or the device isn't there, the status tells.
        Err(error) => {
            tracing::debug!(pool = %pool.name, %error, "its metadata was not checked");
            return Ok(pool.catalog.metadata_check()?.map(|check| check.checked.outcome));
        }
    };
    if let Err(PoolError::Superblock { source, .. }) = pool.own_superblock(metadata.path()) {
        return Ok(Some(Outcome::Damaged { said: source.to_string() }));
    }
    let all = MetaBlocks(pool.record.policy.metadata_size.0 / MetaBlocks::SIZE.0);
    let used = view.superblock.map_or(all, |superblock| superblock.metadata_used);
    let limit = crate::pool::metadata_check::limit(used);
    Ok(Some(pool.host.checker.check(metadata.path(), Depth::Full, limit)?.outcome))
}

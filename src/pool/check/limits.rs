//! What a pool runs out of in its life, and can't be given more of.

use super::finding::{Finding, Remedy};
use super::view::View;
use crate::catalog::Clock;
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};
use crate::units::DeviceId;

/// From this share on it is told, in percent.
const SCARCE: u64 = 90;

/// Whether so much of a limit is used up that it is to be told.
#[must_use]
pub(in crate::pool) fn is_scarce(used: u64, limit: u64) -> bool {
    until_scarce(used, limit) == 0
}

/// How much more of a limit can be used up before that is to be told.
#[must_use]
pub(in crate::pool) fn until_scarce(used: u64, limit: u64) -> u64 {
    (limit / 100 * SCARCE).saturating_sub(used)
}

/// How many ids there are.
pub(in crate::pool) fn ids() -> u64 {
    u64::from(DeviceId::MAX.get()) + 1
}

#[allow(clippy::unnecessary_wraps, reason = "as all looks are")]
pub(super) fn look(_: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let used = view.claimed.len() as u64;
    if is_scarce(used, ids()) {
        findings.push(Finding::new(
            "ids_scarce",
            Severity::Warning,
            format!("{used} of the pool's {} ids for devices are in use", ids()),
            Remedy::ByHand("remove images and containers: their ids can be used again".to_owned()),
        ));
    }
    let snapshots = view.superblock.map_or(0, |superblock| u64::from(superblock.time));
    if is_scarce(snapshots, Clock::END) {
        findings.push(Finding::new(
            "snapshots_scarce",
            Severity::Warning,
            format!(
                "{snapshots} snapshots were made in this pool, and the kernel can't count further than {}: more are refused \
                 then, removed ones don't count back",
                Clock::END - 1
            ),
            Remedy::ByHand("set up a new pool and move to it what is needed, with images exported and imported".to_owned()),
        ));
    }
    Ok(())
}

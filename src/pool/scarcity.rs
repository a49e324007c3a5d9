//! What a pool runs out of in its life.

use super::check::{ids, is_scarce, until_scarce};
use super::status::Problem;
use super::{Pool, PoolError};
use crate::catalog::Clock;

/// What is scarce in a pool, as far as its catalog tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scarcity {
    /// Each thing that is.
    pub problems: Vec<Problem>,
    /// Nothing more can be before the pool has changed so often: each change raises its transaction id by one, and makes
    /// one device at most.
    pub not_before: u64,
}

impl Pool<'_> {
    /// What runs out in the pool's life. The snapshot clock is known of the last activation, and what it can have become
    /// since: to read it of a live pool takes a message.
    pub fn scarcity(&self) -> Result<Scarcity, PoolError> {
        let used = self.catalog.device_count()?;
        let made = self.catalog.clock()?.unwrap_or_default().at_most(self.catalog.transaction_id()?);
        let problems = [
            is_scarce(used, ids()).then_some(Problem::IdsScarce { used, limit: ids() }),
            is_scarce(made, Clock::END).then_some(Problem::SnapshotsScarce { made, limit: Clock::END }),
        ];
        let not_before = until_scarce(used, ids()).min(until_scarce(made, Clock::END));
        Ok(Scarcity { problems: problems.into_iter().flatten().collect(), not_before })
    }
}

//! What a monitor says of what it has seen, where that is news.

use super::backups::News;
use super::event;
use super::plan::{Plan, Rules};
use super::{Event, Monitor, Notice, RoomKnown};
use crate::backing::{MOST_METADATA, Part};
use crate::dm::{Mode, PoolStatus, PoolUsage};
use crate::pool::extend::Room;
use crate::pool::status::{self, Problem};
use crate::pool::{PoolError, Scarcity};
use crate::units::{DataBlocks, TransactionId};

impl Monitor<'_> {
    /// Says what the room that was asked for comes to, where that is news.
    pub(super) fn tell_room(&mut self, plan: &Plan, room: Option<Room>) {
        let Some(room) = room.filter(|_| self.rules.are_on()) else { return };
        let known = if plan.is_stuck() || !plan.can_grow { RoomKnown::None } else { RoomKnown::Some };
        let news: Vec<Part> = plan.stuck().filter(|part| !self.stuck.contains(part)).collect();
        match (self.room, known) {
            (RoomKnown::None, RoomKnown::Some) => {
                self.stuck.clear();
                self.tell(&Event::RoomAgain);
            }
            (_, RoomKnown::None) if !news.is_empty() => {
                self.stuck.extend(news);
                self.tell(&Event::NoRoom(room));
            }
            (RoomKnown::No, RoomKnown::None) => self.tell(&Event::CouldNotGrow(room)),
            _ => {}
        }
        self.room = known;
    }

    /// Says that what should have grown needn't any more. One that comes and goes by a few blocks is told of once.
    pub(super) fn tell_relief(&mut self, usage: &PoolUsage, plan: &Plan) {
        let mark = self.rules.low_water_mark(usage.data.total);
        if !self.stuck.is_empty() && !plan.is_due() && usage.data.free() > well_above(mark) {
            self.stuck.clear();
            self.tell(&Event::EnoughFree);
        }
    }

    /// What the kernel says is wrong, where that is news.
    pub(super) fn tell_troubles(&mut self, status: &PoolStatus) {
        let mut now = event::troubles(status);
        if let PoolStatus::Working(usage) = status {
            now.extend(self.nearly_full(usage));
        }
        let mut before = std::mem::replace(&mut self.troubles, now.clone());
        // What has become worse is not over.
        before.retain(|problem| !is_outdone(problem, &now));
        self.tell_news(&before, &now);
    }

    /// What a pool that doesn't grow by itself has too little left of. One that does is told of when it can't.
    fn nearly_full(&self, usage: &PoolUsage) -> Vec<Problem> {
        let Rules { min_free_space, block_size, .. } = self.rules;
        let grows = self.is_ours && self.rules.are_on();
        // One that comes and goes by a few blocks is told of once.
        let was_told = self.troubles.iter().any(|problem| matches!(problem, Problem::DataNearlyFull { .. }));
        let mark = min_free_space.of_data(usage.data.total);
        let mark = if was_told { well_above(mark) } else { mark };
        let data = status::data_nearly_full(usage.data, mark, min_free_space, block_size)
            .filter(|_| !grows && usage.mode != Mode::OutOfDataSpace);
        // The kernel lets metadata grow so far and no further.
        let metadata = status::metadata_nearly_full(usage.metadata, usage.metadata_low_water, min_free_space)
            .filter(|_| !grows || usage.metadata.total.bytes() >= MOST_METADATA);
        data.into_iter().chain(metadata).collect()
    }

    /// What runs out in the pool's life, where that is news. The catalog knows, which isn't opened before it can say so.
    pub(super) fn tell_scarcity(&mut self, usage: &PoolUsage) -> Result<(), PoolError> {
        if usage.transaction_id < self.scarce_not_before {
            return Ok(());
        }
        let Scarcity { problems, not_before } = self.pool()?.scarcity()?;
        self.scarce_not_before = TransactionId(usage.transaction_id.0.saturating_add(not_before.max(1)));
        let before = std::mem::replace(&mut self.scarce, problems.clone());
        self.tell_news(&before, &problems);
        Ok(())
    }

    /// What is new of backups. That one is wanting is told once, until it isn't any more.
    pub(super) fn tell_of_backups(&mut self, news: News) {
        let lacked = std::mem::replace(&mut self.lacks_backup, matches!(news, News::Failed(_)));
        let pool = &self.location.name;
        match news {
            News::Taken(said) => tracing::info!(%pool, "its metadata is backed up: {said}"),
            News::NoneLacking => {}
            News::Failed(error) if lacked => tracing::debug!(%pool, %error, "still no backup"),
            News::Failed(error) => self.tell(&Event::BackupFailed { why: error.to_string() }),
        }
        if lacked && !self.lacks_backup {
            self.tell(&Event::BackedUpAgain);
        }
    }

    /// Problems that have come, and those that are over. One whose numbers are others by now is the same.
    fn tell_news(&mut self, before: &[Problem], now: &[Problem]) {
        let is_among = |problem: &Problem, all: &[Problem]| all.iter().any(|one| one.key() == problem.key());
        let over = before.iter().filter(|problem| !is_among(problem, now)).cloned().map(Event::Over);
        let begun = now.iter().filter(|problem| !is_among(problem, before)).cloned().map(Event::Trouble);
        for event in over.chain(begun) {
            self.tell(&event);
        }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        let pool = &self.location.name;
        event.tell(pool);
        self.hooks.tell(Notice::of(event, pool, self.usage.as_ref(), self.rules.block_size));
    }
}

pub(super) fn is_nearly_full(problem: &Problem) -> bool {
    matches!(problem, Problem::DataNearlyFull { .. } | Problem::MetadataNearlyFull { .. })
}

/// Whether another problem has taken this one's place that is worse.
fn is_outdone(problem: &Problem, now: &[Problem]) -> bool {
    let worse = match problem {
        Problem::DataNearlyFull { .. } => Problem::OutOfDataSpace,
        Problem::MetadataNearlyFull { .. } => Problem::OutOfMetadataSpace,
        _ => return false,
    };
    now.contains(&worse) || now.contains(&Problem::Failed)
}

/// Above a mark by so much that it isn't just a moment's freeing.
fn well_above(mark: DataBlocks) -> DataBlocks {
    mark + DataBlocks(mark.0 / 10)
}

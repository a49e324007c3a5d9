//! What is to be done about a pool, from what the kernel says of it: a function of its inputs and of nothing else.

use crate::backing::{MOST_METADATA, Part};
use crate::catalog::Policy;
use crate::config::WhenFull;
use crate::dm::{Mode, NoSpacePolicy, PoolUsage};
use crate::pool::extend::{Room, RoomIn};
use crate::pool::low_water_mark;
use crate::units::{BlockSize, Bytes, DataBlocks, Percent};

/// For how long a growth is to last at the pace at which the pool is being filled, in seconds: longer than a growth takes.
const LASTS: u64 = 10;

/// The least that the data grows by, unless that would more than double it. A fifth of a small pool is written in no time.
const LEAST_DATA: Bytes = Bytes::mib(128);

/// The least that the metadata grows by, unless that would more than double it.
const LEAST_METADATA: Bytes = Bytes::mib(4);

/// Which pool is watched over, by what rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How full the data gets before it grows; 100% is never, and then nothing grows.
    pub threshold: Percent,
    /// By how much of its size it grows then.
    pub percent: Percent,
    /// How much is to be kept free for those who are in it.
    pub min_free_space: Percent,
    /// The size of the pool's data blocks.
    pub block_size: BlockSize,
    /// What a write to the full pool is to meet.
    pub when_full: WhenFull,
}

/// What the kernel says of a pool at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its numbers.
    pub usage: &'a PoolUsage,
    /// How many bytes a second were taken by data since the last look.
    pub pace: Bytes,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// About the data.
    pub data: Due,
    /// About the metadata.
    pub metadata: Due,
    /// Whether there is room to grow, as far as is known.
    pub can_grow: bool,
    /// What is to happen to a write that finds no free block.
    pub when_full: NoSpacePolicy,
}

/// What is due for one part of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// To grow by so much.
    Growth(Bytes),
    /// To grow, and there is no room for it.
    Stuck,
}

impl Rules {
    /// The rules in a pool's record, and what a write to the full pool is to meet.
    #[must_use]
    pub fn of(policy: &Policy, when_full: WhenFull) -> Self {
        Self {
            when_full,
            threshold: policy.autoextend_threshold,
            percent: policy.autoextend_percent,
            min_free_space: policy.min_free_space,
            block_size: policy.block_size,
        }
    }

    /// Whether the pool is to grow by itself at all.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.threshold.get() < 100
    }

    /// At how many free blocks the kernel raises its event.
    #[must_use]
    pub fn low_water_mark(&self, total: DataBlocks) -> DataBlocks {
        low_water_mark(self.threshold, self.min_free_space, total)
    }
}

impl Due {
    /// Of a step, as much as there is room for, in whole blocks.
    fn growth(step: Bytes, room: Option<Bytes>, block: Bytes) -> Self {
        let step = room.map_or(step, |room| step.min(room));
        if step < block { Self::Stuck } else { Self::Growth(step) }
    }

    /// How much it is to grow by.
    #[must_use]
    pub fn by(self) -> Option<Bytes> {
        match self {
            Self::Growth(by) => Some(by),
            Self::Nothing | Self::Stuck => None,
        }
    }
}

impl Plan {
    /// Whether anything is to grow for which there is no room.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.stuck().next().is_some()
    }

    /// What is to grow, and has no room for it.
    pub fn stuck(&self) -> impl Iterator<Item = Part> + use<> {
        let parts = [(Part::Data, self.data), (Part::Metadata, self.metadata)];
        parts.into_iter().filter(|(_, due)| *due == Due::Stuck).map(|(part, _)| part)
    }

    /// Whether anything is to grow for which there is room, as far as is known.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.data.by().or(self.metadata.by()).is_some()
    }

    /// Whether anything is to grow.
    #[must_use]
    pub fn is_due(&self) -> bool {
        [self.data, self.metadata].iter().any(|due| *due != Due::Nothing)
    }

    /// What to do by these rules. Room that isn't known is taken to be there: to ask for it takes time, and who tries to grow
    /// finds out.
    #[must_use]
    pub fn new(seen: &Seen<'_>, rules: &Rules, room: Option<&Room>) -> Self {
        let usage = seen.usage;
        if is_left_alone(usage) {
            return Self { can_grow: true, when_full: usage.no_space, ..Self::without_growth(rules) };
        }
        if !rules.are_on() {
            return Self::without_growth(rules);
        }
        let data_step =
            (usage.data.used >= rules.threshold.of_data(usage.data.total)).then(|| data_step(seen, rules));
        let metadata = metadata(usage, data_step, rules, room);
        let block = rules.block_size.bytes();
        let left = room.map(|room| room.data - taken(room, metadata.by().unwrap_or_default()));
        let data = data_step.map_or(Due::Nothing, |step| Due::growth(step, left, block));
        let can_grow = data != Due::Stuck && room.is_none_or(|room| room.data >= block);
        Self { data, metadata, can_grow, when_full: rules.when_full.policy(can_grow) }
    }

    /// To grow by nothing, since that can't be.
    #[must_use]
    pub fn without_growth(rules: &Rules) -> Self {
        let when_full = rules.when_full.policy(false);
        Self { data: Due::Nothing, metadata: Due::Nothing, can_grow: false, when_full }
    }
}

/// Whether nothing can be done about a pool: the kernel would grow nothing and say that it did. One that is out of metadata can
/// grow.
pub(super) fn is_left_alone(usage: &PoolUsage) -> bool {
    usage.needs_check || (usage.mode == Mode::ReadOnly && usage.metadata.free().0 > 0)
}

/// By how much the data is to grow: by the share that was asked for, and more where that wouldn't last.
fn data_step(seen: &Seen<'_>, rules: &Rules) -> Bytes {
    let total = seen.usage.data.total.bytes(rules.block_size);
    let more = LEAST_DATA.max(seen.pace * LASTS).min(total);
    rules.percent.of_bytes(total).max(more)
}

/// What is due for the metadata: at seven tenths, at the kernel's own mark, and where the data is about to need more.
fn metadata(usage: &PoolUsage, data_step: Option<Bytes>, rules: &Rules, room: Option<&Room>) -> Due {
    let (used, total, free) = (usage.metadata.used, usage.metadata.total, usage.metadata.free());
    let has = total.bytes();
    if has >= MOST_METADATA {
        // Nothing can be done about it; the status warns.
        return Due::Nothing;
    }
    // Each 16,320 data blocks that are added take one to be counted in, at once.
    let to_count = data_step.map_or(0, |step| step.0 / rules.block_size.bytes().0 / 16_000 + 32);
    let is_due = used.0.saturating_mul(10) >= total.0.saturating_mul(7)
        || usage.metadata_low_water.is_some_and(|mark| free <= mark)
        || free.0 < to_count;
    if !is_due {
        return Due::Nothing;
    }
    let step = rules.percent.of_bytes(has).max(LEAST_METADATA.min(has)).min(MOST_METADATA - has);
    Due::growth(step, room.map(|room| room.metadata), crate::units::MetaBlocks::SIZE)
}

/// What the metadata takes of the room that the data has.
fn taken(room: &Room, metadata: Bytes) -> Bytes {
    match room.lies_in {
        RoomIn::FileSystem(_) => metadata,
        // Its spare grows with it.
        RoomIn::VolumeGroup(_) => metadata * 2,
        RoomIn::Devices | RoomIn::Nowhere => Bytes(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dm::{Blocks, PoolStatus};
    use crate::units::MetaBlocks;

    fn rules() -> Rules {
        let [threshold, percent, min_free_space] =
            [80, 20, 10].map(|share| Percent::try_from(share).expect("a share"));
        Rules {
            threshold,
            percent,
            min_free_space,
            block_size: BlockSize::DEFAULT,
            when_full: WhenFull::Auto,
        }
    }

    /// The kernel's numbers: data and metadata of so many blocks, of which so many are in use.
    fn usage(data: (u64, u64), metadata: (u64, u64)) -> PoolUsage {
        let line = format!(
            "0 {}/{} {}/{} - rw discard_passdown queue_if_no_space - 1024",
            metadata.0, metadata.1, data.0, data.1
        );
        match line.parse() {
            Ok(PoolStatus::Working(usage)) => usage,
            other => panic!("{other:?}"),
        }
    }

    fn plan(usage: &PoolUsage, pace: Bytes, room: Option<Bytes>) -> Plan {
        let lies_in = RoomIn::FileSystem("/".into());
        let room = room.map(|room| Room { data: room, metadata: room, lies_in });
        Plan::new(&Seen { usage, pace }, &rules(), room.as_ref())
    }

    /// 16 GiB in blocks of 64 KiB.
    const TOTAL: u64 = 262_144;
    const EMPTY: (u64, u64) = (100, 16_384);

    #[test]
    fn the_data_grows_at_its_threshold_and_not_before() {
        let at = 80 * TOTAL / 100;
        assert_eq!(plan(&usage((at - 1, TOTAL), EMPTY), Bytes(0), None).data, Due::Nothing);
        let fifth = Percent::try_from(20).expect("a share").of_bytes(Bytes::gib(16));
        assert_eq!(plan(&usage((at, TOTAL), EMPTY), Bytes(0), None).data, Due::Growth(fifth));
        assert_eq!(plan(&usage((TOTAL, TOTAL), EMPTY), Bytes(0), None).data, Due::Growth(fifth));
    }

    #[test]
    fn the_kernels_event_comes_when_the_growth_is_due() {
        for total in [1, 99, 1000, 1023, TOTAL] {
            let mark = rules().low_water_mark(DataBlocks(total));
            for used in 0..=total.min(2000) {
                let due = plan(&usage((used, total), EMPTY), Bytes(0), None).data != Due::Nothing;
                assert_eq!(due, DataBlocks(total) - DataBlocks(used) <= mark, "{used} of {total}");
            }
        }
    }

    #[test]
    fn a_pool_that_is_not_to_grow_has_its_event_while_there_is_something_to_be_kept_free() {
        let off = Rules { threshold: Percent::try_from(100).expect("a share"), ..rules() };
        assert_eq!(off.low_water_mark(DataBlocks(1000)), DataBlocks(100));
        let free = Rules { min_free_space: Percent::ZERO, ..off };
        assert_eq!(free.low_water_mark(DataBlocks(1000)), DataBlocks(0), "nothing is to be kept free");
    }

    #[test]
    fn a_small_pool_and_one_that_is_filled_fast_grow_by_more() {
        let small = usage((1000, 1024), EMPTY);
        assert_eq!(plan(&small, Bytes(0), None).data, Due::Growth(Bytes::mib(64)), "twice its size");
        let large = usage((TOTAL, TOTAL), EMPTY);
        assert_eq!(plan(&large, Bytes::mib(500), None).data, Due::Growth(Bytes::mib(5000)));
        assert_eq!(plan(&large, Bytes::gib(500), None).data, Due::Growth(Bytes::gib(16)), "twice its size");
    }

    #[test]
    fn metadata_grows_at_seven_tenths_at_the_kernels_mark_and_where_data_needs_it() {
        let metadata = |used, total| plan(&usage((0, TOTAL), (used, total)), Bytes(0), None).metadata;
        assert_eq!(metadata(6_999, 10_000), Due::Nothing);
        assert_eq!(metadata(7_000, 10_000), Due::Growth(Bytes(8000 * 1024)));
        assert!(
            matches!(metadata(1, 1024), Due::Growth(_)),
            "all of it is below the kernel's mark of 1024 blocks"
        );
        // A terabyte of data more takes a thousand blocks of metadata to be counted.
        let data = 16 * 1024 * 1024 * 5;
        let plan = plan(&usage((data, data), (2_430, 3_500)), Bytes(0), None);
        assert!(plan.metadata.by().is_some() && plan.data.by().is_some(), "{plan:?}");
        let most = MOST_METADATA.0 / MetaBlocks::SIZE.0;
        assert_eq!(metadata(most, most), Due::Nothing, "the kernel can use no more");
    }

    #[test]
    fn what_is_left_is_taken_before_a_pool_is_called_stuck() {
        let full = usage((TOTAL, TOTAL), EMPTY);
        assert_eq!(plan(&full, Bytes(0), Some(Bytes::mib(1))).data, Due::Growth(Bytes::mib(1)));
        let none = plan(&full, Bytes(0), Some(Bytes::kib(63)));
        assert_eq!((none.data, none.when_full), (Due::Stuck, NoSpacePolicy::Error));
    }

    #[test]
    fn writes_wait_only_where_the_pool_can_grow() {
        let half = usage((TOTAL / 2, TOTAL), EMPTY);
        assert_eq!(plan(&half, Bytes(0), Some(Bytes::mib(1))).when_full, NoSpacePolicy::Queue);
        assert_eq!(plan(&half, Bytes(0), Some(Bytes(0))).when_full, NoSpacePolicy::Error);
        let off = Rules { threshold: Percent::try_from(100).expect("a share"), ..rules() };
        let full = usage((TOTAL, TOTAL), EMPTY);
        let plan = Plan::new(&Seen { usage: &full, pace: Bytes(0) }, &off, None);
        assert!(!plan.is_due() && plan.when_full == NoSpacePolicy::Error, "{plan:?}");
    }

    #[test]
    fn somebody_who_wants_writes_to_wait_or_to_fail_has_it_so_with_room_and_without() {
        let half = usage((TOTAL / 2, TOTAL), EMPTY);
        for (when_full, policy) in
            [(WhenFull::Queue, NoSpacePolicy::Queue), (WhenFull::Error, NoSpacePolicy::Error)]
        {
            for room in [Bytes(0), Bytes::gib(1)] {
                let room = Room { data: room, metadata: room, lies_in: RoomIn::FileSystem("/".into()) };
                let seen = Seen { usage: &half, pace: Bytes(0) };
                let plan = Plan::new(&seen, &Rules { when_full, ..rules() }, Some(&room));
                assert_eq!((plan.when_full, plan.can_grow), (policy, room.data.0 > 0));
            }
        }
    }

    #[test]
    fn a_pool_that_would_not_grow_is_left_alone_and_one_without_metadata_is_rescued() {
        let mut sick = usage((TOTAL, TOTAL), EMPTY);
        sick.needs_check = true;
        assert!(!plan(&sick, Bytes(0), None).is_due());
        let mut read_only = usage((TOTAL, TOTAL), EMPTY);
        read_only.mode = Mode::ReadOnly;
        assert!(!plan(&read_only, Bytes(0), None).is_due());
        read_only.metadata = Blocks { used: MetaBlocks(1024), total: MetaBlocks(1024) };
        assert_eq!(plan(&read_only, Bytes(0), None).metadata, Due::Growth(Bytes::mib(4)));
    }

    proptest! {
        #[test]
        fn no_plan_takes_more_than_there_is_and_none_is_for_nothing(
            used in 0..=(1_u64 << 40),
            more in 0..=(1_u64 << 40),
            metadata in (0..=5_000_000_u64, 0..=5_000_000_u64),
            threshold in 1..=100_u8,
            percent in 0..=100_u8,
            pace: u64,
            room in proptest::option::of((any::<u64>(), any::<u64>())),
            group: bool,
        ) {
            let [threshold, percent] = [threshold, percent].map(|share| Percent::try_from(share).expect("a share"));
            let rules = Rules { threshold, percent, ..rules() };
            let usage = usage((used, used.saturating_add(more)), (metadata.0, metadata.0 + metadata.1));
            let lies_in = if group { RoomIn::VolumeGroup("vg".into()) } else { RoomIn::FileSystem("/".into()) };
            let room = room.map(|(data, metadata)| Room { data: Bytes(data), metadata: Bytes(metadata), lies_in });
            let plan = Plan::new(&Seen { usage: &usage, pace: Bytes(pace) }, &rules, room.as_ref());
            let (data, metadata) = (plan.data.by().unwrap_or_default(), plan.metadata.by().unwrap_or_default());
            if let Some(room) = &room {
                prop_assert!(data <= room.data && metadata <= room.metadata);
                prop_assert!(data.0 == 0 || data.0.saturating_add(metadata.0) <= room.data.0);
            }
            prop_assert!(plan.data != Due::Growth(Bytes(0)) && plan.metadata != Due::Growth(Bytes(0)));
            prop_assert!(data <= usage.data.total.bytes(rules.block_size), "more than doubled");
            prop_assert!(usage.metadata.total.bytes() + metadata <= MOST_METADATA.max(usage.metadata.total.bytes()));
            prop_assert_eq!(plan.data == Due::Stuck && (plan.can_grow || plan.when_full == NoSpacePolicy::Queue), false);
            prop_assert!(rules.are_on() || !plan.is_due());
        }
    }
}

//! The twin is held to the kernel: random steps, the same results.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use thinpool::dm::{
    Access, DeviceMapper, Feature, Name, PoolMessage, PoolStatus, Removal, Table, Visibility,
};
use thinpool::units::{DataBlocks, DeviceId, TransactionId};

use crate::bed::{Bed, id};
use crate::pair::Pair;
use crate::stall::Watch;

const THINS: u32 = 3;

/// Which of the devices: mostly one that the step can do something with, whichever these are when it comes to it.
#[derive(Debug, Clone, Copy)]
struct Pick {
    which: usize,
    any: bool,
}

fn pick() -> impl Strategy<Value = Pick> {
    (0..12_usize, prop::bool::weighted(0.12)).prop_map(|(which, any)| Pick { which, any })
}

impl Pick {
    fn among(self, wanted: impl Iterator<Item = u32>) -> u32 {
        let wanted: Vec<u32> = wanted.collect();
        match wanted.get(self.which % wanted.len().max(1)) {
            Some(device) if !self.any => *device,
            _ => u32::try_from(self.which).unwrap_or(0) % THINS,
        }
    }
}

/// What the devices are at a moment, by the twin.
struct Now {
    existing: Vec<u32>,
    active: Vec<u32>,
}

impl Now {
    fn of(pair: &Pair<'_>) -> Self {
        let bed = pair.bed;
        let active = |device: &u32| pair.twin.find(&bed.thin(*device)).is_ok_and(|info| info.is_some());
        Self {
            existing: pair.twin.devices(bed.metadata.number()).into_iter().map(DeviceId::get).collect(),
            active: (0..THINS).filter(active).collect(),
        }
    }

    fn free(&self, pick: Pick) -> u32 {
        pick.among((0..THINS).filter(|device| !self.existing.contains(device)))
    }

    fn existing(&self, pick: Pick) -> u32 {
        pick.among(self.existing.iter().copied())
    }

    fn active(&self, pick: Pick) -> u32 {
        pick.among(self.active.iter().copied())
    }

    fn inactive(&self, pick: Pick) -> u32 {
        pick.among(self.existing.iter().copied().filter(|device| !self.active.contains(device)))
    }
}

#[derive(Debug, Clone)]
enum Step {
    CreatePool { blocks: u64, features: Vec<Feature> },
    ReloadPool { blocks: u64, features: Vec<Feature>, low_water: u64 },
    RemovePool,
    CreateThin(Pick),
    Snapshot { device: Pick, origin: Pick, suspend: bool },
    Delete(Pick),
    Activate { device: Pick, blocks: u64, access: Access },
    ReloadThin { device: Pick, blocks: u64 },
    Deactivate(Pick, Removal),
    Rename { device: Pick, to: Pick },
    Transaction { right: bool, to: u64 },
    Suspend(Which),
    Resume(Which),
    Write { device: Pick, block: u64, blocks: u64 },
    Discard { device: Pick, block: u64, blocks: u64 },
    Open(Pick),
    Close(Pick),
    Reserve,
    Release,
    MessageToThin(Pick),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Pool,
    Thin(Pick),
}

fn features() -> impl Strategy<Value = Vec<Feature>> {
    let rest = prop_oneof![
        12 => Just(vec![]),
        2 => Just(vec![Feature::NoDiscardPassdown]),
        2 => Just(vec![Feature::SkipBlockZeroing]),
        1 => Just(vec![Feature::SkipBlockZeroing, Feature::NoDiscardPassdown]),
        1 => Just(vec![Feature::IgnoreDiscard]),
        1 => Just(vec![Feature::ReadOnly]),
    ];
    // A pool that queues would make the test wait.
    rest.prop_map(|mut features| {
        features.insert(0, Feature::ErrorIfNoSpace);
        features
    })
}

fn step() -> impl Strategy<Value = Step> {
    let thin = pick;
    let access = prop_oneof![9 => Just(Access::ReadWrite), 1 => Just(Access::ReadOnly)];
    let which = || prop_oneof![1 => Just(Which::Pool), 2 => thin().prop_map(Which::Thin)];
    let pool_blocks = || prop_oneof![6 => Just(64_u64), 3 => Just(96), 1 => Just(97), 1 => Just(32)];
    let removal = prop_oneof![1 => Just(Removal::Now), 3 => Just(Removal::Deferred)];
    prop_oneof![
        3 => (pool_blocks(), features()).prop_map(|(blocks, features)| Step::CreatePool { blocks, features }),
        3 => (pool_blocks(), features(), 0..70_u64)
            .prop_map(|(blocks, features, low_water)| {
                // The kernel adds the growth of a read-only pool again later, at a moment of its own.
                let blocks = if features.contains(&Feature::ReadOnly) { 64 } else { blocks };
                Step::ReloadPool { blocks, features, low_water }
            }),
        1 => Just(Step::RemovePool),
        8 => thin().prop_map(Step::CreateThin),
        7 => (thin(), thin(), prop::bool::weighted(0.9))
            .prop_map(|(device, origin, suspend)| Step::Snapshot { device, origin, suspend }),
        4 => thin().prop_map(Step::Delete),
        12 => (thin(), prop_oneof![Just(40_u64), Just(70)], access)
            .prop_map(|(device, blocks, access)| Step::Activate { device, blocks, access }),
        2 => (thin(), prop_oneof![Just(40_u64), Just(70)])
            .prop_map(|(device, blocks)| Step::ReloadThin { device, blocks }),
        4 => (thin(), removal).prop_map(|(device, removal)| Step::Deactivate(device, removal)),
        2 => (thin(), thin()).prop_map(|(device, to)| Step::Rename { device, to }),
        4 => (prop::bool::weighted(0.7), 0..9_u64).prop_map(|(right, to)| Step::Transaction { right, to }),
        2 => which().prop_map(Step::Suspend),
        4 => which().prop_map(Step::Resume),
        16 => (thin(), 0..39_u64, 1..24_u64)
            .prop_map(|(device, block, blocks)| Step::Write { device, block, blocks }),
        4 => (thin(), 0..39_u64, 1..24_u64)
            .prop_map(|(device, block, blocks)| Step::Discard { device, block, blocks }),
        2 => thin().prop_map(Step::Open),
        3 => thin().prop_map(Step::Close),
        2 => Just(Step::Reserve),
        2 => Just(Step::Release),
        1 => thin().prop_map(Step::MessageToThin),
    ]
}

/// Does one step to both. `Err` tells a difference.
fn take(pair: &mut Pair<'_>, step: &Step) -> Result<(), String> {
    let bed = pair.bed;
    let pool = bed.pool();
    let message =
        |pair: &Pair<'_>, message: PoolMessage| pair.both(|dm| dm.message(&pool, &message)).map(drop);
    let now = Now::of(pair);
    let name = |which: Which| match which {
        Which::Pool => bed.pool(),
        Which::Thin(device) => bed.thin(now.active(device)),
    };
    match *step {
        Step::CreatePool { blocks, ref features } => {
            let mut table = bed.pool_table(blocks);
            table.features.clone_from(features);
            let table = Table::ThinPool(table);
            pair.both(|dm| bed.make(dm, &pool, &table, Access::ReadWrite)).map(drop)
        }
        Step::ReloadPool { blocks, ref features, low_water } => {
            let mut table = bed.pool_table(blocks);
            table.features.clone_from(features);
            table.low_water_mark = DataBlocks(low_water);
            let table = Table::ThinPool(table);
            pair.both(|dm| dm.reload(&pool, &table, Visibility::Internal)).map(drop)
        }
        // Deferred, or each try on a pool in use would wait for it to become free.
        Step::RemovePool => match pair.twin.find(&pool) {
            Ok(Some(info)) if info.open_count > 0 => Ok(()),
            _ => pair.both(|dm| dm.remove(&pool, Removal::Now)).map(drop),
        },
        Step::CreateThin(device) => message(pair, PoolMessage::CreateThin(id(now.free(device)))),
        Step::Snapshot { device, origin, suspend } => {
            let (device, origin) = (now.free(device), now.existing(origin));
            let (snapshot, origin_name) =
                (PoolMessage::CreateSnap { device: id(device), origin: id(origin) }, bed.thin(origin));
            let active = pair.twin.find(&origin_name).is_ok_and(|info| info.is_some_and(|i| !i.suspended));
            let suspended = suspend && active && pair.both(|dm| dm.suspend(&origin_name))?.is_ok();
            message(pair, snapshot)?;
            if suspended {
                pair.both(|dm| dm.resume(&origin_name, Visibility::Internal))??;
            }
            Ok(())
        }
        Step::Delete(device) => message(pair, PoolMessage::Delete(id(now.inactive(device)))),
        Step::Activate { device, blocks, access } => {
            let device = now.inactive(device);
            pair.both(|dm| bed.make(dm, &bed.thin(device), &bed.thin_table(dm, device, blocks), access))
                .map(drop)
        }
        Step::ReloadThin { device, blocks } => {
            let device = now.active(device);
            pair.both(|dm| {
                let table = bed.thin_table(dm, device, blocks);
                dm.reload(&bed.thin(device), &table, Visibility::Internal)
            })
            .map(drop)
        }
        Step::Deactivate(device, removal) => {
            let name = bed.thin(now.active(device));
            pair.remove(&name, removal)
        }
        Step::Rename { device, to } => {
            let to = to.among((0..THINS).filter(|device| !now.active.contains(device)));
            pair.rename(&bed.thin(now.active(device)), &bed.thin(to))
        }
        Step::Transaction { right, to } => {
            let from = match pair.twin.pool_status(&pool) {
                Ok(PoolStatus::Working(usage)) => usage.transaction_id.0,
                _ => 0,
            };
            let from = TransactionId(if right { from } else { from + 1 });
            message(pair, PoolMessage::SetTransactionId { from, to: TransactionId(to) })
        }
        Step::Suspend(which) => pair.both(|dm| dm.suspend(&name(which))).map(drop),
        Step::Resume(which) => pair.both(|dm| dm.resume(&name(which), Visibility::Internal)).map(drop),
        Step::Write { device, block, blocks } => pair.write(&bed.thin(now.active(device)), block, blocks),
        Step::Discard { device, block, blocks } => pair.discard(&bed.thin(now.active(device)), block, blocks),
        Step::Open(device) => pair.open(&bed.thin(now.active(device))),
        Step::Close(device) => {
            pair.close(&bed.thin(now.active(device)));
            Ok(())
        }
        Step::Reserve => message(pair, PoolMessage::ReserveMetadataSnap),
        Step::Release => message(pair, PoolMessage::ReleaseMetadataSnap),
        Step::MessageToThin(device) => {
            let name = bed.thin(now.active(device));
            pair.both(|dm| dm.message(&name, &PoolMessage::CreateThin(id(1)))).map(drop)
        }
    }
}

/// Gets a pair going again that a step left without a pool, or suspended: else most steps would meet nothing.
fn mend(pair: &mut Pair<'_>) -> Result<(), String> {
    let bed = pair.bed;
    let resume = |name: &Name| pair.both(|dm| dm.resume(name, Visibility::Internal)).map(drop);
    match pair.twin.find(&bed.pool()) {
        // It may have grown from one to the other.
        Ok(None) => [64, 96].into_iter().try_for_each(|blocks| {
            let table = Table::ThinPool(bed.pool_table(blocks));
            pair.both(|dm| bed.make(dm, &bed.pool(), &table, Access::ReadWrite)).map(drop)
        })?,
        Ok(Some(info)) if info.suspended => resume(&bed.pool())?,
        _ => {}
    }
    (0..THINS).try_for_each(|thin| match pair.twin.find(&bed.thin(thin)) {
        Ok(Some(info)) if info.suspended => resume(&bed.thin(thin)),
        _ => Ok(()),
    })?;
    if Now::of(pair).active.is_empty() {
        let first = Pick { which: 0, any: false };
        take(pair, &Step::CreateThin(first))?;
        take(pair, &Step::Activate { device: first, blocks: 40, access: Access::ReadWrite })?;
    }
    Ok(())
}

/// Takes the steps on a fresh pair, comparing after each.
fn walk(bed: &Bed, steps: &[Step], watch: &Watch, results: &mut BTreeMap<String, u32>) -> Result<(), String> {
    let names = std::iter::once(bed.pool()).chain((0..THINS).map(|thin| bed.thin(thin))).collect();
    let mut pair = Pair::new(bed, names);
    mend(&mut pair)?;
    for (number, step) in steps.iter().enumerate() {
        watch.next(format!("step {number} of {steps:?}"));
        let mended = if number % 3 == 2 { mend(&mut pair) } else { Ok(()) };
        mended
            .and_then(|()| take(&mut pair, step))
            .and_then(|()| pair.compare())
            .map_err(|difference| format!("step {number}, {step:?}: {difference}"))?;
    }
    for (result, times) in pair.results.take() {
        *results.entry(result).or_default() += times;
    }
    Ok(())
}

#[test]
fn what_the_twin_promises_the_kernel_keeps() {
    const STEPS: usize = 25;
    let bed = Bed::new();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(30);
    // Every shrunken case costs as much as a case: enough to get rid of most steps.
    let config = Config { cases, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), STEPS / 2..=STEPS);
    let mut runner = TestRunner::new(config);
    let (watch, results) = (Watch::new(), RefCell::new(BTreeMap::new()));
    let result = runner.run(&steps, |steps| {
        walk(&bed, &steps, &watch, &mut results.borrow_mut()).map_err(TestCaseError::fail)
    });
    println!("{:#?}", results.borrow());
    if let Err(error) = result {
        panic!("{error}");
    }
}

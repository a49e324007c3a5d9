//! Errnos that random steps hardly meet, and disks that fail. Each is asked of the kernel and of the twin.

use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use thinpool::dm::{
    Access, DeviceMapper, DeviceNumber, Error, Feature, Injection, Linear, PoolMessage, PoolStatus, Removal,
    Table, Thin, ThinPool, ThinStatus, Visibility,
};
use thinpool::units::{BlockSize, Bytes, DataBlocks, Sectors};

use crate::bed::{BLOCK, Bed, Loop, id, run};
use crate::pair::Pair;

/// A pair that looks at the pool and two devices in it.
fn pair(bed: &Bed) -> Pair<'_> {
    Pair::new(bed, vec![bed.pool(), bed.thin(0), bed.thin(1), bed.name("linear")])
}

/// The same on both, and as expected.
fn expect<T>(
    pair: &Pair<'_>,
    expected: Result<(), Errno>,
    act: impl Fn(&dyn DeviceMapper) -> Result<T, Error>,
) {
    let told = pair.both(act).and_then(|result| pair.compare().map(|()| result));
    assert_eq!(told, Ok(expected.map_err(|errno| format!("{errno:?}"))));
}

fn make_pool(
    pair: &Pair<'_>,
    change: impl Fn(&mut ThinPool),
) -> impl Fn(&dyn DeviceMapper) -> Result<(), Error> {
    let bed = pair.bed;
    let mut table = bed.pool_table(64);
    change(&mut table);
    let table = Table::ThinPool(table);
    move |dm| bed.make(dm, &bed.pool(), &table, Access::ReadWrite).map(drop)
}

#[test]
fn a_pool_table_on_the_wrong_disks_is_refused_alike() {
    let bed = Bed::new();
    let pair = pair(&bed);
    let nowhere = DeviceNumber { major: 8, minor: 250 };
    expect(&pair, Err(Errno::ENXIO), make_pool(&pair, |table| table.metadata = nowhere));
    expect(&pair, Err(Errno::ENXIO), make_pool(&pair, |table| table.data = nowhere));
    expect(&pair, Err(Errno::EPERM), make_pool(&pair, |table| table.features.push(Feature::ReadOnly)));
    // A loop device without a file: the kernel makes it when it is asked for.
    let empty = DeviceNumber { major: 7, minor: 999 };
    expect(&pair, Err(Errno::EIO), make_pool(&pair, |table| table.metadata = empty));
    bed.metadata.fill(0xA5);
    pair.twin.damage(bed.metadata.number()).expect("a disk");
    expect(&pair, Err(Errno::ENOTBLK), make_pool(&pair, |_| ()));
}

#[test]
fn a_pool_on_a_loop_device_without_a_file_is_accepted_alike() {
    let bed = Bed::new();
    let pair = pair(&bed);
    let empty = DeviceNumber { major: 7, minor: 999 };
    expect(&pair, Ok(()), make_pool(&pair, |table| table.data = empty));
}

#[test]
fn a_pool_that_does_not_fit_its_metadata_is_refused_alike() {
    let bed = Bed::new();
    let pair = pair(&bed);
    let remove = |dm: &dyn DeviceMapper| dm.remove(&bed.pool(), Removal::Now);
    expect(&pair, Ok(()), make_pool(&pair, |_| ()));
    expect(&pair, Ok(()), remove);
    let large = BlockSize::try_from(Bytes::kib(128)).expect("a block size");
    expect(&pair, Err(Errno::EINVAL), make_pool(&pair, |table| table.block_size = large));
    expect(&pair, Err(Errno::EINVAL), make_pool(&pair, |table| table.length = Sectors(32 * BLOCK)));
    pair.resize(&bed.metadata, Bytes::mib(2));
    expect(&pair, Err(Errno::EINVAL), make_pool(&pair, |_| ()));
    pair.resize(&bed.metadata, Bytes::mib(8));
    expect(&pair, Ok(()), make_pool(&pair, |_| ()));
}

#[test]
fn an_active_pool_takes_no_other_disks_and_no_other_block_size() {
    let bed = Bed::new();
    let pair = pair(&bed);
    expect(&pair, Ok(()), make_pool(&pair, |_| ()));
    let reload = |change: &dyn Fn(&mut ThinPool)| {
        let mut table = bed.pool_table(64);
        change(&mut table);
        let table = Table::ThinPool(table);
        let pool = bed.pool();
        move |dm: &dyn DeviceMapper| dm.reload(&pool, &table, Visibility::Internal)
    };
    let (metadata, data) = (bed.metadata.number(), bed.data.number());
    expect(&pair, Err(Errno::EINVAL), reload(&|table| table.data = metadata));
    let other = Loop::new(bed.data.file().with_extension("other"), Bytes::mib(4));
    pair.twin.add_disk(other.number(), Bytes::mib(4));
    expect(&pair, Err(Errno::EBUSY), reload(&|table| table.data = other.number()));
    expect(&pair, Err(Errno::EINVAL), reload(&|table| table.metadata = other.number()));
    expect(&pair, Err(Errno::EINVAL), reload(&|table| table.metadata = data));
    expect(&pair, Err(Errno::EINVAL), reload(&|table| table.features.push(Feature::IgnoreDiscard)));
    let large = BlockSize::try_from(Bytes::kib(128)).expect("a block size");
    expect(&pair, Ok(()), reload(&|table| table.block_size = large));
    expect(&pair, Ok(()), reload(&|table| table.features.push(Feature::ReadOnly)));
    let create = |dm: &dyn DeviceMapper| dm.message(&bed.pool(), &PoolMessage::CreateThin(id(1)));
    expect(&pair, Err(Errno::EOPNOTSUPP), create);
    expect(&pair, Ok(()), reload(&|table| table.low_water_mark = DataBlocks(9)));
    expect(&pair, Ok(()), create);
    // A second pool on the same metadata.
    let second = Table::ThinPool(bed.pool_table(64));
    expect(&pair, Err(Errno::EBUSY), |dm| {
        let uuid = thinpool::dm::Uuid::of_pool(&uuid::Uuid::nil());
        dm.create(&thinpool::dm::NewDevice {
            name: &bed.name("linear"),
            uuid: &uuid,
            table: &second,
            access: Access::ReadWrite,
            visibility: Visibility::Internal,
            rules: thinpool::dm::Rules::Awaited,
        })
    });
    expect(&pair, Err(Errno::EINVAL), |dm| {
        let linear = Linear { length: Sectors(BLOCK), device: metadata, offset: Sectors(0) };
        dm.reload(&bed.pool(), &Table::Linear(linear), Visibility::Internal)
    });
}

#[test]
fn a_pool_that_grows_while_read_only_claims_blocks_its_disk_does_not_have() {
    let bed = Bed::new();
    let pair = pair(&bed);
    expect(&pair, Ok(()), make_pool(&pair, |_| ()));
    let mut table = bed.pool_table(96);
    let larger = Table::ThinPool(table.clone());
    table.features.push(Feature::ReadOnly);
    let read_only = Table::ThinPool(table);
    pair.resize(&bed.metadata, Bytes::mib(8));
    for table in [read_only, larger] {
        expect(&pair, Ok(()), |dm| dm.reload(&bed.pool(), &table, Visibility::Internal));
    }
    let PoolStatus::Working(usage) = bed.dm.pool_status(&bed.pool()).expect("told") else { panic!("failed") };
    assert_eq!(usage.data.total, DataBlocks(128));
    // And so it can never be activated again at its true size.
    expect(&pair, Ok(()), |dm| dm.remove(&bed.pool(), Removal::Now));
    expect(&pair, Err(Errno::EINVAL), make_pool(&pair, |table| table.length = Sectors(96 * BLOCK)));
}

#[test]
fn a_flush_fails_in_a_read_only_pool_where_the_first_block_was_never_written() {
    let bed = Bed::new();
    let pair = pair(&bed);
    expect(&pair, Ok(()), make_pool(&pair, |_| ()));
    expect(&pair, Ok(()), |dm| dm.message(&bed.pool(), &PoolMessage::CreateThin(id(0))));
    let thin =
        |dm: &dyn DeviceMapper| bed.make(dm, &bed.thin(0), &bed.thin_table(dm, 0, 40), Access::ReadWrite);
    expect(&pair, Ok(()), thin);
    let reload = |features: &[Feature]| {
        let mut table = bed.pool_table(64);
        table.features.extend_from_slice(features);
        expect(&pair, Ok(()), |dm| {
            dm.reload(&bed.pool(), &Table::ThinPool(table.clone()), Visibility::Internal)
        });
    };
    for (first, expected) in [(2, Err(Some(5))), (0, Ok(()))] {
        pair.write(&bed.thin(0), first, 2).expect("the same");
        reload(&[Feature::ReadOnly]);
        pair.write(&bed.thin(0), first, 1).expect("the same");
        let written = crate::pair::write(&bed.thin(0), first, 1);
        assert_eq!(written.map_err(|error| error.raw_os_error()), expected, "{first}");
        reload(&[]);
    }
}

#[test]
fn a_thin_table_that_leads_nowhere_is_refused_alike() {
    let bed = Bed::new();
    let pair = pair(&bed);
    let thin = |pool| Table::Thin(Thin { length: Sectors(BLOCK), pool, id: id(0), external_origin: None });
    let nowhere = thin(DeviceNumber { major: 8, minor: 250 });
    expect(&pair, Err(Errno::ENXIO), |dm| bed.make(dm, &bed.thin(0), &nowhere, Access::ReadWrite));
    let disk = thin(bed.data.number());
    expect(&pair, Err(Errno::EINVAL), |dm| bed.make(dm, &bed.thin(0), &disk, Access::ReadWrite));
    let linear =
        Table::Linear(Linear { length: Sectors(BLOCK), device: bed.data.number(), offset: Sectors(0) });
    let name = bed.name("linear");
    expect(&pair, Ok(()), |dm| bed.make(dm, &name, &linear, Access::ReadWrite));
    expect(&pair, Err(Errno::EINVAL), |dm| {
        let number = dm.find(&name)?.expect("there").device;
        bed.make(dm, &bed.thin(0), &thin(number), Access::ReadWrite)
    });
    let none = bed.thin(1);
    expect(&pair, Err(Errno::ENXIO), |dm| dm.suspend(&none));
    expect(&pair, Err(Errno::ENXIO), |dm| dm.resume(&none, Visibility::Internal));
    expect(&pair, Err(Errno::ENXIO), |dm| dm.remove(&none, Removal::Deferred));
    expect(&pair, Err(Errno::ENXIO), |dm| dm.table(&none));
    expect(&pair, Err(Errno::ENXIO), |dm| dm.pool_status(&none));
    expect(&pair, Err(Errno::ENXIO), |dm| dm.reload(&none, &linear, Visibility::Internal));
}

/// The pool's metadata behind a linear device, so that it can be made to fail.
fn pool_over_linear(bed: &Bed) -> Pair<'_> {
    let pair = pair(bed);
    let linear = Table::Linear(Linear {
        length: Bytes::mib(4).sectors(),
        device: bed.metadata.number(),
        offset: Sectors(0),
    });
    expect(&pair, Ok(()), |dm| bed.make(dm, &bed.name("linear"), &linear, Access::ReadWrite));
    let table = |dm: &dyn DeviceMapper| {
        let metadata = dm.find(&bed.name("linear")).expect("found").expect("there").device;
        Table::ThinPool(ThinPool { metadata, ..bed.pool_table(64) })
    };
    let made = pair.both(|dm| bed.make(dm, &bed.pool(), &table(dm), Access::ReadWrite));
    assert_eq!(made, Ok(Ok(())));
    let message = |message| assert_eq!(pair.both(|dm| dm.message(&bed.pool(), &message)), Ok(Ok(())));
    message(PoolMessage::CreateThin(id(0)));
    let thin =
        |dm: &dyn DeviceMapper| bed.make(dm, &bed.thin(0), &bed.thin_table(dm, 0, 40), Access::ReadWrite);
    assert_eq!(pair.both(thin), Ok(Ok(())));
    pair.write(&bed.thin(0), 0, 3).expect("room");
    pair
}

/// Puts another table under the pool's metadata, of a target that only tests need.
fn replace_linear(bed: &Bed, table: &str) {
    let name = bed.name("linear");
    run("dmsetup", &["load", name.as_str(), "--table", table]);
    run("dmsetup", &["suspend", "--noflush", name.as_str()]);
    run("dmsetup", &["resume", name.as_str()]);
}

#[test]
fn a_pool_whose_metadata_disk_is_gone_is_seen_to_have_failed() {
    let bed = Bed::new();
    let pair = pool_over_linear(&bed);
    replace_linear(&bed, "0 8192 error");
    // The kernel notices at the first change.
    let _ = bed.dm.message(&bed.pool(), &PoolMessage::CreateThin(id(5)));
    pair.twin.inject(&bed.pool(), Injection::Fail).expect("a pool");
    assert_eq!(bed.dm.pool_status(&bed.pool()).expect("told"), PoolStatus::Fail);
    assert_eq!(bed.dm.thin_status(&bed.thin(0)).expect("told"), ThinStatus::Fail);
    let message = |message| pair.both(|dm| dm.message(&bed.pool(), &message));
    assert_eq!(message(PoolMessage::Delete(id(0))), Ok(Err("EOPNOTSUPP".into())));
    let table = pair.both(|dm| dm.table(&bed.thin(0))).expect("the same");
    assert!(table.is_err(), "{table:?}");
    let thin =
        |dm: &dyn DeviceMapper| bed.make(dm, &bed.thin(1), &bed.thin_table(dm, 1, 40), Access::ReadWrite);
    assert_eq!(pair.both(thin), Ok(Err("EINVAL".into())));
    pair.write(&bed.thin(0), 0, 1).expect("the same");
}

#[test]
fn a_message_whose_commit_fails_is_answered_with_success_and_the_pool_wants_a_check() {
    let bed = Bed::new();
    let pair = pool_over_linear(&bed);
    let node = bed.metadata.number();
    replace_linear(&bed, &format!("0 8192 flakey {node} 0 0 60 1 error_writes"));
    pair.twin.inject(&bed.pool(), Injection::NextCommitFails).expect("a pool");
    let create = |dm: &dyn DeviceMapper| dm.message(&bed.pool(), &PoolMessage::CreateThin(id(5)));
    assert_eq!(pair.both(create), Ok(Ok(())));
    replace_linear(&bed, &format!("0 8192 linear {node} 0"));
    expect(&pair, Err(Errno::EOPNOTSUPP), create);
    // It grows with success, and does not grow.
    let larger = |dm: &dyn DeviceMapper| {
        let metadata = dm.find(&bed.name("linear")).expect("found").expect("there").device;
        Table::ThinPool(ThinPool { metadata, ..bed.pool_table(96) })
    };
    expect(&pair, Ok(()), |dm| dm.reload(&bed.pool(), &larger(dm), Visibility::Internal));
    pair.write(&bed.thin(0), 0, 1).expect("the same: its own block");
    pair.write(&bed.thin(0), 9, 1).expect("the same: a new block");
    pair.discard(&bed.thin(0), 0, 2).expect("the same");
    expect(&pair, Ok(()), |dm| dm.remove(&bed.thin(0), Removal::Now));
    expect(&pair, Ok(()), |dm| dm.remove(&bed.pool(), Removal::Now));
    expect(&pair, Ok(()), |dm| bed.make(dm, &bed.pool(), &larger(dm), Access::ReadWrite));
    let PoolStatus::Working(usage) = bed.dm.pool_status(&bed.pool()).expect("told") else { panic!("failed") };
    assert!(usage.needs_check);
}

#[test]
fn to_suspend_a_device_of_a_suspended_pool_would_wait_for_the_pool() {
    let bed = Bed::new();
    let pair = pair(&bed);
    expect(&pair, Ok(()), make_pool(&pair, |_| ()));
    expect(&pair, Ok(()), |dm| dm.message(&bed.pool(), &PoolMessage::CreateThin(id(0))));
    let thin =
        |dm: &dyn DeviceMapper| bed.make(dm, &bed.thin(0), &bed.thin_table(dm, 0, 40), Access::ReadWrite);
    expect(&pair, Ok(()), thin);
    expect(&pair, Ok(()), |dm| dm.suspend(&bed.pool()));
    let refused = pair.twin.suspend(&bed.thin(0)).expect_err("would wait");
    assert_eq!(refused.errno(), Some(Errno::EDEADLK));
    let name = bed.thin(0);
    let mut waiting = Command::new("dmsetup").args(["suspend", name.as_str()]).spawn().expect("dmsetup");
    std::thread::sleep(Duration::from_secs(1));
    let early = waiting.try_wait().expect("a child");
    assert_eq!(pair.both(|dm| dm.resume(&bed.pool(), Visibility::Internal)), Ok(Ok(())));
    assert!(waiting.wait().expect("a child").success());
    assert_eq!(early, None, "it did not wait for the pool");
    pair.twin.suspend(&bed.thin(0)).expect("no wait any more");
    assert_eq!(pair.compare(), Ok(()));
}

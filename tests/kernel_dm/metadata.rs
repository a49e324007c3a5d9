//! What the kernel writes on the metadata device, read by us: next to the twin, which knows it from memory.

use std::collections::BTreeMap;

use thinpool::dm::{
    Access, DeviceMapper, Feature, MetadataSnapshot, Name, PoolMessage, PoolStatus, PoolUsage, Removal,
    Table, ThinPool, TwinVolume,
};
use thinpool::thin_metadata::{Metadata, MetadataReader, Place, SystemMetadata};
use thinpool::units::{DeviceId, MetaBlocks};

use crate::bed::{Bed, id, run};
use crate::pair::Pair;

/// What can be read of each device: its blocks, where they end, and the three numbers of its birth and last snapshot.
type Seen = BTreeMap<DeviceId, (u64, u64, u64, u32, u32)>;

fn seen(metadata: &Metadata) -> Seen {
    let devices = metadata.devices().expect("sound");
    let see = |device: &thinpool::thin_metadata::ThinDevice| {
        let end = metadata.mapped_end(device.id).expect("sound").0;
        (device.id, (device.mapped.0, end, device.transaction_id.0, device.created, device.snapshotted))
    };
    devices.iter().map(see).collect()
}

fn remembered(volumes: &BTreeMap<DeviceId, TwinVolume>) -> Seen {
    let see = |(id, volume): (&DeviceId, &TwinVolume)| {
        let end = volume.mappings.last_key_value().map_or(0, |(at, _)| at + 1);
        let mapped = volume.mappings.len() as u64;
        (*id, (mapped, end, volume.transaction_id.0, volume.created, volume.snapshotted))
    };
    volumes.iter().map(see).collect()
}

fn usage(bed: &Bed) -> PoolUsage {
    match bed.dm.pool_status(&bed.pool()).expect("told") {
        PoolStatus::Working(usage) => usage,
        status => panic!("{status:?}"),
    }
}

fn held_root(bed: &Bed) -> Option<MetaBlocks> {
    usage(bed).held_metadata_root
}

/// The pool as a metadata snapshot of now shows it.
fn read_live(bed: &Bed, meanwhile: impl FnOnce()) -> Seen {
    let pool = bed.pool();
    let snapshot = MetadataSnapshot::reserve(&bed.dm, &pool).expect("none is held");
    let blocks = SystemMetadata.open(&Place::Device(bed.metadata.number())).expect("opened");
    let (root, data) = (held_root(bed).expect("held"), usage(bed).data);
    meanwhile();
    let metadata = Metadata::snapshot(blocks, root, data).expect("a superblock");
    let seen = seen(&metadata);
    snapshot.release().expect("held");
    assert_eq!(held_root(bed), None);
    seen
}

#[test]
fn the_metadata_that_the_kernel_writes_is_read_live_and_at_rest() {
    let bed = Bed::new();
    let names: Vec<Name> = [bed.pool(), bed.thin(1), bed.thin(2)].into();
    let pair = Pair::new(&bed, names);
    let done = |result: Result<Result<(), String>, String>| result.expect("the same").expect("done");
    let message = |message| done(pair.both(|dm| dm.message(&bed.pool(), &message)));
    let activate = |number| {
        done(pair.both(|dm| {
            let table = bed.thin_table(dm, number, 40);
            bed.make(dm, &bed.thin(number), &table, Access::ReadWrite)
        }));
    };
    let told = || remembered(&pair.twin.volumes(bed.metadata.number()));
    done(pair.both(|dm| bed.make(dm, &bed.pool(), &Table::ThinPool(bed.pool_table(64)), Access::ReadWrite)));
    assert_eq!(read_live(&bed, || ()), Seen::new());
    message(PoolMessage::CreateThin(id(1)));
    activate(1);
    pair.write(&bed.thin(1), 3, 9).expect("the same");
    let (from, to) = (thinpool::units::TransactionId(0), thinpool::units::TransactionId(5));
    message(PoolMessage::SetTransactionId { from, to });
    done(pair.both(|dm| dm.remove(&bed.thin(1), Removal::Now)));
    message(PoolMessage::CreateSnap { device: id(2), origin: id(1) });
    activate(2);
    pair.write(&bed.thin(2), 10, 9).expect("the same");
    assert_eq!(read_live(&bed, || ()), told());
    // What is written while it is held shows in the next one only: and not as what an old cache has.
    let before = told();
    assert_eq!(read_live(&bed, || pair.write(&bed.thin(2), 30, 5).expect("the same")), before);
    assert_eq!(read_live(&bed, || ()), told());
    assert_ne!(told(), before);
    bed.clear();
    for place in [Place::Device(bed.metadata.number()), Place::Path(bed.metadata.file().to_owned())] {
        let resting = Metadata::at_rest(SystemMetadata.open(&place).expect("opened")).expect("a superblock");
        assert_eq!(seen(&resting), told(), "{place:?}");
        assert_eq!(resting.superblock().transaction_id, to);
        assert_eq!((resting.superblock().data.used.0, resting.superblock().data.total.0), (23, 64));
    }
}

/// Each device's mapped and exclusive blocks, as thin_ls of thin-provisioning-tools counts them.
fn listed_by_thin_ls(bed: &Bed, arguments: &[&str]) -> BTreeMap<u32, (u64, u64)> {
    let node = bed.metadata.node.to_str().expect("a path");
    let columns = ["--no-headers", "-o", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS"];
    let listed = run("thin_ls", &[&columns, arguments, &[node]].concat());
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).expect("a number");
    let lines = listed.lines().map(|line| {
        let mut words = line.split_whitespace();
        let id = u32::try_from(number(words.next())).expect("24 bits");
        (id, (number(words.next()), number(words.next())))
    });
    lines.collect()
}

fn counted(metadata: &Metadata) -> BTreeMap<u32, (u64, u64)> {
    let usage = metadata.usage().expect("sound");
    assert_eq!(usage.mapped(), metadata.data().used, "what devices have is what the pool uses");
    let counted = usage.devices.iter();
    counted.map(|(id, share)| (id.get(), (share.mapped.0, share.exclusive.0))).collect()
}

/// Writes into the first 4 KiB of every `step`-th block.
fn touch(name: &Name, from: u64, blocks: u64, step: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(name.path()).expect("opened");
    for block in (from..from + blocks).step_by(step) {
        file.write_all_at(&[7; 4096], block << 16).expect("written");
    }
    file.sync_all().expect("flushed");
}

#[test]
fn who_has_what_is_counted_as_thin_ls_counts_it() {
    const BLOCKS: u64 = 2000;
    let bed = Bed::new();
    bed.data.resize(thinpool::units::Bytes::kib(64) * BLOCKS);
    let pool = bed.pool();
    let table = ThinPool { features: vec![Feature::SkipBlockZeroing], ..bed.pool_table(BLOCKS) };
    bed.make(&bed.dm, &pool, &Table::ThinPool(table), Access::ReadWrite).expect("a pool");
    let message = |message| bed.dm.message(&pool, &message).expect("done");
    let active = |number: u32, use_it: &dyn Fn(&Name)| {
        let table = bed.thin_table(&bed.dm, number, 1200);
        bed.make(&bed.dm, &bed.thin(number), &table, Access::ReadWrite).expect("active");
        use_it(&bed.thin(number));
        bed.dm.remove(&bed.thin(number), Removal::Now).expect("closed");
    };
    let compare = || {
        let snapshot = MetadataSnapshot::reserve(&bed.dm, &pool).expect("none is held");
        let (root, data) = (held_root(&bed).expect("held"), usage(&bed).data);
        let blocks = SystemMetadata.open(&Place::Device(bed.metadata.number())).expect("opened");
        let ours = counted(&Metadata::snapshot(blocks, root, data).expect("a superblock"));
        let theirs = listed_by_thin_ls(&bed, &["--metadata-snap"]);
        snapshot.release().expect("held");
        assert_eq!(ours, theirs);
    };
    message(PoolMessage::CreateThin(id(1)));
    active(1, &|name| touch(name, 0, 600, 1));
    // A fixed sequence that looks like chance: snapshots of snapshots, writes near and far, deletions of what others share.
    let mut chance = 12345_u32;
    let mut next = |below: u32| {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (chance >> 8) % below
    };
    let mut devices = vec![1];
    for new in 2..9 {
        let origin = devices[next(u32::try_from(devices.len()).expect("few")) as usize];
        message(PoolMessage::CreateSnap { device: id(new), origin: id(origin) });
        devices.push(new);
        let (from, blocks, step) = (u64::from(next(700)), u64::from(next(120)), 1 + next(9) as usize);
        active([new, origin][next(2) as usize], &|name| touch(name, from, blocks, step));
        if new % 3 == 0 {
            let gone = devices.swap_remove(next(u32::try_from(devices.len()).expect("few")) as usize);
            message(PoolMessage::Delete(id(gone)));
            compare();
        }
    }
    compare();
    bed.clear();
    let place = Place::Device(bed.metadata.number());
    let resting = Metadata::at_rest(SystemMetadata.open(&place).expect("opened")).expect("a superblock");
    assert_eq!(counted(&resting), listed_by_thin_ls(&bed, &[]));
    assert!(resting.differences(id(devices[0]), id(devices[0])).expect("sound").is_empty());
}

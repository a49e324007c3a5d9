//! What the kernel writes on the metadata device, read by us: next to the twin, which knows it from memory.

use std::collections::BTreeMap;

use thinpool::dm::{
    Access, DeviceMapper, MetadataSnapshot, Name, PoolMessage, PoolStatus, Removal, Table, TwinVolume,
};
use thinpool::thin_metadata::{Metadata, MetadataReader, Place, SystemMetadata};
use thinpool::units::{DeviceId, MetaBlocks};

use crate::bed::{Bed, id};
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

fn held_root(bed: &Bed) -> Option<MetaBlocks> {
    match bed.dm.pool_status(&bed.pool()).expect("told") {
        PoolStatus::Working(usage) => usage.held_metadata_root,
        status => panic!("{status:?}"),
    }
}

/// The pool as a metadata snapshot of now shows it.
fn read_live(bed: &Bed, meanwhile: impl FnOnce()) -> Seen {
    let pool = bed.pool();
    let snapshot = MetadataSnapshot::reserve(&bed.dm, &pool).expect("none is held");
    let blocks = SystemMetadata.open(&Place::Device(bed.metadata.number())).expect("opened");
    let root = held_root(bed).expect("held");
    meanwhile();
    let metadata = Metadata::snapshot(blocks, root, thinpool::units::DataBlocks(64)).expect("a superblock");
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

//! What upper layers rely on. That the kernel does the same is for `tests/kernel_dm.rs` to say.

use super::*;
use crate::dm::{
    Feature, Linear, Mode, PoolUsage, Rules, Superblock, SuperblockError, Suspended, Thin, ThinPool, Uuid,
};
use crate::units::{BlockSize, DataBlocks, TransactionId};

const META: DeviceNumber = DeviceNumber { major: 7, minor: 0 };
const DATA: DeviceNumber = DeviceNumber { major: 7, minor: 1 };
const BLOCK: u64 = 128;

struct Machine {
    dm: Twin,
    uuid: uuid::Uuid,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn id(number: u32) -> DeviceId {
    number.try_into().expect("an id")
}

fn pool_table(blocks: u64) -> ThinPool {
    ThinPool {
        length: Sectors(blocks * BLOCK),
        metadata: META,
        data: DATA,
        block_size: BlockSize::DEFAULT,
        low_water_mark: DataBlocks(2),
        features: vec![Feature::ErrorIfNoSpace],
    }
}

impl Machine {
    /// A machine with two disks, the data disk with 16 blocks, and no pool yet.
    fn bare() -> Self {
        let dm = Twin::new();
        dm.add_disk(META, Bytes::mib(4));
        dm.add_disk(DATA, Bytes::mib(1));
        Self { dm, uuid: uuid::Uuid::new_v4() }
    }

    fn with_pool() -> Self {
        let machine = Self::bare();
        machine.create("pool", &Table::ThinPool(pool_table(16))).expect("a pool");
        machine
    }

    fn create(&self, device: &str, table: &Table) -> Result<Info, Error> {
        let uuid = if let Table::Thin(thin) = table {
            Uuid::of_device(&self.uuid, thin.id)
        } else {
            Uuid::of_pool(&self.uuid)
        };
        self.dm.create(&NewDevice {
            name: &name(device),
            uuid: &uuid,
            table,
            access: Access::ReadWrite,
            visibility: Visibility::Internal,
            rules: Rules::Unawaited,
        })
    }

    /// Makes the device in the pool if it is not there, and activates it.
    fn thin(&self, number: u32) -> Name {
        let _ = self.message(PoolMessage::CreateThin(id(number)));
        self.activate(number).expect("active");
        name(&format!("thin-{number}"))
    }

    fn activate(&self, number: u32) -> Result<Info, Error> {
        let pool = self.dm.find(&name("pool")).expect("alive").expect("a pool").device;
        let table = Thin { length: Sectors(64 * BLOCK), pool, id: id(number), external_origin: None };
        self.create(&format!("thin-{number}"), &Table::Thin(table))
    }

    fn message(&self, message: PoolMessage) -> Result<(), Error> {
        self.dm.message(&name("pool"), &message)
    }

    fn snap(&self, device: u32, origin: u32) -> Result<(), Error> {
        self.message(PoolMessage::CreateSnap { device: id(device), origin: id(origin) })
    }

    fn write(&self, device: &Name, block: u64, blocks: u64) -> Result<(), IoError> {
        self.dm.write(device, Sectors(block * BLOCK), Sectors(blocks * BLOCK))
    }

    fn usage(&self) -> PoolUsage {
        match self.dm.pool_status(&name("pool")) {
            Ok(PoolStatus::Working(usage)) => usage,
            other => panic!("{other:?}"),
        }
    }

    fn used(&self) -> u64 {
        self.usage().data.used.0
    }

    fn stop(&self) {
        for device in self.dm.list().expect("a list").iter().rev() {
            self.dm.remove(device, Removal::Now).expect("closed");
        }
    }
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    result.expect_err("refused").errno().expect("by the kernel")
}

#[test]
fn what_a_pool_holds_survives_its_deactivation() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.write(&thin, 0, 3).expect("room");
    let (from, to) = (TransactionId(0), TransactionId(7));
    machine.message(PoolMessage::SetTransactionId { from, to }).expect("swapped");
    machine.stop();
    machine.create("pool", &Table::ThinPool(pool_table(16))).expect("again");
    assert_eq!((machine.used(), machine.usage().transaction_id), (3, to));
    assert_eq!(errno(machine.message(PoolMessage::CreateThin(id(1)))), Errno::EEXIST);
}

#[test]
fn a_wiped_metadata_disk_becomes_a_new_pool_without_a_word() {
    let machine = Machine::with_pool();
    machine.thin(1);
    machine.stop();
    let read = Superblock::read(&machine.dm.superblock(META)[..]).expect("a pool");
    assert_eq!(read.block_size, BlockSize::DEFAULT);
    machine.dm.wipe(META).expect("a disk");
    assert!(matches!(Superblock::read(&machine.dm.superblock(META)[..]), Err(SuperblockError::Empty)));
    machine.create("pool", &Table::ThinPool(pool_table(16))).expect("the trap");
    assert_eq!(errno(machine.activate(1)), Errno::ENODATA);
}

#[test]
fn a_disk_that_comes_back_under_another_number_has_its_pool() {
    let machine = Machine::with_pool();
    assert_eq!(machine.dm.remove_disk(META).expect_err("in use"), Errno::EBUSY);
    machine.thin(1);
    machine.stop();
    let disk = machine.dm.remove_disk(META).expect("free");
    let moved = DeviceNumber { major: 7, minor: 9 };
    machine.dm.insert_disk(moved, disk);
    assert_eq!(machine.dm.devices(moved), [id(1)]);
}

#[test]
fn metadata_on_a_linear_device_is_the_metadata_on_the_disk_below() {
    let machine = Machine::bare();
    let linear = Linear { length: Bytes::mib(2).sectors(), device: META, offset: Bytes::mib(1).sectors() };
    let below = machine.create("below", &Table::Linear(linear)).expect("linear").device;
    let dm = &machine.dm;
    let pool = Table::ThinPool(ThinPool { metadata: below, ..pool_table(16) });
    let uuid = Uuid::of_device(&machine.uuid, id(99));
    let pool_name = name("pool");
    let new = NewDevice {
        name: &pool_name,
        uuid: &uuid,
        table: &pool,
        access: Access::ReadWrite,
        visibility: Visibility::Internal,
        rules: Rules::Unawaited,
    };
    dm.create(&new).expect("a pool");
    assert_eq!(dm.superblock(META), [0; SUPERBLOCK_SIZE]);
    assert!(Superblock::read(&dm.superblock(below)[..]).is_ok());
    assert_eq!(dm.find(&name("below")).expect("alive").expect("there").open_count, 1);
}

#[test]
fn snapshots_share_blocks_until_one_side_writes() {
    let machine = Machine::with_pool();
    let origin = machine.thin(1);
    machine.write(&origin, 0, 4).expect("room");
    let guard = Suspended::new(&machine.dm, &origin, Visibility::Internal).expect("suspended");
    machine.snap(2, 1).expect("a snapshot");
    assert_eq!(machine.write(&origin, 0, 1), Err(IoError::Blocked));
    guard.resume().expect("resumed");
    assert_eq!(machine.used(), 4);
    machine.write(&origin, 1, 1).expect("room");
    assert_eq!(machine.used(), 5);
    machine.write(&origin, 1, 1).expect("its own by now");
    assert_eq!(machine.used(), 5);
    machine.dm.remove(&origin, Removal::Now).expect("closed");
    machine.message(PoolMessage::Delete(id(1))).expect("inactive");
    assert_eq!(machine.used(), 4);
    machine.message(PoolMessage::Delete(id(2))).expect("inactive");
    assert_eq!(machine.used(), 0);
    assert_eq!(machine.dm.torn_snapshots(), []);
}

#[test]
fn a_snapshot_of_a_running_origin_is_remembered_as_torn() {
    let machine = Machine::with_pool();
    machine.thin(1);
    machine.snap(2, 1).expect("the kernel doesn't check");
    assert_eq!(machine.dm.torn_snapshots(), [TornSnapshot { device: id(2), origin: id(1) }]);
}

#[test]
fn a_full_pool_says_so_and_a_delete_rescues_it() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.write(&thin, 0, 14).expect("room");
    assert_eq!(machine.dm.events(&name("pool")), 0);
    assert_eq!(machine.write(&thin, 14, 3), Err(IoError::Failed(Errno::ENOSPC)));
    assert_eq!((machine.usage().mode, machine.used()), (Mode::OutOfDataSpace, 16));
    assert_eq!(machine.dm.events(&name("pool")), 2);
    machine.dm.remove(&thin, Removal::Now).expect("closed");
    machine.message(PoolMessage::Delete(id(1))).expect("messages still work");
    assert_eq!((machine.usage().mode, machine.used()), (Mode::ReadWrite, 0));
}

#[test]
fn a_full_pool_that_queues_goes_on_when_it_has_grown() {
    let machine = Machine::bare();
    let queueing = |blocks| Table::ThinPool(ThinPool { features: vec![], ..pool_table(blocks) });
    machine.create("pool", &queueing(16)).expect("a pool");
    let thin = machine.thin(1);
    assert_eq!(machine.write(&thin, 0, 17), Err(IoError::Blocked));
    machine.dm.resize_disk(DATA, Bytes::mib(2)).expect("a disk");
    machine.dm.reload(&name("pool"), &queueing(32), Visibility::Internal).expect("grown");
    assert_eq!((machine.usage().data.total, machine.usage().mode), (DataBlocks(32), Mode::ReadWrite));
    machine.write(&thin, 0, 17).expect("room");
}

#[test]
fn a_pool_never_shrinks_and_stays_usable_after_the_attempt() {
    let machine = Machine::with_pool();
    let shrink =
        |blocks| machine.dm.reload(&name("pool"), &Table::ThinPool(pool_table(blocks)), Visibility::Internal);
    assert_eq!(errno(shrink(8)), Errno::EINVAL);
    assert_eq!(errno(shrink(17)), Errno::EINVAL);
    let info = machine.dm.find(&name("pool")).expect("alive").expect("there");
    assert!(!info.suspended);
    assert_eq!(machine.dm.table(&name("pool")).expect("one"), Some(Table::ThinPool(pool_table(16))));
    machine.write(&machine.thin(1), 0, 1).expect("room");
}

#[test]
fn the_last_close_removes_what_was_to_be_removed_then() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.dm.open(&thin).expect("opened");
    assert_eq!(errno(machine.dm.remove(&thin, Removal::Now)), Errno::EBUSY);
    assert_eq!(errno(machine.dm.remove(&name("pool"), Removal::Now)), Errno::EBUSY);
    for device in [&name("pool"), &thin] {
        assert_eq!(machine.dm.remove(device, Removal::Deferred).expect("marked"), Removed::WhenClosed);
    }
    assert_eq!(errno(machine.message(PoolMessage::Delete(id(1)))), Errno::EBUSY);
    machine.dm.close(&thin).expect("was open");
    assert_eq!(machine.dm.list().expect("a list"), []);
}

#[test]
fn the_kernels_errnos_are_the_twins() {
    let machine = Machine::with_pool();
    let message = |message| errno(machine.message(message));
    assert_eq!(errno(machine.create("pool", &Table::ThinPool(pool_table(16)))), Errno::EBUSY);
    machine.message(PoolMessage::CreateThin(id(1))).expect("new");
    assert_eq!(message(PoolMessage::CreateThin(id(1))), Errno::EEXIST);
    assert_eq!(errno(machine.snap(1, 1)), Errno::EEXIST);
    assert_eq!(errno(machine.snap(2, 9)), Errno::ENODATA);
    assert_eq!(message(PoolMessage::Delete(id(9))), Errno::ENODATA);
    let (from, to) = (TransactionId(5), TransactionId(6));
    assert_eq!(message(PoolMessage::SetTransactionId { from, to }), Errno::EINVAL);
    assert_eq!(message(PoolMessage::ReleaseMetadataSnap), Errno::EINVAL);
    machine.message(PoolMessage::ReserveMetadataSnap).expect("none yet");
    assert_eq!(message(PoolMessage::ReserveMetadataSnap), Errno::EBUSY);
    assert_eq!(errno(machine.activate(9)), Errno::ENODATA);
    let thin = machine.thin(1);
    assert_eq!(message(PoolMessage::Delete(id(1))), Errno::EBUSY);
    assert_eq!(errno(machine.dm.message(&thin, &PoolMessage::CreateThin(id(3)))), Errno::EINVAL);
    assert_eq!(errno(machine.dm.message(&name("none"), &PoolMessage::CreateThin(id(3)))), Errno::ENXIO);
    assert!(matches!(machine.dm.pool_status(&thin), Err(Error::Target { .. })));
    assert_eq!(errno(machine.dm.pool_status(&name("none"))), Errno::ENXIO);
}

#[test]
fn a_held_metadata_snapshot_keeps_the_blocks_it_sees() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.write(&thin, 0, 2).expect("room");
    machine.message(PoolMessage::ReserveMetadataSnap).expect("none yet");
    assert!(machine.usage().held_metadata_root.is_some());
    machine.dm.discard(&thin, Sectors(0), Sectors(2 * BLOCK)).expect("discarded");
    assert_eq!(machine.used(), 2);
    machine.message(PoolMessage::ReleaseMetadataSnap).expect("one");
    assert_eq!(machine.used(), 0);
}

#[test]
fn a_discard_takes_whole_blocks_only() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.write(&thin, 0, 3).expect("room");
    machine.dm.discard(&thin, Sectors(1), Sectors(3 * BLOCK - 2)).expect("discarded");
    assert_eq!(machine.used(), 2);
    let status = machine.dm.thin_status(&thin).expect("thin");
    let usage = ThinUsage { mapped: Sectors(2 * BLOCK), highest_mapped: Some(Sectors(3 * BLOCK - 1)) };
    assert_eq!(status, ThinStatus::Working(usage));
}

#[test]
fn a_pool_that_needs_a_check_refuses_messages_and_growth_until_it_was_checked() {
    let machine = Machine::with_pool();
    machine.dm.inject(&name("pool"), Injection::NextCommitFails).expect("active");
    machine.message(PoolMessage::CreateThin(id(1))).expect("the kernel says yes");
    assert_eq!(machine.dm.devices(META), []);
    assert!(machine.usage().needs_check);
    assert_eq!(errno(machine.message(PoolMessage::CreateThin(id(1)))), Errno::EOPNOTSUPP);
    machine.dm.resize_disk(DATA, Bytes::mib(2)).expect("a disk");
    let larger = Table::ThinPool(pool_table(32));
    machine.dm.reload(&name("pool"), &larger, Visibility::Internal).expect("says yes, and does nothing");
    assert_eq!((machine.usage().data.total, machine.usage().mode), (DataBlocks(16), Mode::ReadOnly));
    machine.stop();
    machine.dm.clear_needs_check(META).expect("a pool");
    machine.create("pool", &larger).expect("a pool");
    assert_eq!((machine.usage().data.total, machine.usage().mode), (DataBlocks(32), Mode::ReadWrite));
}

#[test]
fn a_failed_pool_fails_everything() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.dm.inject(&name("pool"), Injection::Fail).expect("active");
    assert_eq!(machine.dm.pool_status(&name("pool")).expect("told"), PoolStatus::Fail);
    assert_eq!(machine.dm.thin_status(&thin).expect("told"), ThinStatus::Fail);
    assert_eq!(errno(machine.message(PoolMessage::Delete(id(1)))), Errno::EOPNOTSUPP);
    assert_eq!(machine.write(&thin, 0, 1), Err(IoError::Failed(Errno::EIO)));
}

#[test]
fn a_process_killed_at_any_ioctl_of_a_creation_leaves_what_the_kernel_would_keep() {
    let whole = Machine::with_pool().dm.ioctls();
    assert_eq!(whole, 3);
    for n in 1..=whole {
        let machine = Machine::bare();
        machine.dm.die_at(n);
        assert_eq!(errno(machine.create("pool", &Table::ThinPool(pool_table(16)))), Errno::EOWNERDEAD);
        machine.dm.revive();
        let left = machine.dm.find(&name("pool")).expect("alive");
        assert_eq!(left.map(|info| info.live), (n > 1).then_some(false), "killed at {n}");
    }
}

#[test]
fn a_refused_ioctl_of_a_creation_leaves_no_device() {
    for n in 1..=3 {
        let machine = Machine::bare();
        machine.dm.refuse_at(n, Errno::ENOMEM);
        assert_eq!(errno(machine.create("pool", &Table::ThinPool(pool_table(16)))), Errno::ENOMEM);
        assert_eq!(machine.dm.list().expect("a list"), []);
    }
}

#[test]
fn a_thin_device_of_a_suspended_pool_is_not_made_and_one_that_is_there_would_wait() {
    let machine = Machine::with_pool();
    let thin = machine.thin(1);
    machine.message(PoolMessage::CreateThin(id(2))).expect("new");
    machine.dm.suspend(&name("pool")).expect("suspended");
    assert_eq!(errno(machine.activate(2)), Errno::EINVAL);
    assert_eq!(machine.write(&thin, 0, 1), Err(IoError::Blocked));
    assert_eq!(errno(machine.dm.suspend(&thin)), Errno::EDEADLK);
    machine.dm.resume(&name("pool"), Visibility::Internal).expect("resumed");
    machine.write(&thin, 0, 1).expect("goes on");
}

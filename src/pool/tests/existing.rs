//! Pools in a thin pool that somebody else made.

use super::kills::killed_everywhere;
use super::machine::Machine;
use crate::dm::{Linear, Name, PoolMessage, PoolStatus, Table, Thin, Uuid};
use crate::pool::{Checking, Deactivated, PoolError, SetUp};
use crate::units::{Bytes, DeviceId, Sectors, TransactionId};

/// As LVM names a pool that it has no volumes in.
const NAME: &str = "vg-pool";
const UUID: &str = "LVM-aaaaaabbbbccccddddeeeeffffhhhhhhaaaaaabbbbccccddddeeeeffffgggggg";

fn machine() -> Machine {
    Machine::in_thin_pool(NAME, UUID)
}

fn with_container() -> Machine {
    let machine = machine();
    assert_eq!(machine.set_up().expect("set up"), SetUp::New);
    machine.import("one", &["a"]).expect("imported");
    machine.create("web").expect("created");
    machine
}

fn id(id: u32) -> DeviceId {
    id.try_into().expect("an id")
}

fn transaction_id(machine: &Machine) -> TransactionId {
    let superblock = machine.twin.superblock(machine.somebody_elses_metadata());
    crate::dm::Superblock::read(&superblock[..]).expect("a superblock").transaction_id
}

/// Another program makes a device in its pool, and makes it active.
fn add_device(machine: &Machine, device: DeviceId, name: &str, uuid: &str) {
    let pool = machine.somebody_elses_pool();
    machine.host.dm.message(pool, &PoolMessage::CreateThin(device)).expect("made");
    let number = machine.host.dm.find(pool).expect("found").expect("active").device;
    let thin = Thin { length: Bytes::mib(1).sectors(), pool: number, id: device, external_origin: None };
    let name = Name::new(name).expect("a name");
    machine.add_node(&name, &Uuid::of_somebody_else(uuid), &Table::Thin(thin));
}

fn raise_transaction_id(machine: &Machine, to: u64) {
    let (from, to) = (transaction_id(machine), TransactionId(to));
    let message = PoolMessage::SetTransactionId { from, to };
    machine.host.dm.message(machine.somebody_elses_pool(), &message).expect("raised");
}

/// The pool is as its owner made it: active, and with nothing in it.
fn assert_given_back_empty(machine: &Machine, context: &str) {
    assert_eq!(machine.host.dm.list().expect("listed"), [machine.somebody_elses_pool().clone()], "{context}");
    assert_eq!(machine.somebody_elses_devices(), [], "{context}");
    assert_eq!(transaction_id(machine), TransactionId::default(), "{context}");
    assert!(!machine.location.paths().directory().exists(), "{context}");
}

fn destroy(machine: &Machine, context: &str) {
    match machine.location.destroy(&machine.host, false) {
        Ok(()) | Err(PoolError::Absent { .. }) => {}
        Err(error) => panic!("{context}: {error}"),
    }
}

#[test]
fn an_empty_thin_pool_is_adopted_and_its_containers_are_there_after_a_reboot() {
    let machine = with_container();
    machine.assert_in_order("set up");
    machine.reboot();
    assert_eq!(machine.set_up().expect("the same again"), SetUp::Already);
    machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
    assert!(machine.containers().contains("web"));
    assert_eq!(machine.pool().deactivate().expect("deactivated"), Deactivated::Now);
    assert_eq!(machine.host.dm.list().expect("listed").len(), 1, "the pool is its owner's to take down");
}

/// A metadata snapshot keeps every block that was in use when it was made.
#[test]
fn what_a_killed_reader_holds_is_let_go_of_when_the_pool_is_given_back() {
    let machine = with_container();
    machine.twin.die_at(2);
    machine.pool().read_metadata(crate::thin_metadata::Metadata::devices).expect_err("killed");
    machine.twin.revive();
    let held = || match machine.host.dm.pool_status(machine.somebody_elses_pool()).expect("told") {
        PoolStatus::Working(usage) => usage.held_metadata_root,
        status => panic!("{status:?}"),
    };
    assert!(held().is_some());
    destroy(&machine, "destroyed");
    assert_given_back_empty(&machine, "destroyed");
    assert_eq!(held(), None);
}

#[test]
fn a_thin_pool_that_its_owner_has_not_made_active_is_not_made_so_and_comes_back_with_everything() {
    let machine = with_container();
    machine.twin.reboot();
    assert!(matches!(machine.pool().activate(Checking::AsNeeded), Err(PoolError::ExistingNotActive(_))));
    assert!(matches!(machine.set_up(), Err(PoolError::ExistingNotActive(_))));
    assert!(matches!(machine.location.destroy(&machine.host, false), Err(PoolError::ExistingUnreachable(_))));
    assert_eq!(machine.host.dm.list().expect("listed"), []);
    machine.boot_somebody_else();
    assert_eq!(machine.set_up().expect("the same again"), SetUp::Already);
    machine.assert_in_order("back");
    assert!(machine.containers().contains("web"));
}

/// How somebody uses a pool, and what the refusal says of it.
type Use = (fn(&Machine), &'static [&'static str]);

#[test]
fn a_thin_pool_of_somebody_elses_is_refused_saying_whose_it_is() {
    let used: [Use; 6] = [
        (|machine| add_device(machine, id(1), "vg-thin", "LVM-x"), &["vg-thin", "LVM's"]),
        (|machine| add_device(machine, id(1), "docker-8:1-42-base", ""), &["Docker's"]),
        (|machine| add_device(machine, id(1), "pool-snap-7", ""), &["containerd's"]),
        (|machine| add_device(machine, id(1), "vm", "MINE-1"), &["a program that left no mark"]),
        // Nothing active: LVM and Docker raise the id, and containerd leaves blocks.
        (|machine| raise_transaction_id(machine, 3), &["transaction id is 3", "thinpool repair"]),
        (
            |machine| {
                add_device(machine, id(1), "thin", "");
                let (thin, block) = (Name::new("thin").expect("a name"), Sectors(128));
                machine.twin.write(&thin, Sectors(0), block).expect("written");
                machine.host.dm.remove(&thin, crate::dm::Removal::Now).expect("removed");
            },
            &["1 of its blocks"],
        ),
    ];
    for (make, expected) in used {
        let machine = machine();
        make(&machine);
        let before = (machine.twin.ioctls(), machine.somebody_elses_devices());
        let error = machine.set_up().expect_err("somebody uses it");
        assert!(matches!(error, PoolError::ExistingInUse { .. }), "{error}");
        for words in expected {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
        assert_eq!((machine.twin.ioctls(), machine.somebody_elses_devices()), before, "{error}");
        assert!(!machine.location.paths().directory().exists());
    }
}

#[test]
fn a_pool_of_ours_whose_catalog_is_lost_is_not_adopted_as_if_it_were_empty_and_the_way_back_is_named() {
    for active in [false, true] {
        let machine = with_container();
        if active {
            machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
        }
        let devices = machine.somebody_elses_devices();
        std::fs::remove_dir_all(machine.location.paths().directory()).expect("lost");
        let error = machine.set_up().expect_err("what is in it is not lost").to_string();
        assert!(error.contains("thinpool repair"), "{error}");
        assert!(!active || error.contains("of a pool of this program's"), "{error}");
        assert_eq!(machine.somebody_elses_devices(), devices);
    }
}

#[test]
fn a_thin_pool_that_another_pool_of_ours_is_in_is_refused_by_that_pools_name() {
    let machine = with_container();
    let mut other = machine.request();
    other.location.name = "other".parse().expect("a name");
    match other.run(&machine.host).map(|(_, done)| done) {
        Err(PoolError::UsedByPool { pool, .. }) => assert_eq!(pool, "test"),
        result => panic!("{result:?}"),
    }
}

#[test]
fn what_cannot_be_known_again_or_is_no_thin_pool_is_refused() {
    let unmarked = Machine::in_thin_pool("other", "");
    assert!(matches!(unmarked.set_up(), Err(PoolError::ExistingUnmarked(_))));
    let machine = machine();
    let disk = machine.disks.number(&machine.disks.add("spare", Bytes::mib(1)));
    let linear = Linear { length: Bytes::mib(1).sectors(), device: disk, offset: Sectors(0) };
    let name = Name::new("vg-lv").expect("a name");
    machine.add_node(&name, &Uuid::of_somebody_else("LVM-y"), &Table::Linear(linear));
    for (name, expected) in [("vg-lv", "is no thin pool"), ("vg-nothing", "no active thin pool")] {
        let mut request = machine.request();
        request.wanted = crate::pool::Wanted::ThinPool(name.to_owned());
        let error = request.run(&machine.host).map(|(_, done)| done).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_destroyed_pool_gives_somebody_elses_pool_back_empty() {
    let machine = with_container();
    machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
    machine.location.destroy(&machine.host, false).expect("destroyed");
    assert_given_back_empty(&machine, "destroyed");
    assert_eq!(machine.set_up().expect("again"), SetUp::New);
}

#[test]
fn a_setup_in_somebody_elses_pool_that_is_killed_anywhere_is_finished_or_cleared_by_the_next() {
    for next in ["setup", "destroy"] {
        killed_everywhere(
            machine,
            |machine| machine.set_up().map(drop),
            |machine, context| {
                if next == "setup" {
                    machine.set_up().unwrap_or_else(|error| panic!("{context}: {error}"));
                    machine.assert_in_order(context);
                }
                destroy(machine, context);
                assert_given_back_empty(machine, context);
            },
        );
    }
}

#[test]
fn a_destroy_in_somebody_elses_pool_that_is_killed_anywhere_is_finished_by_the_next() {
    killed_everywhere(
        with_container,
        |machine| machine.location.destroy(&machine.host, false),
        |machine, context| {
            destroy(machine, context);
            assert_given_back_empty(machine, context);
        },
    );
}

#[test]
fn what_somebody_made_in_his_pool_after_a_destroy_that_was_killed_at_its_end_is_his() {
    let machine = with_container();
    let mut pool = machine.pool();
    let devices = pool.catalog.device_ids().expect("read");
    pool.catalog.set_pool_state(crate::catalog::PoolState::Destroying).expect("written");
    drop(pool);
    // All that a destroy asks of the kernel: then it was killed, before the catalog went.
    for device in &devices {
        let delete = PoolMessage::Delete(*device);
        machine.host.dm.message(machine.somebody_elses_pool(), &delete).expect("deleted");
    }
    raise_transaction_id(&machine, 0);
    // A program that, like containerd, leaves the transaction id as it is, and happens to take an id that was ours.
    let theirs = devices[0];
    machine.host.dm.message(machine.somebody_elses_pool(), &PoolMessage::CreateThin(theirs)).expect("made");
    machine.location.destroy(&machine.host, false).expect("finished");
    assert_eq!(machine.somebody_elses_devices(), [theirs]);
    assert!(!machine.location.paths().directory().exists());
}

#[test]
fn devices_are_not_deleted_from_a_pool_that_somebody_else_works_with_by_now() {
    let changes: [fn(&Machine); 3] = [
        |machine| raise_transaction_id(machine, 100),
        |machine| add_device(machine, id(4000), "vg-thin", "LVM-x"),
        // Another pool, under the same name.
        |machine| {
            machine.twin.reboot();
            machine.boot_somebody_else_as("LVM-other");
        },
    ];
    for change in changes {
        let machine = with_container();
        change(&machine);
        let before = machine.somebody_elses_devices();
        machine.location.destroy(&machine.host, false).expect("the rest is cleared away");
        assert_eq!(machine.somebody_elses_devices(), before);
        assert!(!machine.location.paths().directory().exists());
    }
}

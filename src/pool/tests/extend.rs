//! Pools that are made larger.

use std::sync::atomic::{AtomicBool, Ordering};

use super::kills::killed_everywhere;
use super::machine::Machine;
use crate::backing::Part;
use crate::catalog::PoolGrowth;
use crate::dm::{Injection, Mode, PoolStatus, PoolUsage, Visibility};
use crate::pool::extend::{By, ExtendError, Extended, Extension};
use crate::pool::lock::Lock;
use crate::pool::{Checking, PoolError, SetUp};
use crate::units::{Bytes, Growth};

const TO: Extension = Extension {
    data: Some(Growth::To(Bytes::mib(128))),
    metadata: Some(Growth::To(Bytes::mib(16))),
    disks: Vec::new(),
    wipe: Vec::new(),
    by: By::Hand,
};

fn usage(machine: &Machine) -> PoolUsage {
    match machine.host.dm.pool_status(&machine.pool().device).expect("read") {
        PoolStatus::Working(usage) => usage,
        other => panic!("{other:?}"),
    }
}

/// What the kernel has counted.
fn sizes(machine: &Machine) -> (Bytes, Bytes) {
    let usage = usage(machine);
    (usage.data.total.bytes(machine.pool().record.policy.block_size), usage.metadata.total.bytes())
}

fn extend(machine: &Machine, wanted: &Extension) -> Result<Extended, PoolError> {
    machine.pool().extend(wanted)
}

/// That kernel and catalog say the same, and nothing is open.
fn assert_settled(machine: &Machine, expected: (Bytes, Bytes), context: &str) {
    let pool = machine.pool();
    assert_eq!(pool.catalog.growth().expect("read"), None, "{context}: a growth is open");
    let policy = &pool.record.policy;
    assert_eq!((policy.data_size, policy.metadata_size), expected, "{context}: the catalog");
    assert_eq!(sizes(machine), expected, "{context}: the kernel");
    machine.assert_in_order(context);
}

#[test]
fn a_pool_that_has_grown_keeps_its_size_and_all_it_holds_over_a_reboot() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    let extended = extend(&machine, &TO).expect("extended");
    assert_eq!((extended.data.from, extended.data.to), (Bytes::mib(64), Bytes::mib(128)));
    assert_eq!((extended.metadata.from, extended.metadata.to), (Bytes::mib(8), Bytes::mib(16)));
    machine.reboot();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_settled(&machine, (Bytes::mib(128), Bytes::mib(16)), "after a reboot");
    assert!(machine.containers().contains("web"));
    // The same setup is still the same setup.
    let mut request = machine.request();
    request.asked = vec!["loop-data-size", "loop-metadata-size"];
    assert_eq!(request.run(&machine.host).map(|(_, done)| done).expect("no other"), SetUp::Already);
}

#[test]
fn the_kernels_mark_for_a_pool_that_is_nearly_full_moves_with_the_pool() {
    let machine = Machine::with_image();
    let mark = |machine: &Machine| match machine.host.dm.table(&machine.pool().device).expect("read") {
        Some(crate::dm::Table::ThinPool(table)) => table.low_water_mark,
        other => panic!("{other:?}"),
    };
    let before = mark(&machine);
    extend(&machine, &TO).expect("extended");
    assert!(mark(&machine).0 >= before.0 * 2 - 1, "an event would come too late");
}

#[test]
fn to_ask_for_what_is_there_changes_nothing_and_for_less_is_refused() {
    let machine = Machine::with_image();
    extend(&machine, &TO).expect("extended");
    let before = machine.twin.ioctls();
    for wanted in [TO, Extension::default()] {
        let extended = extend(&machine, &wanted).expect("nothing to do");
        assert!(!extended.data.is_growth() && !extended.metadata.is_growth());
    }
    for (wanted, part) in [
        (Extension { data: Some(Growth::To(Bytes::mib(100))), ..Extension::default() }, Part::Data),
        (Extension { metadata: Some(Growth::To(Bytes::mib(4))), ..Extension::default() }, Part::Metadata),
    ] {
        match extend(&machine, &wanted) {
            Err(PoolError::Extend(ExtendError::Shrink { part: refused, .. })) => assert_eq!(refused, part),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(machine.twin.ioctls(), before, "the pool was touched");
    assert_settled(&machine, (Bytes::mib(128), Bytes::mib(16)), "after the refusals");
}

#[test]
fn an_extend_that_is_killed_anywhere_is_finished_by_the_next_command() {
    let verb = |machine: &Machine| extend(machine, &TO).map(drop);
    killed_everywhere(Machine::with_image, verb, |machine, context| {
        let mut pool = machine.pool();
        pool.activate(Checking::AsNeeded).unwrap_or_else(|error| panic!("{context}: {error}"));
        drop(pool);
        // Killed before it was written down, nothing of it has happened; after that, all of it will.
        let (before, after) = ((Bytes::mib(64), Bytes::mib(8)), (Bytes::mib(128), Bytes::mib(16)));
        assert_settled(machine, if sizes(machine) == before { before } else { after }, context);
        extend(machine, &TO).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_settled(machine, after, context);
        machine.create("web").unwrap_or_else(|error| panic!("{context}: {error}"));
    });
}

#[test]
fn an_extend_of_disks_that_is_killed_anywhere_is_finished_by_the_next_extend() {
    let prepare = || {
        let machine = Machine::on_disks();
        machine.set_up().expect("set up");
        machine.import("one", &["a"]).expect("imported");
        let (data, metadata) = machine.disk_nodes();
        machine.disks.resize(&data, Bytes::mib(128));
        machine.disks.resize(&metadata, Bytes::mib(16));
        machine
    };
    let verb = |machine: &Machine| extend(machine, &Extension::default()).map(drop);
    killed_everywhere(prepare, verb, |machine, context| {
        machine.pool().activate(Checking::AsNeeded).unwrap_or_else(|error| panic!("{context}: {error}"));
        verb(machine).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_settled(machine, (Bytes::mib(128), Bytes::mib(16)), context);
    });
}

#[test]
fn an_ioctl_that_fails_while_a_pool_grows_leaves_a_pool_that_works_and_grows_later() {
    for errno in [nix::errno::Errno::EIO, nix::errno::Errno::ENOMEM, nix::errno::Errno::EINVAL] {
        for ioctl in 1.. {
            let machine = Machine::with_image();
            let before = machine.twin.ioctls();
            machine.twin.refuse_at(ioctl, errno);
            let result = extend(&machine, &TO);
            let context = format!("{errno} at ioctl {ioctl}: {result:?}");
            if machine.twin.ioctls() - before < ioctl {
                assert!(ioctl > 1 && result.is_ok(), "{context}");
                break;
            }
            machine.create("web").unwrap_or_else(|error| panic!("{context}: {error}"));
            extend(&machine, &TO).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_settled(&machine, (Bytes::mib(128), Bytes::mib(16)), &context);
        }
    }
}

#[test]
fn a_growth_that_was_only_intended_is_made_by_the_next_activation() {
    let machine = Machine::with_image();
    let mut pool = machine.pool();
    let growth = PoolGrowth { data: Some(Bytes::mib(96)), metadata: None };
    let backing = pool.record.backing.clone();
    pool.catalog.intend_growth(&growth, &backing).expect("written");
    drop(pool);
    machine.reboot();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_settled(&machine, (Bytes::mib(96), Bytes::mib(8)), "after the activation");
}

#[test]
fn a_growth_is_called_unfinished_only_when_nobody_is_at_it() {
    let machine = Machine::with_image();
    let mut pool = machine.pool();
    let growth = PoolGrowth { data: Some(Bytes::mib(96)), metadata: None };
    let backing = pool.record.backing.clone();
    pool.catalog.intend_growth(&growth, &backing).expect("written");
    let is_told = || {
        let problems = machine.location.status(&machine.host).problems;
        problems.iter().any(|problem| problem.key() == "growth_unfinished")
    };
    let life = pool.life().expect("nobody else has it");
    assert!(!is_told(), "somebody is at it");
    drop(life);
    assert!(is_told());
    assert!(pool.finish_extension().expect("finished"));
    assert!(!is_told());
}

#[test]
fn a_growth_that_can_not_be_finished_keeps_no_pool_from_being_activated() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    let mut pool = machine.pool();
    let growth = PoolGrowth { data: Some(Bytes::gib(1)), metadata: None };
    let backing = pool.record.backing.clone();
    pool.catalog.intend_growth(&growth, &backing).expect("written");
    drop(pool);
    machine.reboot();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_eq!(sizes(&machine).0, Bytes::mib(64));
}

#[test]
fn a_pool_that_is_out_of_metadata_is_rescued_by_more_of_it() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    let device = machine.pool().device.clone();
    machine.twin.inject(&device, Injection::OutOfMetadata).expect("injected");
    machine.remove("web").expect_err("nothing can be deleted");
    let wanted = Extension { metadata: Some(Growth::Share(100)), ..Extension::default() };
    extend(&machine, &wanted).expect("extended");
    assert_eq!(usage(&machine).mode, Mode::ReadWrite);
    machine.remove("web").expect("can be deleted again");
    machine.assert_in_order("after the rescue");
}

#[test]
fn a_pool_that_wants_a_check_is_not_said_to_have_grown() {
    let machine = Machine::with_image();
    let device = machine.pool().device.clone();
    machine.twin.inject(&device, Injection::NeedsCheck).expect("injected");
    assert!(matches!(extend(&machine, &TO), Err(PoolError::Unusable { .. })));
    let data = machine.location.paths().directory().join("data");
    assert_eq!(data.metadata().expect("there").len(), Bytes::mib(64).0, "the file was touched");
}

#[test]
fn a_pool_takes_no_more_data_than_it_has_metadata_to_count() {
    let machine = Machine::with_image();
    let wanted = Extension { data: Some(Growth::To(Bytes::gib(1 << 12))), ..Extension::default() };
    match extend(&machine, &wanted) {
        Err(PoolError::Extend(ExtendError::NoMetadata { needed, free, .. })) => assert!(needed > free),
        other => panic!("{other:?}"),
    }
    let both = Extension { metadata: Some(Growth::To(Bytes::mib(64))), ..wanted };
    machine.pool().plan_extension(&both).expect("enough for both");
}

#[test]
fn a_disk_that_is_larger_than_the_pool_is_taken_and_one_that_is_not_is_told() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    let (data, _) = machine.disk_nodes();
    let wanted = Extension { data: Some(Growth::To(Bytes::mib(96))), ..Extension::default() };
    match extend(&machine, &wanted) {
        Err(PoolError::Extend(ExtendError::DeviceTooSmall { device, has, .. })) => {
            assert_eq!((device, has), (data.clone(), Bytes::mib(64)));
        }
        other => panic!("{other:?}"),
    }
    machine.disks.resize(&data, Bytes::mib(128));
    extend(&machine, &wanted).expect("extended");
    assert_settled(&machine, (Bytes::mib(96), Bytes::mib(8)), "as much as was asked for");
    extend(&machine, &Extension::default()).expect("extended");
    assert_settled(&machine, (Bytes::mib(128), Bytes::mib(8)), "all there is");
    machine.reboot();
    machine.disks.resize(&data, Bytes::mib(96));
    assert!(matches!(
        machine.pool().activate(Checking::AsNeeded),
        Err(PoolError::PartTooShort { expected, .. }) if expected == Bytes::mib(128)
    ));
}

#[test]
fn a_pool_grows_by_itself_only_into_room_that_is_there() {
    let machine = Machine::with_image();
    let room = machine.pool().room().expect("known");
    let wanted = |size| Extension { data: Some(Growth::By(size)), by: By::Itself, ..Extension::default() };
    // There is metadata enough to count it.
    let too_much =
        Extension { metadata: Some(Growth::To(Bytes::gib(15))), ..wanted(room.data + Bytes::gib(1)) };
    match extend(&machine, &too_much) {
        Err(PoolError::Extend(ExtendError::NoRoomOnHost { free, needed, promised, .. })) => {
            assert!(free < needed + promised);
        }
        other => panic!("{other:?}"),
    }
    assert_settled(&machine, (Bytes::mib(64), Bytes::mib(8)), "after the refusal");
    extend(&machine, &wanted(Bytes::mib(1))).expect("there is room for so little");
}

#[test]
fn a_disk_is_added_only_where_there_is_a_volume_group_of_ours() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    let disks = vec![machine.disks.add("more", Bytes::mib(64))];
    let wanted = Extension { disks, ..Extension::default() };
    assert!(matches!(extend(&machine, &wanted), Err(PoolError::Extend(ExtendError::NoGroup { .. }))));
}

#[test]
fn a_process_that_opened_the_pool_before_it_grew_doesnt_load_it_with_its_old_size() {
    let machine = Machine::with_image();
    let mut early = machine.pool();
    extend(&machine, &TO).expect("extended");
    machine.pool().deactivate().expect("deactivated");
    machine.write_superblock();
    early.activate(Checking::AsNeeded).expect("activated");
    assert_settled(&machine, (Bytes::mib(128), Bytes::mib(16)), "by the early one");
}

#[test]
fn a_container_that_is_activated_while_the_pool_grows_waits_for_that() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    let pool = machine.pool();
    let lock = Lock::exclusive(&pool.paths.change_lock(), pool.patience).expect("free");
    machine.host.dm.suspend(&pool.device).expect("suspended");
    let (before, done) = (machine.twin.ioctls(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let activating = scope.spawn(|| {
            let activated = machine.pool().activate_container(&"web".parse().expect("a name"));
            done.store(true, Ordering::SeqCst);
            activated
        });
        // It has tried, and was refused: made the device, loaded its table, removed it.
        while machine.twin.ioctls() < before + 3 && !done.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        machine.host.dm.resume(&pool.device, Visibility::Internal).expect("resumed");
        drop(lock);
        activating.join().expect("no panic").expect("activated");
    });
}

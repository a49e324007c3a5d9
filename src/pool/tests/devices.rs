//! Pools on block devices.

use std::time::Duration;

use super::kills::killed_everywhere;
use super::machine::Machine;
use crate::backing::block::BlockDevices;
use crate::backing::{Backing, Devices};
use crate::pool::status::State;
use crate::pool::{Checking, Pool, PoolError, SetUp, Wanted};
use crate::thin_tools::{Depth, Outcome};
use crate::units::Bytes;

#[test]
fn a_pool_on_disks_is_found_again_whatever_they_are_called() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    machine.import("one", &["a"]).expect("imported");
    machine.create("web").expect("created");
    machine.reboot();
    let (data, metadata) = machine.disk_nodes();
    for node in [&data, &metadata] {
        let disk = machine.disks.unplug(node);
        let name = node.with_extension("renamed");
        std::fs::rename(node, &name).expect("renamed");
        machine.disks.plug(crate::backing::block::BlockDevice { node: name.clone(), name, ..disk });
    }
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert!(machine.containers().contains("web"));
}

#[test]
fn a_disk_that_is_missing_is_named_and_nothing_else_is_taken_for_it() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    machine.reboot();
    let (data, _) = machine.disk_nodes();
    let disk = machine.disks.unplug(&data);
    // Another one in its place, by name.
    machine.disks.plug(crate::backing::block::BlockDevice { identity: None, ..disk.clone() });
    match machine.pool().activate(Checking::AsNeeded) {
        Err(PoolError::PartMissing { name, identity, .. }) => {
            assert_eq!((name, Some(identity)), (data, disk.identity));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(machine.host.dm.list().expect("listed"), []);
}

#[test]
fn a_disk_of_another_pool_or_with_an_old_one_on_it_is_not_taken() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    machine.write_superblock();
    let mut other = machine.request();
    other.location.name = "other".parse().expect("a name");
    assert!(matches!(other.run(&machine.host), Err(PoolError::UsedByPool { .. })));
    // Even if its catalog is somewhere else.
    other.location.root = machine.location.root.join("elsewhere");
    let (_, metadata) = machine.disk_nodes();
    match other.run(&machine.host) {
        Err(PoolError::Obstacles { device, .. }) => assert_eq!(device, metadata),
        result => panic!("{:?}", result.map(|(_, done)| done)),
    }
    assert!(!other.location.paths().directory().exists());
}

#[test]
fn one_disk_is_not_taken_for_both_parts() {
    let machine = Machine::on_disks();
    let mut request = machine.request();
    let (data, _) = machine.disk_nodes();
    request.wanted = Wanted::Devices { data: data.clone(), metadata: Some(data) };
    assert!(matches!(request.run(&machine.host), Err(PoolError::SameDevice(_))));
}

#[test]
fn what_is_to_be_wiped_must_be_for_the_pool() {
    let machine = Machine::on_disks();
    let mut request = machine.request();
    request.wipe = vec![machine.disks.add("photographs", Bytes::mib(8))];
    assert!(matches!(request.run(&machine.host), Err(PoolError::WipeOfStranger(_))));
    assert!(!machine.location.paths().directory().exists());
}

#[test]
fn metadata_with_something_unknown_on_it_is_not_formatted() {
    let machine = Machine::on_disks();
    let (_, metadata) = machine.disk_nodes();
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::File::options().write(true).open(&metadata).expect("there"),
        b"precious",
        100,
    )
    .expect("written");
    let mut request = machine.request();
    assert!(matches!(request.run(&machine.host), Err(PoolError::NotBlank(_))));
    assert_eq!(&std::fs::read(&metadata).expect("read")[100..108], b"precious");
    request.wipe = vec![metadata];
    assert!(matches!(request.run(&machine.host), Ok((_, SetUp::New))));
}

#[test]
fn a_destroyed_pool_leaves_its_disks_as_blank_as_they_were_given() {
    let machine = Machine::on_disks();
    for _ in 0..2 {
        assert_eq!(machine.set_up().expect("set up"), SetUp::New);
        machine.write_superblock();
        machine.location.destroy(&machine.host, false).expect("destroyed");
    }
}

#[test]
fn a_setup_on_disks_that_is_killed_anywhere_is_finished_or_cleared_by_the_next() {
    killed_everywhere(
        Machine::on_disks,
        |machine| machine.set_up().map(drop),
        |machine, context| {
            machine.write_superblock();
            let done = machine.set_up().unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(matches!(done, SetUp::New | SetUp::Already | SetUp::Activated), "{context}");
            machine.assert_in_order(context);
            machine.import("one", &["a"]).unwrap_or_else(|error| panic!("{context}: {error}"));
        },
    );
}

#[test]
fn a_destroy_on_disks_that_is_killed_anywhere_is_finished_by_the_next() {
    let prepare = || {
        let machine = Machine::on_disks();
        machine.set_up().expect("set up");
        machine.write_superblock();
        machine
    };
    killed_everywhere(
        prepare,
        |machine| machine.location.destroy(&machine.host, false),
        |machine, context| {
            match machine.location.destroy(&machine.host, false) {
                Ok(()) | Err(PoolError::Absent { .. }) => {}
                Err(error) => panic!("{context}: {error}"),
            }
            assert_eq!(
                machine.set_up().unwrap_or_else(|error| panic!("{context}: {error}")),
                SetUp::New,
                "{context}"
            );
        },
    );
}

#[test]
fn devices_that_were_given_to_somebody_else_after_a_killed_setup_are_left_alone() {
    let machine = Machine::on_disks();
    // When it was about to load the table.
    machine.twin.die_at(2);
    machine.set_up().expect_err("killed");
    machine.twin.revive();
    assert_eq!(machine.location.status(&machine.host).state, State::HalfSetUp);
    // Before the next command, somebody else makes a pool on them.
    let mut other = machine.request();
    other.location.root = machine.location.root.join("elsewhere");
    other.location.name = "other".parse().expect("a name");
    let (_, metadata) = machine.disk_nodes();
    machine.disks.wipe(&machine.disks.look(&metadata).expect("there")).expect("wiped");
    other.run(&machine.host).expect("set up");
    machine.write_superblock();
    let before = std::fs::read(&metadata).expect("read");
    let _ = machine.location.destroy(&machine.host, false);
    assert!(std::fs::read(&metadata).expect("read") == before, "another pool's metadata was wiped");
}

#[test]
fn devices_that_a_killed_setup_had_not_taken_keep_nobody_from_clearing_up_whoever_uses_them_by_now() {
    for taken in [false, true] {
        let machine = Machine::on_disks();
        machine.twin.die_at(1);
        machine.set_up().expect_err("killed");
        machine.twin.revive();
        let mut pool =
            Pool::open_in_any_state(&machine.host, &machine.location).expect("opened").expect("there");
        let Backing::Devices(devices) = pool.record.backing.clone() else { panic!("{:?}", pool.record) };
        let backing = Backing::Devices(Devices { taken, ..devices });
        pool.catalog.set_backing(&backing, &pool.record.policy).expect("written");
        drop(pool);
        machine.disks.mount(&machine.disk_nodes().0);
        match machine.location.destroy(&machine.host, false) {
            Ok(()) => assert!(!taken && !machine.location.paths().directory().exists()),
            Err(PoolError::Obstacles { .. }) => assert!(taken),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_a_check_could_not_finish_is_not_forgotten_by_the_next_clean_shutdown() {
    let machine = Machine::with_image();
    machine.reboot();
    let unfinished = Outcome::Unfinished { limit: Duration::from_secs(30) };
    *machine.checker.finds.lock().expect("no panic") = Some(unfinished);
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    machine.pool().deactivate().expect("deactivated");
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_eq!(*machine.checker.asked.lock().expect("no panic"), [Depth::Full, Depth::Full]);
}

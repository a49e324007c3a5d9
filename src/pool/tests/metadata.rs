//! Reading the metadata of a pool that is live, at rest, in trouble, or read by somebody else.

use std::collections::BTreeSet;

use super::machine::Machine;
use crate::dm::{Injection, Name, PoolMessage, PoolStatus};
use crate::pool::{Checking, PoolError, Role};
use crate::units::{Bytes, DeviceId, MetaBlocks, Sectors};

fn pool_device() -> Name {
    Name::new("test-pool").expect("a name")
}

fn read(machine: &Machine) -> Result<BTreeSet<DeviceId>, PoolError> {
    let devices = machine.pool().read_metadata(crate::thin_metadata::Metadata::devices)?;
    Ok(devices.into_iter().map(|device| device.id).collect())
}

fn there(machine: &Machine) -> BTreeSet<DeviceId> {
    machine.twin.devices(machine.metadata()).into_iter().collect()
}

fn held(machine: &Machine) -> Option<MetaBlocks> {
    match machine.host.dm.pool_status(&pool_device()).expect("told") {
        PoolStatus::Working(usage) => usage.held_metadata_root,
        status => panic!("{status:?}"),
    }
}

#[test]
fn a_live_pools_devices_are_read_and_nothing_is_held_afterwards() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    let _ = machine.pool().read_metadata(|_| {
        assert!(held(&machine).is_some());
        Ok(())
    });
    assert_eq!(read(&machine).expect("read"), there(&machine));
    assert_eq!(there(&machine).len(), 4);
    assert_eq!(held(&machine), None);
}

#[test]
fn a_pool_at_rest_or_in_trouble_is_read_without_a_message_to_it() {
    let machine = Machine::with_image();
    let all = there(&machine);
    machine.twin.inject(&pool_device(), Injection::NeedsCheck).expect("active");
    let before = machine.twin.ioctls();
    assert_eq!(read(&machine).expect("read"), all);
    machine.twin.inject(&pool_device(), Injection::Fail).expect("active");
    assert_eq!(read(&machine).expect("read"), all);
    assert_eq!(machine.twin.ioctls(), before);
    machine.twin.clear_needs_check(machine.metadata()).expect("a pool");
    machine.pool().deactivate().expect("deactivated");
    assert_eq!(read(&machine).expect("read"), all);
}

#[test]
fn somebody_elses_metadata_snapshot_is_not_taken_away() {
    let machine = Machine::with_image();
    machine.host.dm.message(&pool_device(), &PoolMessage::ReserveMetadataSnap).expect("none yet");
    assert!(matches!(read(&machine), Err(PoolError::MetadataSnapshotHeld { .. })));
    machine.create("web").expect("created");
    machine.pool().reap().expect("reaped");
    assert!(held(&machine).is_some());
    // Nor is one that was made after a process of ours was killed with another one.
    std::fs::write(machine.location.paths().metadata_snapshot(), "77").expect("written");
    assert!(matches!(read(&machine), Err(PoolError::MetadataSnapshotHeld { .. })));
    assert!(held(&machine).is_some());
}

#[test]
fn the_metadata_snapshot_of_a_reader_that_was_killed_is_let_go_of_by_the_next_command() {
    let whole = {
        let machine = Machine::with_image();
        let before = machine.twin.ioctls();
        read(&machine).expect("read");
        machine.twin.ioctls() - before
    };
    assert_eq!(whole, 2);
    for n in 1..=whole {
        for next in [|machine: &Machine| read(machine).map(drop), |machine: &Machine| machine.pool().reap()] {
            let machine = Machine::with_image();
            machine.twin.die_at(n);
            read(&machine).expect_err("killed");
            machine.twin.revive();
            assert_eq!(held(&machine).is_some(), n > 1, "killed at {n}");
            next(&machine).expect("goes on");
            assert_eq!(held(&machine), None, "killed at {n}");
            assert!(!machine.location.paths().metadata_snapshot().exists());
        }
    }
}

#[test]
fn a_left_metadata_snapshot_is_let_go_of_also_after_a_reboot() {
    let machine = Machine::with_image();
    machine.twin.die_at(2);
    read(&machine).expect_err("killed");
    machine.reboot();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_eq!(held(&machine), None);
}

#[test]
fn a_commit_that_failed_is_not_read_as_if_it_had_succeeded() {
    let machine = Machine::with_image();
    machine.twin.inject(&pool_device(), Injection::NextCommitFails).expect("active");
    assert!(matches!(read(&machine), Err(PoolError::NotCommitted(_))));
    read(&machine).expect("as it was before");
}

#[test]
fn every_device_is_told_by_its_name_with_what_it_has_to_itself() {
    let machine = Machine::with_image();
    let name = machine.create_of("one", "web", None).and_then(|()| {
        machine.pool().activate_container(&"web".parse().expect("a name"))?;
        Ok(Name::new("test-web").expect("a name"))
    });
    machine.twin.write(&name.expect("active"), Sectors(0), Sectors(128 * 3)).expect("room");
    let unknown = PoolMessage::CreateThin(77_u32.try_into().expect("24 bits"));
    machine.host.dm.message(&pool_device(), &unknown).expect("new");
    let usage = machine.pool().space_usage().expect("counted");
    let told: Vec<_> =
        usage.devices.iter().map(|device| (device.member.label(), device.share.exclusive)).collect();
    let expected = [("web", 192), ("base", 0), ("layer of one", 0), ("one", 0), ("device 77", 0)];
    assert_eq!(told, expected.map(|(name, kib)| (name.to_owned(), Bytes::kib(kib))));
    assert_eq!((usage.used, usage.of_nobody()), (Bytes::kib(192), Bytes(0)));
    let (branches, why) = machine.pool().family_tree().expect("drawn");
    assert!(why.is_none());
    let drawn: Vec<_> = branches.iter().map(|branch| (branch.member.role, branch.depth)).collect();
    let line = [Role::Base, Role::Layer, Role::Image, Role::Container].into_iter().zip(0..);
    assert_eq!(drawn, line.chain([(Role::Unknown, 0)]).collect::<Vec<_>>());
}

#[test]
fn a_pool_is_not_taken_down_under_a_reader() {
    let mut machine = Machine::with_image();
    machine.location.patience = std::time::Duration::ZERO;
    let machine = machine;
    machine
        .pool()
        .read_metadata(|_| {
            assert!(matches!(machine.pool().deactivate(), Err(PoolError::Lock(_))));
            Ok(())
        })
        .expect("read");
    machine.pool().deactivate().expect("nobody reads any more");
}

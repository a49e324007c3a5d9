//! What the kernel or the catalog refuse is told, and leaves nothing half done.

use nix::errno::Errno;

use super::file_systems::fill;
use super::machine::Machine;
use crate::dm::{Injection, Name, PoolMessage};
use crate::pool::{Checking, PoolError};
use crate::units::{Bytes, DeviceId, Percent, TransactionId};

#[test]
fn an_ioctl_that_fails_anywhere_is_an_error_and_leaks_no_device() {
    for errno in [Errno::EIO, Errno::ENOMEM, Errno::EINVAL] {
        for ioctl in 1.. {
            let machine = Machine::with_image();
            machine.create("web").expect("created");
            let before = machine.twin.ioctls();
            machine.twin.refuse_at(ioctl, errno);
            let results =
                [machine.create("other"), machine.remove("web"), machine.import("two", &["a", "c"])];
            let context = format!("{errno} at ioctl {ioctl}: {results:?}");
            let mut pool = machine.pool();
            pool.reap().unwrap_or_else(|error| panic!("{context}: {error}"));
            machine.assert_in_order(&context);
            if machine.twin.ioctls() - before < ioctl {
                break;
            }
        }
    }
}

#[test]
fn a_message_whose_commit_failed_is_not_taken_for_done() {
    let machine = Machine::with_image();
    let device = machine.pool().device.clone();
    machine.twin.inject(&device, Injection::NextCommitFails).expect("injected");
    let error = machine.create("web").expect_err("nothing was committed");
    assert!(!machine.containers().contains("web"), "{error}");
    assert!(matches!(machine.create("other"), Err(PoolError::Unusable { .. })));
}

#[test]
fn a_pool_and_a_catalog_that_do_not_belong_together_are_refused() {
    let machine = Machine::with_image();
    let pool = machine.pool();
    let (device, at) = (pool.device.clone(), pool.catalog.transaction_id().expect("read"));
    drop(pool);
    let to = TransactionId(at.0 + 5);
    machine
        .host
        .dm
        .message(&device, &PoolMessage::SetTransactionId { from: at, to })
        .expect("somebody else's change");
    match machine.create("web") {
        Err(PoolError::Mismatch { expected, found, .. }) => assert_eq!((expected, found), (at, to)),
        other => panic!("{other:?}"),
    }
    machine.reboot();
    assert!(matches!(machine.pool().activate(Checking::AsNeeded), Err(PoolError::Mismatch { .. })));
    assert_eq!(machine.host.dm.list().expect("listed"), [], "a pool that is not ours stays inactive");
}

#[test]
fn a_pool_that_is_known_is_never_formatted_again() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    machine.reboot();
    let metadata = machine.location.paths().directory().join("metadata");
    std::fs::write(&metadata, vec![0; 8 << 20]).expect("wiped");
    assert!(matches!(machine.pool().activate(Checking::AsNeeded), Err(PoolError::Superblock { .. })));
    assert_eq!(machine.host.dm.list().expect("listed"), []);
}

#[test]
fn a_device_that_the_catalog_does_not_know_is_neither_taken_nor_deleted() {
    let machine = Machine::with_image();
    let pool = machine.pool();
    let next = pool.catalog.free_id(DeviceId::default()).expect("read").expect("an id");
    let device = pool.device.clone();
    drop(pool);
    machine.host.dm.message(&device, &PoolMessage::CreateThin(next)).expect("made by hand");
    machine.create("web").expect("the next id is free");
    let pool = machine.pool();
    let web = pool.catalog.container("web").expect("read").expect("there");
    assert_ne!(web.device.id, next);
    assert!(pool.catalog.device(next).expect("read").is_none());
    // Still there: deleting it works.
    machine.host.dm.message(&device, &PoolMessage::Delete(next)).expect("still there");
}

#[test]
fn a_pool_that_is_too_full_takes_no_new_device_and_says_how_full_it_is() {
    let machine = Machine::new();
    let mut request = machine.request();
    request.policy.min_free_space = Percent::try_from(50).expect("a share");
    request.run(&machine.host).expect("set up");
    machine.import("one", &["a"]).expect("imported");
    machine.create("web").expect("created");
    let path = machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
    let node = crate::dm::Name::new(path.file_name().expect("a name").to_string_lossy()).expect("a name");
    // The device has 16 MiB, and the pool 64: three of them fill more than half.
    machine
        .twin
        .write(&node, crate::units::Sectors(0), crate::units::Bytes::mib(16).sectors())
        .expect("room");
    for name in ["two", "three"] {
        machine.create(name).expect("room");
        let path = machine.pool().activate_container(&name.parse().expect("a name")).expect("activated");
        let node = crate::dm::Name::new(path.file_name().expect("a name").to_string_lossy()).expect("a name");
        machine
            .twin
            .write(&node, crate::units::Sectors(0), crate::units::Bytes::mib(16).sectors())
            .expect("room");
    }
    let error = machine.create("four").expect_err("too full");
    assert!(matches!(error, PoolError::TooFull { kind: "data", .. }), "{error}");
    assert!(error.to_string().contains("16 MiB of 64 MiB"), "{error}");
    for name in ["web", "two", "three"] {
        assert!(error.to_string().contains(&format!("{name} (16 MiB)")), "{error}");
    }
}

#[test]
fn a_container_that_is_in_use_is_deleted_when_it_no_longer_is() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    let name = "web".parse().expect("a name");
    machine.pool().activate_container(&name).expect("activated");
    let node = machine.pool().catalog.container("web").expect("read").expect("there").device.node;
    machine.twin.open(&node).expect("opened");
    machine.remove("web").expect("removed for its user");
    assert!(machine.containers().is_empty());
    assert_eq!(machine.pool().catalog.counts().expect("read").deleted, 1);
    assert!(matches!(machine.create("web"), Err(PoolError::NameLingers(_))));
    machine.twin.close(&node).expect("closed");
    machine.pool().reap().expect("reaped");
    machine.assert_in_order("after the last close");
    machine.create("web").expect("the name is free");
}

#[test]
fn a_setup_asked_for_something_else_says_what_differs_and_changes_nothing() {
    let machine = Machine::with_image();
    let mut request = machine.request();
    request.policy.discard_on_remove = false;
    // What nobody asked for is not compared.
    request.run(&machine.host).expect("only defaults differ");
    request.asked = vec!["discard-on-remove"];
    match request.run(&machine.host).map(|(_, done)| done) {
        Err(PoolError::Differs { differences, .. }) => {
            assert_eq!(differences[0].to_string(), "discard-on-remove is true, asked for false");
        }
        other => panic!("{other:?}"),
    }
    machine.assert_in_order("after the refusal");
}

#[test]
fn a_container_in_use_is_not_frozen_for_a_commit_when_what_it_holds_has_no_room() {
    refuses_a_commit_in_a_pool_that(|machine, node| fill(&machine.twin, node));
}

/// What it held may not have been written, and is missing in the snapshot.
#[test]
fn a_commit_of_a_container_in_use_is_refused_when_its_pool_became_full_before_it_was_frozen() {
    refuses_a_commit_in_a_pool_that(|machine, node| machine.fs.fill_before_a_freeze(node));
}

fn refuses_a_commit_in_a_pool_that(becomes_full: impl Fn(&Machine, &Name)) {
    let machine = Machine::with_image();
    machine.create_of("one", "web", Some(Bytes::mib(512))).expect("created");
    machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
    becomes_full(&machine, &Name::new("test-web").expect("a name"));
    let error = machine.commit("web", "two").expect_err("it would have what is in no block");
    assert!(matches!(error, PoolError::Unusable { what, .. } if what.contains("no free block")), "{error}");
    machine.pool().deactivate_container(&"web".parse().expect("a name")).expect("deactivated");
    machine.assert_in_order("refused");
}

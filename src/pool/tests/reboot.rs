//! What is active after the machine went down and up again.

use std::time::Duration;

use super::machine::Machine;
use crate::dm::{Access, DeviceNumber, Linear, Name, NewDevice, Rules, Table, Uuid, Visibility};
use crate::pool::lock::Lock;
use crate::pool::{Activated, Checking, Deactivated, MountRequest, PoolError};
use crate::units::{Bytes, Sectors};

fn nodes(machine: &Machine) -> Vec<String> {
    let mut nodes: Vec<_> =
        machine.host.dm.list().expect("listed").into_iter().map(|name| name.to_string()).collect();
    nodes.sort();
    nodes
}

/// A machine with these containers, all of them activated.
fn with_active(names: &[&str]) -> Machine {
    let machine = Machine::with_image();
    for name in names {
        machine.create(name).expect("created");
        machine.pool().activate_container(&name.parse().expect("a name")).expect("activated");
    }
    machine
}

fn come_up(machine: &Machine) -> Vec<String> {
    machine.reboot();
    let mut pool = machine.pool();
    assert_eq!(pool.activate(Checking::AsNeeded).expect("activated"), Activated::Now);
    pool.activate_remembered().expect("looked").into_iter().map(|failed| failed.name).collect()
}

#[test]
fn a_container_that_was_activated_is_there_after_each_reboot_until_it_is_deactivated() {
    let machine = with_active(&["one", "two"]);
    machine.create("mounted").expect("created");
    machine
        .pool()
        .mount_container(&"mounted".parse().expect("a name"), &MountRequest::default())
        .expect("mounted");
    for _ in 0..2 {
        assert_eq!(come_up(&machine), [""; 0]);
        assert_eq!(nodes(&machine), ["test-one", "test-pool", "test-two"]);
    }
    machine.pool().deactivate_container(&"two".parse().expect("a name")).expect("deactivated");
    machine.remove("one").expect("removed");
    assert_eq!(come_up(&machine), [""; 0]);
    assert_eq!(nodes(&machine), ["test-pool"]);
}

#[test]
fn a_deactivation_that_comes_to_nothing_leaves_every_container_its_node() {
    let machine = with_active(&["one", "two"]);
    let mut pool = machine.pool();
    pool.patience = Duration::ZERO;
    let held = Lock::exclusive(&pool.paths.change_lock(), pool.patience).expect("free");
    let before = machine.twin.ioctls();
    pool.deactivate().expect_err("somebody changes the pool");
    assert!(machine.twin.ioctls() > before, "it had taken none away");
    assert_eq!(nodes(&machine), ["test-one", "test-pool", "test-two"]);
    drop(held);
    assert_eq!(pool.deactivate().expect("deactivated"), Deactivated::Now);
    assert_eq!(nodes(&machine), [""; 0]);
}

#[test]
fn a_container_that_can_not_be_activated_keeps_no_other_from_it() {
    let machine = with_active(&["a", "b", "c"]);
    machine.reboot();
    let mut pool = machine.pool();
    pool.activate(Checking::AsNeeded).expect("activated");
    // Somebody else took the name.
    let disk = DeviceNumber { major: 8, minor: 0 };
    machine.twin.add_disk(disk, Bytes::mib(1));
    let table = Table::Linear(Linear { length: Bytes::mib(1).sectors(), device: disk, offset: Sectors(0) });
    let (name, uuid) = (Name::new("test-b").expect("a name"), Uuid::of_pool(&uuid::Uuid::new_v4()));
    let stranger = NewDevice {
        name: &name,
        uuid: &uuid,
        table: &table,
        access: Access::ReadWrite,
        visibility: Visibility::Internal,
        rules: Rules::Unawaited,
    };
    machine.host.dm.create(&stranger).expect("created");
    let failed = pool.activate_remembered().expect("looked");
    assert!(matches!(&failed[..], [failed] if failed.name == "b"), "{failed:?}");
    assert_eq!(nodes(&machine), ["test-a", "test-b", "test-c", "test-pool"]);
}

#[test]
fn a_shutdown_waits_for_who_uses_a_container_and_not_for_ever() {
    let machine = with_active(&["one"]);
    let node = machine.pool().catalog.container("one").expect("read").expect("there").device.node;
    machine.twin.open(&node).expect("opened");
    let refused = machine.pool().deactivate_within(Duration::from_millis(1));
    assert!(matches!(refused, Err(PoolError::InUse { .. })), "{refused:?}");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| machine.pool().deactivate_within(Duration::from_secs(60)));
        machine.twin.close(&node).expect("closed");
        let stopped = stopping.join().expect("no panic").expect("stopped");
        assert_eq!(stopped, Deactivated::Now);
    });
    assert_eq!(nodes(&machine), [""; 0]);
}

#[test]
fn a_thousand_devices_make_activation_ask_no_more_of_the_kernel_than_ten_do() {
    let asked = |devices: u32| {
        let machine = with_active(&["kept"]);
        for device in 0..devices {
            machine.create(&format!("c{device}")).expect("created");
        }
        machine.reboot();
        let before = machine.twin.ioctls();
        assert_eq!(machine.pool().activate(Checking::AsNeeded).expect("activated"), Activated::Now);
        assert!(machine.pool().activate_remembered().expect("looked").is_empty());
        assert_eq!(nodes(&machine), ["test-kept", "test-pool"]);
        machine.twin.ioctls() - before
    };
    assert_eq!(asked(1000), asked(10));
}

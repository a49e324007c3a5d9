//! Renaming, resizing, growing the base, removing by force: killed anywhere, and in each other's way.

use std::collections::BTreeSet;

use super::kills::{killed_everywhere, next_command};
use super::machine::Machine;
use crate::catalog::{Catalog, Device, DeviceState};
use crate::dm::{DeviceMapper, Name, Table};
use crate::fs::{Process, Use, User};
use crate::pool::lock::Lock;
use crate::pool::{
    ContainerName, DraftStore, Grown, Holders, Labels, MountRequest, NewContainer, NewSize, PoolError,
};
use crate::units::Bytes;

fn name(name: &str) -> ContainerName {
    name.parse().expect("a name")
}

fn with_container() -> Machine {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    machine
}

fn with_active() -> Machine {
    let machine = with_container();
    machine.pool().activate_container(&name("web")).expect("activated");
    machine
}

fn with_mounted() -> Machine {
    let machine = with_container();
    mount(&machine, "web").expect("mounted");
    machine
}

fn mount(machine: &Machine, of: &str) -> Result<std::path::PathBuf, PoolError> {
    machine.pool().mount_container(&name(of), &MountRequest::default())
}

fn resize(machine: &Machine, of: &str, size: Bytes) -> Result<Grown, PoolError> {
    Ok(machine.pool().resize_container(&name(of), NewSize::To(size))?.grown)
}

fn device(machine: &Machine, of: &str) -> Device {
    machine.pool().catalog.container(of).expect("read").expect("there").device
}

/// How long a device is to the kernel, by its node.
fn length(machine: &Machine, node: &Name) -> Option<Bytes> {
    machine.twin.table(node).ok().flatten().map(|table| match table {
        Table::Thin(thin) => thin.length.bytes(),
        other => panic!("{other:?}"),
    })
}

fn create_mounted(machine: &Machine) -> Result<(), PoolError> {
    let (name, image) = (Some(name("web")), "one".parse().expect("a name"));
    let new = NewContainer { name, image, size: None, labels: Labels::default() };
    machine.pool().create_and_mount(&new, &MountRequest::default()).map(drop)
}

/// Unmounts what a kill left mounted, and takes the node away.
fn put_to_rest(machine: &Machine, of: &str, context: &str) {
    match machine.pool().unmount_container(&name(of)) {
        Ok(None) | Err(PoolError::NotMounted(_)) => {}
        other => panic!("{context}: {other:?}"),
    }
    machine.pool().deactivate_container(&name(of)).unwrap_or_else(|error| panic!("{context}: {error}"));
}

#[test]
fn a_rename_that_is_killed_anywhere_leaves_one_name_that_works_and_the_other_free() {
    for prepare in [with_active, with_mounted] {
        let verb = |machine: &Machine| machine.pool().rename_container(&name("web"), &name("shop")).map(drop);
        killed_everywhere(prepare, verb, |machine, context| {
            machine.activate(context);
            let names = machine.containers();
            assert_eq!(names.len(), 1, "{context}: {names:?}");
            let now = names.first().expect("one").clone();
            let other = if now == "web" { "shop" } else { "web" };
            // The other name is to be had, whatever the kernel still calls the device.
            machine.create(other).unwrap_or_else(|error| panic!("{context}: {error}"));
            let at = mount(machine, other).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(at.ends_with(other), "{context}: {at:?}");
            let at = mount(machine, &now).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(at.ends_with(&now), "{context}: {at:?}");
            for container in [&now, other] {
                let info = machine.pool().active_device(&device(machine, container)).expect("asked");
                assert_eq!(info.map(|info| info.name), Some(device(machine, container).node), "{context}");
                put_to_rest(machine, container, context);
            }
            next_command(machine, context);
        });
    }
}

#[test]
fn two_containers_can_change_their_names_while_they_are_in_use() {
    let machine = with_mounted();
    machine.create("shop").expect("created");
    mount(&machine, "shop").expect("mounted");
    let (web, shop) = (device(&machine, "web").id, device(&machine, "shop").id);
    for (from, to) in [("web", "other"), ("shop", "web"), ("other", "shop")] {
        machine.pool().rename_container(&name(from), &name(to)).expect("renamed");
    }
    assert_eq!((device(&machine, "shop").id, device(&machine, "web").id), (web, shop));
    let node = device(&machine, "web").node;
    assert_eq!(
        machine.twin.find(&node).expect("asked").expect("there").uuid.expect("one"),
        machine.pool().uuid_of(shop).to_string()
    );
}

#[test]
fn a_name_that_is_taken_is_given_to_nobody_else() {
    let machine = with_mounted();
    machine.create("shop").expect("created");
    let taken = machine.pool().rename_container(&name("web"), &name("shop"));
    assert!(matches!(taken, Err(PoolError::NameTaken { .. })), "{taken:?}");
    let itself = machine.pool().rename_container(&name("web"), &name("web"));
    assert!(matches!(itself, Err(PoolError::NameTaken { .. })), "{itself:?}");
    let nobody = machine.pool().rename_container(&name("nobody"), &name("new"));
    assert!(matches!(nobody, Err(PoolError::NoSuch { .. })), "{nobody:?}");
    // Somebody else's device has the node's name: the catalog must not promise it.
    let node = device(&machine, "web").node;
    let strangers = Name::new("test-strangers").expect("a name");
    machine.foreign_device(&strangers);
    let foreign = machine.pool().rename_container(&name("web"), &name("strangers"));
    assert!(matches!(foreign, Err(PoolError::Foreign { .. })), "{foreign:?}");
    assert_eq!(device(&machine, "web").node, node);
}

#[test]
fn a_resize_that_is_killed_anywhere_is_finished_by_the_next_mount() {
    for prepare in [with_container, with_mounted] {
        let size = Bytes::mib(32);
        let verb = |machine: &Machine| resize(machine, "web", size).map(drop);
        killed_everywhere(prepare, verb, |machine, context| {
            machine.activate(context);
            let known = device(machine, "web");
            assert!([Bytes::mib(16), size].contains(&known.size), "{context}");
            mount(machine, "web").unwrap_or_else(|error| panic!("{context}: {error}"));
            if known.size == size {
                // One that was mounted stays as it is until somebody resizes or mounts it anew.
                put_to_rest(machine, "web", context);
                mount(machine, "web").unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(machine.fs.grown_to(known.id), Some(size), "{context}");
                assert_eq!(length(machine, &known.node), Some(size), "{context}");
                assert!(!device(machine, "web").growing, "{context}");
            }
            assert_eq!(resize(machine, "web", size).expect(context), Grown::Whole);
            assert_eq!(machine.fs.grown_to(known.id), Some(size), "{context}");
            put_to_rest(machine, "web", context);
            next_command(machine, context);
        });
    }
}

#[test]
fn a_device_that_somebody_has_open_is_made_larger_and_not_mounted_under_him() {
    let machine = with_container();
    machine.pool().activate_container(&name("web")).expect("activated");
    let web = device(&machine, "web");
    machine.twin.open(&web.node).expect("there");
    let grown = resize(&machine, "web", Bytes::mib(32)).expect("resized");
    assert!(matches!(grown, Grown::DeviceOnly(_)), "{grown:?}");
    assert_eq!((length(&machine, &web.node), machine.fs.grown_to(web.id)), (Some(Bytes::mib(32)), None));
    machine.twin.close(&web.node).expect("it was open");
    mount(&machine, "web").expect("mounted");
    assert_eq!(machine.fs.grown_to(web.id), Some(Bytes::mib(32)));
}

#[test]
fn a_look_of_udevs_puts_no_end_off() {
    let machine = with_active();
    let web = device(&machine, "web");
    machine.fs.probe(&web.node);
    let holders = machine.pool().remove_container(&name("web"), false).expect("removed");
    assert!(holders.is_none() && !machine.fs.is_probing(), "{holders:?}");
    assert_eq!(machine.pool().catalog.device(web.id).expect("read"), None, "its blocks are not freed");

    let store = DraftStore::open(&machine.host, &machine.location).expect("opened");
    let draft = store.draft(None).expect("made");
    let made = |machine: &Machine| machine.pool().catalog.devices_in(DeviceState::Draft).expect("listed");
    machine.fs.probe(&made(&machine)[0].node);
    draft.discard().expect("discarded");
    assert!(made(&machine).is_empty() && !machine.fs.is_probing(), "a layer was left");
}

#[test]
fn who_uses_a_device_is_no_probe() {
    let user = |command: &str| User {
        process: Process { pid: 7, command: command.to_owned() },
        uses: BTreeSet::from([Use::Device]),
    };
    let of = |commands: &[&str]| Holders {
        processes: commands.iter().map(|command| user(command)).collect(),
        ..Holders::default()
    };
    assert!(of(&[]).is_probe() && of(&["(udev-worker)", "systemd-udevd"]).is_probe());
    assert!(!of(&["(udev-worker)", "qemu-system-x86"]).is_probe());
    let mounted = Holders { mounts: vec!["/mnt".into()], ..of(&["(udev-worker)"]) };
    let held = Holders { devices: vec!["md0".to_owned()], ..of(&[]) };
    assert!(!mounted.is_probe() && !held.is_probe());
}

#[test]
fn nothing_is_made_smaller_and_no_size_is_taken_that_a_device_cant_have() {
    let machine = with_container();
    for size in [Bytes(0), Bytes::mib(8), Bytes(16 * 1024 * 1024 - 4096)] {
        assert!(matches!(resize(&machine, "web", size), Err(PoolError::NotSmaller { .. })), "{size}");
    }
    for size in [Bytes(Bytes::mib(16).0 + 1), Bytes(u64::MAX)] {
        assert!(matches!(resize(&machine, "web", size), Err(PoolError::Size(_))), "{size}");
    }
    let more = machine.pool().resize_container(&name("web"), NewSize::By(Bytes(u64::MAX)));
    assert!(matches!(more, Err(PoolError::Size(_))), "{more:?}");
    assert_eq!((device(&machine, "web").size, device(&machine, "web").growing), (Bytes::mib(16), false));
    let more = machine.pool().resize_container(&name("web"), NewSize::By(Bytes::mib(4))).expect("resized");
    assert_eq!(more.size, Bytes::mib(20));
}

#[test]
fn a_removal_by_force_that_is_killed_anywhere_leaves_all_of_it_or_nothing() {
    let verb = |machine: &Machine| machine.pool().remove_container(&name("web"), true).map(drop);
    killed_everywhere(with_mounted, verb, |machine, context| {
        machine.activate(context);
        if machine.containers().contains("web") {
            let removed = machine.pool().remove_container(&name("web"), true);
            assert_eq!(removed.unwrap_or_else(|error| panic!("{context}: {error}")), None, "{context}");
        }
        next_command(machine, context);
        assert!(machine.containers().is_empty(), "{context}");
    });
}

#[test]
fn without_force_a_container_that_is_mounted_stays() {
    let machine = with_mounted();
    assert!(matches!(machine.remove("web"), Err(PoolError::Mounted { .. })));
    assert!(machine.containers().contains("web"));
}

fn grow_base(machine: &Machine, size: Bytes) -> Result<(), PoolError> {
    let mut request = machine.request();
    request.policy.base_size = size;
    request.asked = vec!["base-size"];
    request.run(&machine.host).map(drop)
}

#[test]
fn a_growth_of_the_base_that_is_killed_anywhere_is_finished_by_the_next_command() {
    let size = Bytes::mib(32);
    killed_everywhere(
        Machine::with_image,
        |machine| grow_base(machine, size),
        |machine, context| {
            next_command(machine, context);
            let pool = machine.pool();
            let base = pool.catalog.base().expect("read").expect("there");
            assert_eq!(pool.record().policy.base_size, base.size, "{context}: policy and base differ");
            drop(pool);
            grow_base(machine, size).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(machine.fs.grown_to(base.id), Some(size), "{context}");
            machine.import("new", &["x"]).unwrap_or_else(|error| panic!("{context}: {error}"));
            machine.create_of("new", "large", None).expect("created");
            assert_eq!(device(machine, "large").size, size, "{context}");
            machine.assert_in_order(context);
        },
    );
}

#[test]
fn after_the_base_grew_what_exists_keeps_its_size_and_what_is_built_on_it_is_as_large_as_the_base() {
    let machine = with_container();
    assert!(matches!(grow_base(&machine, Bytes::mib(8)), Err(PoolError::NotSmaller { .. })));
    grow_base(&machine, Bytes::mib(32)).expect("grown");
    assert_eq!(device(&machine, "web").size, Bytes::mib(16));
    machine.create("old").expect("created");
    assert_eq!(device(&machine, "old").size, Bytes::mib(16));
    // All its layers are there already.
    machine.import("again", &["a", "b"]).expect("imported");
    machine.create_of("again", "same", None).expect("created");
    assert_eq!(device(&machine, "same").size, Bytes::mib(16));
    // One more, on a layer that is smaller.
    machine.import("more", &["a", "b", "c"]).expect("imported");
    let top = machine.pool().image(&"more".parse().expect("a name")).expect("there").device;
    assert_eq!((top.size, machine.fs.grown_to(top.id)), (Bytes::mib(32), Some(Bytes::mib(32))));
    machine.assert_in_order("the end");
}

#[test]
fn a_create_that_mounts_and_is_killed_anywhere_leaves_a_container_as_any_other_or_none() {
    killed_everywhere(Machine::with_image, create_mounted, |machine, context| {
        machine.activate(context);
        if machine.containers().contains("web") {
            put_to_rest(machine, "web", context);
        }
        next_command(machine, context);
        if machine.containers().contains("web") {
            machine.remove("web").unwrap_or_else(|error| panic!("{context}: {error}"));
        }
        create_mounted(machine).unwrap_or_else(|error| panic!("{context}: {error}"));
    });
}

/// Who was faster may have put something in it.
#[test]
fn a_new_container_that_somebody_else_works_on_is_not_removed_by_who_made_it_and_could_not_mount_it() {
    let machine = with_container();
    let next = device(&machine, "web").id.get() + 1;
    machine.remove("web").expect("removed");
    machine.create("before").expect("created");
    let path = machine.location.paths().device_lock(next.try_into().expect("an id"));
    let held = Lock::exclusive(&path, std::time::Duration::ZERO).expect("free");
    let error = create_mounted(&machine).expect_err("somebody works on it");
    assert!(matches!(error, PoolError::Lock(_)), "{error}");
    drop(held);
    assert!(machine.containers().contains("web"));
    mount(&machine, "web").expect("mounted");
}

/// Each command reads all of it.
#[test]
fn the_catalogs_log_never_gets_long() {
    let machine = Machine::with_image();
    let [_, log, _] = Catalog::files(&machine.location.paths().catalog());
    for number in 0..30 {
        machine.create(&format!("web{number}")).expect("created");
        let length = log.metadata().expect("there").len();
        assert!(length < 1 << 20, "{length} after {number}");
    }
    assert_eq!(machine.containers().len(), 30);
}

//! Nodes, udev, removals and reloads: what only a real machine can show.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thinpool::dm::{
    Access, DeviceMapper, DeviceNumber, Kernel, Linear, Name, PoolMessage, Removal, Removed, Superblock,
    Table, UdevSync, Uuid, Visibility,
};
use thinpool::units::{Bytes, Sectors, TransactionId};

use crate::bed::{Bed, UDEV, id, run, until};

/// The semaphores of cookies that somebody waits on, or forgot.
fn cookies() -> Vec<String> {
    let all = fs::read_to_string("/proc/sysvipc/sem").expect("semaphores");
    let key = |line: &str| line.split_ascii_whitespace().next().and_then(|key| key.parse::<i64>().ok());
    let ours = |line: &&str| key(line).is_some_and(|key| key >> 16 == 0x0d4d);
    all.lines().filter(ours).map(str::to_owned).collect()
}

/// Makes and removes a pool and a device in it, looking at the nodes.
fn nodes_come_and_go(bed: &Bed) {
    bed.make_pool();
    let thin = bed.make_thin(1);
    for name in [bed.pool(), thin.clone()] {
        let info = bed.dm.find(&name).expect("found").expect("there");
        assert_eq!(DeviceNumber::of(&name.path()).expect("a node"), info.device, "{name}");
        assert!(info.uuid.is_some_and(|uuid| uuid.starts_with("THINPOOL-")), "{name}");
    }
    for name in [thin, bed.pool()] {
        assert_eq!(bed.dm.remove(&name, Removal::Now).expect("closed"), Removed::Gone);
        assert!(name.path().symlink_metadata().is_err(), "{name} is still there");
    }
    assert_eq!(bed.devices(), []);
}

/// systemd's udevd, stopped in one way or another for as long as this lives.
struct NoUdev(fn());

impl NoUdev {
    const UNITS: [&str; 3] =
        ["systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"];

    fn stopped() -> Self {
        run("systemctl", &[&["stop"], &Self::UNITS[..]].concat());
        Self(|| drop(run("systemctl", &[&["start"], &Self::UNITS[..]].concat())))
    }

    fn frozen() -> Self {
        kill(Self::pid(), Signal::SIGSTOP).expect("stopped");
        Self(|| kill(Self::pid(), Signal::SIGCONT).expect("continued"))
    }

    fn pid() -> Pid {
        let pid = run("systemctl", &["show", "-p", "MainPID", "--value", "systemd-udevd"]);
        Pid::from_raw(pid.parse().expect("a pid"))
    }
}

impl Drop for NoUdev {
    fn drop(&mut self) {
        (self.0)();
        let _ = Command::new("udevadm").arg("settle").output();
    }
}

#[test]
fn nodes_are_there_when_create_returns_and_gone_when_remove_returns() {
    let bed = Bed::new();
    assert_eq!(bed.dm.udev_sync(), UdevSync::Supported);
    nodes_come_and_go(&bed);
}

#[test]
fn nodes_come_and_go_without_udevd_and_no_semaphore_stays() {
    let _lock = UDEV.write().unwrap_or_else(PoisonError::into_inner);
    {
        let bed = Bed::under_lock(Duration::from_secs(30));
        nodes_come_and_go(&bed);
        assert_eq!(cookies(), Vec::<String>::new(), "with udevd");
    }
    let _stopped = NoUdev::stopped();
    let bed = Bed::under_lock(Duration::from_secs(30));
    assert_eq!(bed.dm.udev_sync(), UdevSync::NoDaemon);
    nodes_come_and_go(&bed);
    assert_eq!(cookies(), Vec::<String>::new(), "without udevd");
}

#[test]
fn an_answer_that_udev_never_gives_delays_a_creation_but_does_not_stop_it() {
    let _lock = UDEV.write().unwrap_or_else(PoisonError::into_inner);
    let bed = Bed::under_lock(Duration::from_millis(500));
    let frozen = NoUdev::frozen();
    let started = Instant::now();
    nodes_come_and_go(&bed);
    let took = started.elapsed();
    assert!(
        took > Duration::from_secs(2),
        "two creations and two removals took {took:?}: nobody was waited for"
    );
    // Of the usual patience none has waited to its end.
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(cookies(), Vec::<String>::new());
    drop(frozen);
}

/// The links in /dev/disk and /dev/mapper's neighbours that lead to a device.
fn links_to(number: DeviceNumber) -> Vec<String> {
    let target = format!("*/dm-{}", number.minor);
    // It calls it a failure when links of other tests' devices go meanwhile.
    let found = Command::new("find").args(["/dev/disk", "-lname", &target]).output().expect("find");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn udev_neither_scans_nor_links_what_is_internal() {
    let bed = Bed::new();
    bed.make_pool();
    let thin = bed.make_thin(1);
    run("mkfs.ext4", &["-q", thin.path().to_str().expect("a path")]);
    // A second change would show what udev makes of a file system that is there by now.
    bed.dm.suspend(&thin).expect("suspended");
    bed.dm.resume(&thin, Visibility::Internal).expect("resumed");
    run("udevadm", &["settle"]);
    for name in [bed.pool(), thin.clone()] {
        let number = bed.dm.find(&name).expect("found").expect("there").device;
        assert_eq!(links_to(number), Vec::<String>::new(), "{name}");
        let node = number.kernel_node();
        let properties = run("udevadm", &["info", "-q", "property", node.to_str().expect("a path")]);
        assert!(properties.contains("DM_UDEV_DISABLE_OTHER_RULES_FLAG=1"), "{name}: {properties}");
        assert!(!properties.contains("ID_FS_TYPE"), "{name}: {properties}");
    }
    // The same device as a snapshot is a disk like any other.
    bed.dm.suspend(&thin).expect("suspended");
    bed.dm.resume(&thin, Visibility::Snapshot).expect("resumed");
    run("udevadm", &["settle"]);
    let number = bed.dm.find(&thin).expect("found").expect("there").device;
    assert!(links_to(number).iter().any(|link| link.contains("by-uuid")), "{:?}", links_to(number));
}

#[test]
fn a_table_the_kernel_refuses_leaves_no_device_and_no_node() {
    let bed = Bed::new();
    let mut table = bed.pool_table(64);
    table.data = DeviceNumber { major: 8, minor: 250 };
    let refused = bed.make(&bed.dm, &bed.pool(), &Table::ThinPool(table), Access::ReadWrite);
    assert!(refused.is_err());
    // Longer than its data device: refused only when it is to become live.
    let long = Table::ThinPool(bed.pool_table(1000));
    let refused = bed.make(&bed.dm, &bed.pool(), &long, Access::ReadWrite).expect_err("too long");
    assert_eq!(refused.errno(), Some(Errno::EINVAL));
    assert_eq!(bed.devices(), []);
    assert!(bed.pool().path().symlink_metadata().is_err());
}

#[test]
fn a_busy_device_stays_or_goes_at_its_last_close_as_asked() {
    let bed = Bed::new();
    bed.make_pool();
    let thin = bed.make_thin(1);
    let file = File::open(thin.path()).expect("opened");
    let busy = bed.dm.remove(&thin, Removal::Now).expect_err("open");
    assert_eq!(busy.errno(), Some(Errno::EBUSY));
    assert!(thin.path().exists());
    assert_eq!(bed.dm.remove(&thin, Removal::Deferred).expect("marked"), Removed::WhenClosed);
    assert!(bed.dm.find(&thin).expect("found").expect("there").deferred_remove);
    drop(file);
    until("the deferred removal", || bed.dm.find(&thin).expect("found").is_none());
    bed.dm.remove(&bed.pool(), Removal::Now).expect("nobody holds it");
}

#[test]
fn a_reload_that_is_refused_leaves_the_old_table_live_and_the_device_running() {
    let bed = Bed::new();
    bed.make_pool();
    let thin = bed.make_thin(1);
    let old = Table::ThinPool(bed.pool_table(64));
    let mut other_data = bed.pool_table(64);
    other_data.data = bed.metadata.number();
    // At the load, at the swap, and by the pool itself after the swap.
    for refused in [other_data, bed.pool_table(1000), bed.pool_table(32)] {
        let blocks = refused.length;
        let reloaded = bed.dm.reload(&bed.pool(), &Table::ThinPool(refused), Visibility::Internal);
        assert!(reloaded.is_err(), "{blocks}");
        let info = bed.dm.find(&bed.pool()).expect("found").expect("there");
        assert!(!info.suspended, "{blocks}");
        assert_eq!(bed.dm.table(&bed.pool()).expect("one"), Some(old.clone()), "{blocks}");
        crate::pair::write(&thin, 0, 2).expect("its devices run");
    }
}

#[test]
fn a_device_that_is_renamed_while_it_is_open_has_one_node_and_its_user_keeps_it() {
    let bed = Bed::new();
    bed.make_pool();
    let (old, new) = (bed.make_thin(1), bed.name("renamed"));
    let uuid = Uuid::of_device(&bed.uuid, id(1));
    let user = File::open(old.path()).expect("opened");
    bed.dm.rename(&old, &new, Visibility::Snapshot).expect("renamed");
    let info = bed.dm.find(&new).expect("found").expect("there");
    assert_eq!((DeviceNumber::of(&new.path()).expect("a node"), info.open_count), (info.device, 1));
    assert!(old.path().symlink_metadata().is_err(), "the old node is still there");
    assert_eq!(bed.dm.find_uuid(&uuid).expect("found"), Some(info));
    crate::pair::write(&new, 0, 1).expect("written");
    let refused = bed.dm.rename(&new, &bed.pool(), Visibility::Snapshot).expect_err("taken");
    assert_eq!(refused.errno(), Some(Errno::EBUSY));
    drop(user);
    // What was written to is looked into by udev.
    run("udevadm", &["settle"]);
    bed.dm.remove(&new, Removal::Now).expect("closed");
    assert_eq!(bed.dm.find_uuid(&uuid).expect("asked"), None);
}

#[test]
fn a_reload_keeps_a_read_only_device_read_only() {
    let bed = Bed::new();
    bed.make_pool();
    bed.dm.message(&bed.pool(), &PoolMessage::CreateThin(id(1))).expect("new");
    let table = |blocks| bed.thin_table(&bed.dm, 1, blocks);
    bed.make(&bed.dm, &bed.thin(1), &table(40), Access::ReadOnly).expect("active");
    bed.dm.reload(&bed.thin(1), &table(50), Visibility::Internal).expect("grown");
    assert!(bed.dm.find(&bed.thin(1)).expect("found").expect("there").read_only);
}

#[test]
fn the_superblock_on_disk_is_read_as_the_kernel_writes_it() {
    let bed = Bed::new();
    bed.make_pool();
    bed.make_thin(1);
    let (from, to) = (TransactionId(0), TransactionId(0x0102_0304_0506));
    bed.dm.message(&bed.pool(), &PoolMessage::SetTransactionId { from, to }).expect("swapped");
    bed.dm
        .message(&bed.pool(), &PoolMessage::CreateSnap { device: id(2), origin: id(1) })
        .expect("a snapshot");
    bed.clear();
    let read = Superblock::read(File::open(bed.metadata.file()).expect("opened")).expect("a good checksum");
    assert_eq!((read.transaction_id, read.time, read.needs_check), (to, 1, false));
    assert_eq!(read.block_size, thinpool::units::BlockSize::DEFAULT);
}

#[test]
fn versions_are_those_that_dmsetup_reports() {
    let dm = Kernel::open(Duration::from_secs(1)).expect("root");
    let versions = dm.versions().expect("versions");
    let told = run("dmsetup", &["version"]);
    let line = |what| {
        let line = told.lines().find_map(|line: &str| line.strip_prefix(what)).expect(what);
        line.trim_start_matches([':', ' ', '\t']).trim().to_owned()
    };
    assert_eq!(versions.library, Some(line("Library version")));
    assert_eq!(versions.driver.to_string(), line("Driver version"));
    let pool = versions.thin_pool.expect("thin-pool").to_string();
    assert!(run("dmsetup", &["targets"]).contains(&format!("v{pool}")), "{pool}");
    assert!(versions.deferred_removal());
}

#[test]
fn a_linear_device_maps_what_its_table_says() {
    let bed = Bed::new();
    let linear = Table::Linear(Linear {
        length: Bytes::mib(1).sectors(),
        device: bed.data.number(),
        offset: Sectors(128),
    });
    let name: Name = bed.name("linear");
    bed.make(&bed.dm, &name, &linear, Access::ReadWrite).expect("linear");
    assert_eq!(bed.dm.table(&name).expect("one"), Some(linear));
    assert!(Path::new(&name.path()).exists());
}

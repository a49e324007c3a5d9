//! Data that runs out.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use thinpool::dm::{DeviceMapper, Mode, Name, Suspended, Visibility};
use thinpool::fs::{Hurried, SystemFileSystems};

use super::bed::{Bed, is_in_the_journal};
use crate::support::{ok, run, wait_until};
use crate::watched::Monitor;

#[test]
fn a_pool_nearly_full_of_data_is_told_of_and_made_larger() {
    let bed = Bed::on_loop_files("64M", "8M");
    bed.fill_data_to(82);
    bed.is_told("nearly full of data");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "nearly full of data");
    bed.has_come_through();
}

#[test]
fn a_pool_out_of_data_whose_writes_fail_goes_on_with_what_it_grows_by() {
    let bed = Bed::on_loop_files("64M", "8M");
    let said = bed.start_writing(80).wait_with_output().expect("ends");
    assert!(String::from_utf8_lossy(&said.stderr).contains("No space left"), "{said:?}");
    bed.is_told("out of data, writes fail");
    bed.bench.ok(["extend", "--data", "+64M"]);
    bed.has_come_through();
}

#[test]
fn a_write_that_waits_in_a_pool_out_of_data_goes_on_when_the_next_monitor_has_come() {
    let bed = Bed::on_loop_files("64M", "8M");
    // Killed, it leaves a pool that queues.
    drop(Monitor::of(&bed.bench));
    let writer = bed.start_writing(64);
    wait_until("the pool to be full", || bed.usage().mode == Mode::OutOfDataSpace);
    bed.is_told("out of data, writes wait");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "out of data, writes wait");
    let said = writer.wait_with_output().expect("ends");
    assert!(said.status.success(), "{said:?}: {}", monitor.said());
    run(std::process::Command::new("rm").arg(bed.at.join("ballast")));
    bed.has_come_through();
}

/// Twice: the pool grows under the container, and while the container is away.
fn what_was_synced_while_a_pool_ran_full_is_there(file_system: &str) {
    let mut bed = Bed::with(file_system, "8M");
    bed.fill_data_to(90);
    for (series, unmount, growth) in [("mounted", false, "+64M"), ("unmounted", true, "+128M")] {
        let writer = bed.start_syncing(series, 90);
        let said = bed.holds_to(writer);
        assert_ne!(said.code, 0, "{said:?}");
        bed.is_told("out of data, writes fail");
        // Its file system would be frozen for that, and XFS waits for what it can't write; the pool would never grow again.
        let said = bed.bench.promptly(["container", "resize", "box", "+64M"]);
        assert!(said.code != 0 && said.err.contains("no free block for data"), "{said:?}");
        if unmount {
            let said = bed.bench.promptly(["container", "unmount", "box"]);
            assert_eq!(said.code, 0, "{said:?}");
        }
        bed.bench.ok(["extend", "--data", growth]);
        if unmount {
            bed.bench.ok(["container", "mount", "box"]);
        }
        bed.has_come_through();
    }
    bed.bench.ok(["container", "unmount", "box"]);
    bed.bench.ok(["check"]);
}

#[test]
fn what_was_synced_to_ext4_while_its_pool_ran_full_is_there_when_the_pool_has_grown() {
    what_was_synced_while_a_pool_ran_full_is_there("ext4");
}

#[test]
fn what_was_synced_to_xfs_while_its_pool_ran_full_is_there_when_the_pool_has_grown() {
    what_was_synced_while_a_pool_ran_full_is_there("xfs");
}

/// XFS in a pool that ran full of files that were synced, and then of others: those are metadata, for which XFS has room and the
/// pool has none.
fn xfs_with_something_to_write_in_a_full_pool(flags: &[&str]) -> Bed {
    let mut bed = Bed::with_flags("xfs", "8M", flags);
    bed.fill_data_to(90);
    let writer = bed.start_syncing("synced", 90);
    assert_ne!(bed.holds_to(writer).code, 0);
    let fails = |number: &u32| File::create(bed.at.join(format!("small{number}"))).is_err();
    let _ = (0..5000).find(fails);
    bed
}

fn told_by(knob: &Path) -> String {
    std::fs::read_to_string(knob).expect("told").trim_end().to_owned()
}

/// A pool that becomes full between the look at it and the freeze for a snapshot.
#[test]
fn xfs_that_is_frozen_for_a_snapshot_in_a_full_pool_gives_up_so_that_the_pool_can_grow() {
    let bed = xfs_with_something_to_write_in_a_full_pool(&[]);
    let name = Name::new(format!("{}-box", bed.bench.name)).expect("a name");
    let device = bed.kernel.find(&name).expect("told").expect("active").device;
    let node = device.kernel_node();
    let knobs = Path::new("/sys/fs/xfs").join(node.file_name().expect("a name")).join("error/metadata");
    let times = || ["ENOSPC", "EIO"].map(|error| told_by(&knobs.join(error).join("retry_timeout_seconds")));
    assert_eq!(times(), ["-1", "-1"]);
    let hurried = Hurried::on(&SystemFileSystems, device);
    assert_eq!(times(), ["11", "11"]);
    // Whether the freeze of what gives up succeeds is the kernel's business; that it ends is ours.
    drop(Suspended::new(&bed.kernel, &name, Visibility::Snapshot));
    assert!(bed.at.metadata().is_err(), "it had nothing to write");
    drop(hurried);
    assert_eq!(times(), ["-1", "-1"]);
    bed.bench.ok(["extend", "--data", "+64M"]);
    bed.has_come_through();
}

/// How long XFS leaves what it has to write back, when nobody asks: half a minute, unless this is about.
struct HastyXfs(String);

impl HastyXfs {
    const KNOB: &str = "/proc/sys/fs/xfs/xfssyncd_centisecs";

    fn new() -> Self {
        // Where nobody has needed it yet, there is no knob.
        ok(Command::new("modprobe").arg("xfs"));
        let before = told_by(Path::new(Self::KNOB));
        std::fs::write(Self::KNOB, "100").expect("a second");
        Self(before)
    }
}

impl Drop for HastyXfs {
    fn drop(&mut self) {
        // A panic here would hide the test's.
        let _ = std::fs::write(Self::KNOB, &self.0);
    }
}

#[test]
fn xfs_that_was_told_to_give_up_when_its_pool_is_full_does_and_keeps_what_was_synced() {
    let _hasty = HastyXfs::new();
    let bed = xfs_with_something_to_write_in_a_full_pool(&["--xfs-nospace-max-retries", "0"]);
    wait_until("XFS to give up", || bed.at.metadata().is_err());
    bed.is_told("out of data, writes fail");
    bed.bench.ok(["extend", "--data", "+64M"]);
    bed.has_come_through();
}

fn what_is_synced_while_writes_wait_is_there(file_system: &str) {
    let mut bed = Bed::with(file_system, "8M");
    drop(Monitor::of(&bed.bench));
    bed.fill_data_to(90);
    let writer = bed.start_syncing("waited", 60);
    wait_until("the pool to be full", || bed.usage().mode == Mode::OutOfDataSpace);
    bed.is_told("out of data, writes wait");
    let monitor = Monitor::of(&bed.bench);
    let said = bed.holds_to(writer);
    assert_eq!(said.code, 0, "{said:?}: {}", monitor.said());
    bed.has_come_through();
}

#[test]
fn what_is_synced_to_ext4_while_writes_wait_for_a_monitor_is_there() {
    what_is_synced_while_writes_wait_is_there("ext4");
}

#[test]
fn what_is_synced_to_xfs_while_writes_wait_for_a_monitor_is_there() {
    what_is_synced_while_writes_wait_is_there("xfs");
}

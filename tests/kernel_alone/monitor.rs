//! Monitors that are killed, and what one costs.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use thinpool::dm::{Mode, NoSpacePolicy};

use super::{Alone, BlankDisk, Moment, slow_lvm};
use crate::states::bed::{Bed, is_low};
use crate::support::{Bench, assert_pool_and_catalog_agree, ok};
use crate::tools::wait_for;
use crate::watched::Monitor;

/// A number in what the kernel tells of a process.
fn of_process(id: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line");
    line.trim_start_matches(':').split_whitespace().next().expect("a word").parse().expect("a number")
}

/// Whether a process is in this state: S asleep, Z dead.
fn is(id: u32, state: char) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).expect("there").contains(&format!(") {state} "))
}

/// A small pool that is filled beyond its threshold.
fn nearly_full() -> Bed {
    let bed = Bed::on_loop_files("64M", "8M");
    bed.fill_data_to(82);
    bed
}

/// Takes the container away, and the devices that nobody needs: then all has to be in order.
fn assert_in_order(bed: &Bed, made: u32) {
    for number in 0..made {
        bed.delete_device(number).expect("deleted");
    }
    bed.has_come_through();
    bed.bench.ok(["container", "unmount", "box"]);
    bed.bench.ok(["check"]);
}

#[test]
fn a_monitor_that_is_killed_in_the_middle_of_a_growth_is_followed_by_one_that_goes_on() {
    let (_alone, bed) = (Alone::new(), Bed::on_loop_files("64M", "2M"));
    bed.fill_data_to(82);
    let made = bed.make_devices(0, is_low);
    let before = bed.usage();
    let mut killed = 0;
    // Each goes on from where the one before was killed, one step further.
    for place in 1.. {
        let (monitor, manager) =
            Monitor::listened_to(&bed.bench, &[], &[("THINPOOL_KILL_AT", &place.to_string())]);
        manager.set_nonblocking(true).expect("set");
        let is_ready = Cell::new(false);
        crate::support::wait_until("a kill, or all to be done", || {
            is_ready.set(is_ready.get() || manager.recv(&mut [0; 64]).is_ok());
            is(monitor.id(), 'Z') || is_ready.get() && bed.usage().no_space == NoSpacePolicy::Queue
        });
        let usage = bed.usage();
        assert_eq!((usage.mode, usage.needs_check), (Mode::ReadWrite, false));
        match monitor.asked_to_end() {
            Some(code) => {
                assert_eq!(code, 0);
                break;
            }
            None => killed += 1,
        }
    }
    println!("killed {killed} times");
    let after = bed.usage();
    assert!(
        after.data.total > before.data.total && after.metadata.total > before.metadata.total,
        "{after:?}"
    );
    assert!(killed > 20, "{killed}");
    assert_in_order(&bed, made);
    assert_pool_and_catalog_agree(&bed.bench);
}

/// LVM is stopped with its caller, and what it has done by then is found by who comes next.
#[test]
fn a_monitor_that_is_killed_while_lvm_makes_a_volume_larger_is_followed_by_one_that_goes_on() {
    let (_alone, disk) = (Alone::new(), BlankDisk::new());
    let sizes = ["--volume-data-size", "64M", "--volume-metadata-size", "4M"];
    let bed = Bed::made(Bench::new(), &[&["--device", disk.node.as_str()][..], &sizes].concat());
    bed.fill_data_to(82);
    let made = bed.make_devices(0, |usage| usage.metadata.used.0 * 10 >= usage.metadata.total.0 * 7);
    let before = bed.usage();
    for (moment, volume) in
        [(Moment::Before, "/metadata"), (Moment::After, "/metadata"), (Moment::After, "/data")]
    {
        let (path, begun) = slow_lvm(&bed.bench, &format!("lvextend*{volume}"), moment);
        let monitor = Monitor::start(&bed.bench, &[], &[("PATH", &path)]);
        wait_for("LVM", || begun.exists());
        let straggler: u32 = std::fs::read_to_string(&begun).expect("read").trim().parse().expect("an id");
        drop(monitor);
        wait_for("its end", || !Path::new("/proc").join(straggler.to_string()).exists());
        if moment == Moment::Before {
            // It would have gone on without its caller if that had blocked the signal.
            let size = format!(
                "lvs --noheadings --nosuffix --units b -o lv_size direct-lvm-{}{volume}",
                bed.bench.name
            );
            let size = ok(Command::new("sh").args(["-ec", &size]));
            assert_eq!(size.trim(), before.metadata.total.bytes().0.to_string());
        }
    }
    let monitor = Monitor::of(&bed.bench);
    wait_for("a growth", || bed.usage().data.total > before.data.total);
    assert!(bed.usage().metadata.total > before.metadata.total, "{}", monitor.said());
    assert_eq!(monitor.asked_to_end(), Some(0));
    assert_in_order(&bed, made);
}

#[test]
fn a_monitor_sleeps_while_nothing_happens_and_takes_little_memory() {
    let (_alone, bed) = (Alone::new(), nearly_full());
    let bench = &bed.bench;
    // As by default: there is no backup yet.
    let monitor = Monitor::with(bench, &["--metadata-backup-changes", "100"]);
    let id = monitor.id();
    monitor.says("for data");
    monitor.says("its metadata is backed up");
    let woken = || of_process(id, "voluntary_ctxt_switches");
    // Once it has done all that it does after a growth, and udev has done what it does with the events of that.
    let is_at_rest = || {
        let before = woken();
        ok(Command::new("udevadm").arg("settle"));
        is(id, 'S') && woken() == before
    };
    crate::support::wait_until("it to sleep", is_at_rest);
    let before = woken();
    for _ in 0..5 {
        bench.status();
        ok(&mut Command::new("sync"));
    }
    assert_eq!(woken(), before, "it woke up for nothing");
    // That one would have been seen.
    bench.ok(["container", "create", "small", "--name", "other"]);
    bench.ok(["container", "activate", "other"]);
    crate::support::wait_until("an event", || woken() > before);
    let resident = of_process(id, "VmRSS");
    println!("VmRSS after a growth: {resident} KiB; at most {} KiB", of_process(id, "VmHWM"));
    if !cfg!(debug_assertions) {
        assert!(resident < 10 * 1024, "{resident} KiB");
    }
    // Of its own; the rest is pages of the program's file, many more of them in a debug build.
    let own = of_process(id, "RssAnon");
    assert!(own < 8 * 1024, "{own} KiB");
}

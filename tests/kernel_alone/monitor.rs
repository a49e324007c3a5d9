//! Monitors that are killed, and what one costs.

use std::process::Command;

use super::Alone;
use crate::support::{Bench, assert_pool_and_catalog_agree, ok};
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

/// A small pool that is filled beyond its threshold, with a container.
fn nearly_full() -> Bench {
    let bench = Bench::new();
    bench.ok(["setup", "--no-enable", "--fs", "ext4", "--base-size", "512M", "--loop-data-size", "64M"]
        .into_iter()
        .chain(["--loop-metadata-size", "8M"]));
    let bench = bench.and_image("small");
    bench.ok(["container", "create", "small", "--name", "box"]);
    let at = bench.ok(["container", "mount", "box"]);
    let data = |what: &str| bench.status()["kernel"]["data"][what].as_u64().expect("a number");
    for number in 0..24 {
        if data("used") * 100 > data("total") * 82 {
            break;
        }
        let fill = format!(
            "dd if=/dev/urandom of={}/{number} bs=1M count=3 oflag=direct status=none",
            at.trim_end()
        );
        ok(Command::new("sh").args(["-ec", &fill]));
    }
    bench
}

#[test]
fn a_monitor_that_is_killed_in_the_middle_of_a_growth_is_followed_by_one_that_goes_on() {
    let (_alone, bench) = (Alone::new(), nearly_full());
    let total = || bench.status()["kernel"]["data"]["total"].as_u64().expect("a number");
    let before = total();
    let mut killed = 0;
    // Each goes on from where the one before was killed, one step further.
    for place in 1.. {
        let monitor = Monitor::start(&bench, &[], &[("THINPOOL_KILL_AT", &place.to_string())]);
        crate::support::wait_until("a kill, or a growth", || {
            let kernel = &bench.status()["kernel"];
            let has_grown = kernel["when_full"] == "queue" && kernel["data"]["total"].as_u64() > Some(before);
            has_grown && kernel["monitored"] == true || is(monitor.id(), 'Z')
        });
        let status = bench.status();
        assert_eq!(
            (&status["kernel"]["mode"], &status["kernel"]["needs_check"]),
            (&"read_write".into(), &false.into())
        );
        match monitor.asked_to_end() {
            Some(code) => {
                assert_eq!(code, 0);
                break;
            }
            None => killed += 1,
        }
    }
    println!("killed {killed} times");
    assert!(killed > 5 && total() > before, "{killed}");
    bench.ok(["container", "unmount", "box"]);
    bench.ok(["check"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_monitor_sleeps_while_nothing_happens_and_takes_little_memory() {
    let (_alone, bench) = (Alone::new(), nearly_full());
    let monitor = Monitor::of(&bench);
    let id = monitor.id();
    monitor.says("for data");
    let asleep = || is(id, 'S');
    crate::support::wait_until("it to sleep", asleep);
    // What udev still does with the events of the growth.
    ok(Command::new("udevadm").arg("settle"));
    crate::support::wait_until("it to sleep", asleep);
    let woken = of_process(id, "voluntary_ctxt_switches");
    for _ in 0..5 {
        bench.status();
        ok(&mut Command::new("sync"));
    }
    assert_eq!(of_process(id, "voluntary_ctxt_switches"), woken, "it woke up for nothing");
    // That one would have been seen.
    bench.ok(["container", "create", "small", "--name", "other"]);
    bench.ok(["container", "activate", "other"]);
    crate::support::wait_until("an event", || of_process(id, "voluntary_ctxt_switches") > woken);
    println!(
        "VmRSS after a growth: {} KiB; at most {} KiB",
        of_process(id, "VmRSS"),
        of_process(id, "VmHWM")
    );
    // Of its own; the rest is pages of the program's file, many more of them in a debug build.
    let own = of_process(id, "RssAnon");
    assert!(own < 8 * 1024, "{own} KiB");
}

//! Pools that are watched over, and filled at full speed.

use std::path::Path;

use crate::devices::{Disk, setup, sh, text};
use crate::support::{Bench, assert_pool_and_catalog_agree};
use crate::watched::Monitor;

const MIB: u64 = 1 << 20;

/// A pool with these flags, and a mounted container that is far larger.
fn filled(bench: Bench, flags: &[&str]) -> (Bench, std::path::PathBuf) {
    bench.ok(setup(flags));
    let bench = bench.and_image("small");
    bench.ok(["container", "create", "small", "--name", "box", "--size", "2G"]);
    let at = bench.ok(["container", "mount", "box"]);
    (bench, at.trim_end().into())
}

/// Writes files of 16 MiB with one content past the page cache, until there are so many.
fn write(bench: &Bench, at: &Path, files: std::ops::Range<u32>) -> crate::support::Said {
    let content = bench.beside("content");
    if !content.exists() {
        sh(&format!("head -c 16M /dev/urandom >{}", content.display()));
    }
    let line = format!(
        "for n in $(seq {} {}); do dd if={} of={}/file$n bs=4M oflag=direct conv=fsync status=none; done",
        files.start,
        files.end - 1,
        content.display(),
        at.display()
    );
    crate::support::run(std::process::Command::new("sh").args(["-ec", &line]))
}

/// That the files have what was written to them.
fn assert_written(bench: &Bench, at: &Path, files: std::ops::Range<u32>) {
    sh(&format!(
        "sync; echo 3 >/proc/sys/vm/drop_caches; for n in $(seq {} {}); do cmp {} {}/file$n; done",
        files.start,
        files.end - 1,
        bench.beside("content").display(),
        at.display()
    ));
}

fn total(bench: &Bench) -> u64 {
    bench.status()["kernel"]["data"]["total"].as_u64().expect("a number") / MIB
}

fn when_full(bench: &Bench) -> String {
    bench.status()["kernel"]["when_full"].as_str().expect("a word").to_owned()
}

#[test]
fn a_writer_at_full_speed_fills_many_times_the_first_size_without_an_error() {
    let (bench, at) = filled(Bench::new(), &["--loop-data-size", "64M", "--loop-metadata-size", "8M"]);
    let monitor = Monitor::of(&bench);
    assert_eq!(
        (bench.status()["kernel"]["monitored"].as_bool(), when_full(&bench).as_str()),
        (Some(true), "queue")
    );
    let said = write(&bench, &at, 0..20);
    assert_eq!(said.code, 0, "{said:?}: {}", monitor.said());
    assert_written(&bench, &at, 0..20);
    assert!(total(&bench) >= 320, "{} MiB", total(&bench));
    println!("{}", monitor.said());
    bench.ok(["container", "unmount", "box"]);
    assert_eq!(monitor.asked_to_end(), Some(0));
    assert_eq!(when_full(&bench), "error", "nobody is there to wait for");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_monitor_is_alone_and_ends_with_its_pool() {
    let bench = Bench::with_pool();
    assert!(bench.run(["status"]).out.contains("Monitor: not running"));
    let monitor = Monitor::of(&bench);
    assert!(bench.run(["status"]).out.contains("Monitor: running"));
    let said = bench.fails(6, ["monitor"]);
    assert!(said.contains(&format!("process {}", monitor.id())), "{said}");
    bench.ok(["deactivate"]);
    assert_eq!(monitor.ends(), Some(0));
    bench.fails(3, ["monitor"]);
    bench.ok(["activate"]);
    let monitor = Monitor::of(&bench);
    bench.ok(["destroy", "--yes"]);
    assert_eq!(monitor.ends(), Some(0));
    assert!(!bench.state().exists(), "the lock was left");
}

#[test]
fn a_host_that_is_full_is_said_and_tried_again_until_there_is_room() {
    let bench = Bench::new();
    let host = bench.small_host("96M");
    let flags = ["--dir", text(&host), "--loop-data-size", "64M", "--loop-metadata-size", "8M"];
    let (bench, at) = filled(bench, &flags);
    let monitor = Monitor::of(&bench);
    // It grows as far as that goes; then writes fail, in good order.
    let said = write(&bench, &at, 0..8);
    assert!(said.err.contains("No space left on device"), "{said:?}: {}", monitor.said());
    monitor.says("it can't grow");
    assert!(total(&bench) > 64, "what was left was not taken");
    assert_eq!(when_full(&bench), "error");
    sh(&format!("mount -o remount,size=400M {}", host.display()));
    monitor.says("it can grow again");
    crate::support::wait_until("writes to wait again", || when_full(&bench) == "queue");
    sh(&format!("rm {}/file*; sync", at.display()));
    let said = write(&bench, &at, 0..10);
    assert_eq!(said.code, 0, "{said:?}: {}", monitor.said());
    assert_written(&bench, &at, 0..10);
}

#[test]
fn a_pool_that_could_not_grow_says_so_before_it_is_full() {
    let disk = Disk::with_data(128);
    disk.bench.ok(setup(&["--datadev", text(&disk.volume("data"))]));
    let monitor = Monitor::of(&disk.bench);
    monitor.says("it could not grow if it were full");
    assert_eq!(when_full(&disk.bench), "error");
}

#[test]
fn the_volumes_of_a_pool_grow_by_themselves_as_far_as_their_group_goes() {
    let disk = Disk::new();
    let flags = ["--device", text(&disk.node), "--volume-group", &disk.vg, "--volume-data-size", "5%"];
    disk.bench.ok(setup(&flags));
    let before = total(&disk.bench);
    let monitor = Monitor::of(&disk.bench);
    let source = disk.bench.beside("tree");
    std::fs::create_dir(&source).expect("made");
    disk.bench.ok(crate::support::importing("small", &source));
    disk.bench.ok(["container", "create", "small", "--name", "box", "--size", "1G"]);
    let at = disk.bench.ok(["container", "mount", "box"]);
    let said = write(&disk.bench, Path::new(at.trim_end()), 0..12);
    assert_eq!(said.code, 0, "{said:?}: {}", monitor.said());
    assert_written(&disk.bench, Path::new(at.trim_end()), 0..12);
    assert!(total(&disk.bench) > before, "{}", monitor.said());
}

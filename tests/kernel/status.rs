//! What status tells, whatever state the pool is in.

use std::fs::{File, FileTimes};
use std::path::Path;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use crate::support::{Bench, SMALL, ok, run};
use crate::tools::{reload, unmount, wait_for};

/// The rows of Docker 20.10's listing, in its order; those for loop files stand after the files, as in its source.
const DOCKERS: [&str; 20] = [
    "Pool Name",
    "Pool Blocksize",
    "Base Device Size",
    "Backing Filesystem",
    "Udev Sync Supported",
    "Data file",
    "Metadata file",
    "Data loop file",
    "Metadata loop file",
    "Data Space Used",
    "Data Space Total",
    "Data Space Available",
    "Metadata Space Used",
    "Metadata Space Total",
    "Metadata Space Available",
    "Thin Pool Minimum Free Space",
    "Deferred Removal Enabled",
    "Deferred Deletion Enabled",
    "Deferred Deleted Device Count",
    "Library Version",
];

const OURS: [&str; 9] = [
    "Pool State",
    "Pool Mode",
    "Transaction Id",
    "Devices",
    "Low Water Mark",
    "When Full",
    "Monitor",
    "Loop Files",
    "Health",
];

fn rows(text: &str) -> Vec<(&str, &str)> {
    text.lines().map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no row: {line}"))).collect()
}

fn names<'a>(rows: &[(&'a str, &str)]) -> Vec<&'a str> {
    rows.iter().map(|(name, _)| *name).collect()
}

fn value<'a>(rows: &[(&str, &'a str)], name: &str) -> &'a str {
    rows.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("no row {name}")).1
}

/// `%.4g` and a unit of base 1000, without a space: `65.54kB`.
fn is_dockers_size(text: &str) -> bool {
    let number = text.trim_end_matches('B').trim_end_matches(['k', 'M', 'G', 'T', 'P']);
    let digits = number.chars().filter(char::is_ascii_digit).count();
    text.ends_with('B') && number.parse::<f64>().is_ok() && digits <= 4 && !number.ends_with(".0")
}

#[test]
fn what_parsed_docker_info_parses_our_rows() {
    let bench = Bench::with_pool();
    let text = bench.ok(["status", "--docker"]);
    let docker = rows(&text);
    assert_eq!(names(&docker), DOCKERS);
    for (name, value) in &docker {
        if name.contains("Size") || name.contains("size") || name.contains("Space") {
            assert!(is_dockers_size(value), "{name}: {value}");
        }
    }
    assert_eq!(value(&docker, "Pool Name"), bench.pool());
    assert_eq!(value(&docker, "Pool Blocksize"), "65.54kB");
    assert_eq!(value(&docker, "Base Device Size"), "536.9MB");
    assert_eq!(value(&docker, "Data Space Total"), "2.147GB");
    assert_eq!(value(&docker, "Udev Sync Supported"), "true");
    assert_eq!(value(&docker, "Data loop file"), bench.data().to_str().expect("UTF-8"));
    for (file, device) in [(bench.data(), "Data file"), (bench.metadata(), "Metadata file")] {
        let attached = ok(Command::new("losetup").args(["-nO", "NAME", "-j"]).arg(&file));
        assert_eq!(value(&docker, device), attached.trim());
    }

    let text = bench.ok(["status"]);
    let all = rows(&text);
    assert_eq!(all[..20], docker);
    assert_eq!(names(&all)[20..29], OURS);
    assert_eq!(value(&all, "Devices"), "1 base, 0 images, 0 containers");
    assert_eq!(value(&all, "Pool Mode"), "read-write");
    assert_eq!(bench.ok(["info"]), text);
}

#[test]
fn the_json_has_the_kernels_numbers_in_bytes() {
    let bench = Bench::with_pool();
    bench.import_small();
    let line = ok(Command::new("dmsetup").args(["status", "--noflush", &bench.pool()]));
    // `0 4194304 thin-pool 2 120/4096 140/32768 - rw …`
    let words: Vec<&str> = line.split_whitespace().collect();
    let blocks = |word: &str, size: u64| {
        let (used, total) = word.split_once('/').expect("two numbers");
        [used, total].map(|number| number.parse::<u64>().expect("a number") * size)
    };
    let (code, status) = bench.health();
    assert_eq!(code, 0, "{status}");
    let kernel = &status["kernel"];
    let [used, total] = blocks(words[5], 65_536);
    assert_eq!([&kernel["data"]["used"], &kernel["data"]["total"]], [used, total]);
    assert_eq!(kernel["data"]["available"], total - used);
    let [used, total] = blocks(words[4], 4096);
    assert_eq!([&kernel["metadata"]["used"], &kernel["metadata"]["total"]], [used, total]);
    assert_eq!(kernel["transaction_id"], words[3].parse::<u64>().expect("a number"));
    assert_eq!(kernel["transaction_id"], status["catalog"]["transaction_id"]);
    assert_eq!(kernel["minimum_free_space"], (2_u64 << 30) / 65_536 / 10 * 65_536);
    assert_eq!(status["catalog"]["devices"]["images"], 1);
    assert_eq!(status["catalog"]["data_loop_file"]["size"], 2_u64 << 30);
    assert_eq!(kernel["mode"], "read_write");
}

#[test]
fn the_exit_code_and_the_rows_tell_absent_inactive_and_healthy_apart() {
    let bench = Bench::new();
    let said = bench.promptly(["status"]);
    assert_eq!((said.code, value(&rows(&said.out), "Health")), (4, "absent"));
    bench.ok(SMALL);
    let said = bench.promptly(["status"]);
    assert_eq!((said.code, value(&rows(&said.out), "Health")), (0, "healthy"));
    bench.ok(["deactivate"]);
    let said = bench.promptly(["status"]);
    let all = rows(&said.out);
    assert_eq!((said.code, value(&all, "Health")), (3, "not active"));
    for name in ["Data Space Used", "Metadata Space Available", "Pool Mode"] {
        assert_eq!(value(&all, name), "unknown (pool not active)");
    }
    assert!(!said.out.contains(": 0B"), "{}", said.out);
    assert_eq!(bench.promptly(["status", "--docker"]).code, 3);
    assert_eq!(bench.health().1["kernel"], Value::Null);
}

#[test]
fn a_loop_pool_never_promises_more_than_the_file_system_under_it_has() {
    let bench = Bench::new();
    let host = bench.small_host("256M");
    let mut setup = SMALL.to_vec();
    setup.extend(["--dir", host.to_str().expect("UTF-8")]);
    bench.ok(setup);
    let (code, status) = bench.health();
    assert_eq!(code, 0, "{status}");
    let room = nix::sys::statvfs::statvfs(&host).expect("asked");
    let free = room.blocks_free() * room.fragment_size();
    assert_eq!(status["kernel"]["data"]["available"], free);
    assert_eq!(status["kernel"]["metadata"]["available"].as_u64().map(|bytes| bytes < 16 << 20), Some(true));

    // Nearly full: degraded. Quite full: something no longer works.
    let ballast =
        |bytes: u64| ok(Command::new("fallocate").args(["-l", &bytes.to_string()]).arg(host.join("ballast")));
    ballast(free - (8 << 20));
    let (code, status) = bench.health();
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"host_nearly_full".into()), "{status}");
    assert_eq!(status["health"], "degraded");
    ballast(free);
    let (code, status) = bench.health();
    assert_eq!((code, status["health"].as_str()), (5, Some("failed")), "{status}");
    assert_eq!(status["kernel"]["data"]["available"], 0);

    std::fs::remove_file(host.join("ballast")).expect("removed");
    assert_eq!(bench.health().0, 0);
    bench.ok(["destroy", "--yes"]);
}

/// Writes until there is no room. Past the page cache, so that the writer hears of it.
fn fill(directory: &Path) {
    let of = format!("of={}", directory.join("ballast").display());
    let said = run(Command::new("dd").args(["if=/dev/zero", &of, "bs=1M", "oflag=direct"]));
    assert!(said.code != 0 && said.err.contains("No space left"), "{said:?}");
}

#[test]
fn a_full_pool_answers_refuses_what_is_new_and_recovers() {
    let bench = Bench::new();
    bench.ok([
        "setup",
        "--loop-data-size",
        "128M",
        "--loop-metadata-size",
        "16M",
        "--base-size",
        "512M",
        "--fs",
        "ext4",
    ]);
    let at = bench.with_container();
    bench.ok(["container", "create", "small", "--name", "bystander"]);
    fill(&at);
    let (code, status) = bench.health();
    assert_eq!((code, status["health"].as_str()), (5, Some("failed")), "{status}");
    assert_eq!(status["kernel"]["mode"], "out_of_data_space");
    assert_eq!(status["kernel"]["data"]["available"], 0);
    let said = bench.promptly(["status"]);
    assert_eq!(value(&rows(&said.out), "Pool Mode"), "out of data space");
    for listing in [["container", "list"], ["image", "list"]] {
        assert_eq!(bench.promptly(listing).code, 0);
    }
    let said = bench.promptly(["container", "create", "small"]);
    assert_eq!(said.code, 8, "{said:?}");
    assert!(said.err.contains("10%") && said.err.contains("MiB"), "{said:?}");

    // ext4 may have given up its journal: what counts is that the device can go.
    assert_eq!(bench.promptly(["container", "unmount", "box"]).code, 0);
    assert_eq!(bench.promptly(["container", "remove", "box"]).code, 0);
    let (code, status) = bench.health();
    assert_eq!((code, status["kernel"]["mode"].as_str()), (0, Some("read_write")), "{status}");
    bench.ok(["container", "create", "small", "--name", "box"]);
    assert_eq!(std::fs::read_to_string(bench.mount().join("greeting")).expect("read"), "from the image");
}

#[test]
fn below_the_minimum_a_new_container_is_refused_in_bytes_and_percent() {
    let bench = Bench::new();
    let size = ["--loop-data-size", "256M", "--loop-metadata-size", "16M", "--base-size", "512M"];
    bench.ok([&["setup", "--fs", "ext4", "--min-free-space", "85%"][..], &size].concat());
    let (code, status) = bench.health();
    assert_eq!((code, status["health"].as_str()), (0, Some("healthy")), "{status}");
    let source = bench.directory.path().join("rootfs");
    std::fs::create_dir(&source).expect("made");
    ok(Command::new("dd")
        .args(["if=/dev/urandom", "bs=1M", "count=48"])
        .arg(format!("of={}", source.join("bytes").display())));
    bench.ok(["image", "import", "large", source.to_str().expect("UTF-8")]);
    let (code, status) = bench.health();
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"data_nearly_full".into()), "{status}");
    assert_eq!(status["health"], "degraded");
    let error = bench.fails(8, ["container", "create", "large"]);
    assert!(error.contains("85%") && error.contains("217.60 MiB"), "{error}");
}

#[test]
fn a_pool_whose_disk_fails_answers_and_can_be_destroyed() {
    let bench = Bench::new();
    // The files lie on a file system that lies on a device that can be made to fail.
    let (fragile, host) = (format!("{}-fragile", bench.name), bench.directory.path().join("host"));
    let image = bench.directory.path().join("image");
    File::create(&image).and_then(|file| file.set_len(512 << 20)).expect("made");
    let below = ok(Command::new("losetup").args(["--find", "--show"]).arg(&image));
    let good = format!("0 1048576 linear {} 0", below.trim());
    ok(Command::new("dmsetup").args(["create", &fragile, "--table", &good]));
    let node = format!("/dev/mapper/{fragile}");
    ok(Command::new("mkfs.ext4").args(["-q", &node]));
    std::fs::create_dir(&host).expect("made");
    ok(Command::new("mount").arg(&node).arg(&host));
    let mut setup = SMALL.to_vec();
    setup.extend(["--dir", host.to_str().expect("UTF-8")]);
    bench.ok(setup);
    bench.import_small();

    reload(&fragile, "0 1048576 error");
    assert_ne!(bench.promptly(["container", "create", "small"]).code, 0, "made on a broken disk");
    let (code, status) = bench.health();
    assert_eq!((code, status["health"].as_str()), (5, Some("failed")), "{status}");
    let mode = status["kernel"]["mode"].as_str().expect("a mode");
    assert!(matches!(mode, "fail" | "read_only"), "{status}");
    let said = bench.promptly(["status"]);
    assert!(!said.out.contains("Data Space Used: 0B"), "{}", said.out);
    assert_ne!(bench.promptly(["container", "create", "small"]).code, 0, "made in a failed pool");

    reload(&fragile, &good);
    assert_eq!(bench.promptly(["deactivate"]).code, 0);
    unmount(&host);
    ok(Command::new("mount").arg(&node).arg(&host));
    assert_eq!(bench.promptly(["destroy", "--yes"]).code, 0);
    unmount(&host);
    ok(Command::new("dmsetup").args(["remove", "--retry", &fragile]));
    ok(Command::new("losetup").args(["-d", below.trim()]));
    bench.assert_nothing_left();
}

#[test]
fn status_waits_for_no_lock() {
    let bench = Bench::with_pool();
    let hold = |name: &str| {
        let file = File::options().write(true).open(bench.state().join(name)).expect("opens");
        Flock::lock(file, FlockArg::LockExclusive).expect("free")
    };
    let locks = ["life.lock", "change.lock"].map(hold);
    assert_eq!(bench.health().0, 0);
    assert_eq!(bench.promptly(["container", "list"]).code, 0);
    drop(locks);
}

#[test]
fn status_of_a_suspended_pool_answers_and_does_not_call_it_healthy() {
    let bench = Bench::with_pool();
    bench.import_small();
    ok(Command::new("dmsetup").args(["suspend", &bench.pool()]));
    let (code, status) = bench.health();
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"suspended".into()), "{status}");
    assert_eq!(bench.promptly(["activate"]).code, 0);
    assert_eq!(bench.health().0, 0);
    bench.ok(["container", "create", "small"]);
}

#[test]
fn files_that_are_lost_under_a_living_pool_are_told() {
    let bench = Bench::with_pool();
    File::options().write(true).open(bench.data()).and_then(|file| file.set_len(1 << 30)).expect("cut");
    let (code, status) = bench.health();
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"loop_file_short".into()), "{status}");
    std::fs::remove_file(bench.data()).expect("removed");
    let (code, status) = bench.health();
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"loop_file_missing".into()), "{status}");
    // The kernel still has the file: its room comes back with the pool's end.
    bench.ok(["destroy", "--yes"]);
    bench.assert_nothing_left();
}

#[test]
fn a_catalog_that_nobody_can_read_is_told_and_never_taken_for_no_pool() {
    let bench = Bench::with_pool();
    bench.ok(["deactivate"]);
    for file in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(bench.state().join(file));
    }
    std::fs::write(bench.state().join("catalog.db"), [b'x'; 8192]).expect("written");
    let (code, status) = bench.health();
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"status_unreadable".into()), "{status}");
    for command in [&SMALL[..], &["activate"], &["destroy", "--yes"]] {
        bench.fails(7, command);
    }
    assert!(bench.data().exists() && bench.metadata().exists());
}

#[test]
fn asking_for_the_status_changes_nothing() {
    let bench = Bench::with_pool();
    let metadata = File::options().write(true).open(bench.metadata()).expect("opens");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    bench.ok(["deactivate"]);
    wait_for("every loop device to go", || bench.attached().is_empty());
    metadata.set_times(FileTimes::new().set_modified(old)).expect("set");
    for form in [&["status"][..], &["status", "--json"], &["status", "--docker"]] {
        assert_eq!(bench.promptly(form).code, 3);
    }
    assert_eq!(metadata.metadata().and_then(|file| file.modified()).expect("asked"), old);
    assert_eq!(bench.attached(), [""; 0]);
}

//! Pools that are watched over, and filled at full speed.

use std::path::Path;

use crate::devices::{Disk, setup, sh, text};
use crate::support::{Bench, assert_pool_and_catalog_agree};
use crate::watched::Monitor;

const MIB: u64 = 1 << 20;

/// A pool with these flags, and a mounted container that is far larger.
fn filled(bench: Bench, flags: &[&str]) -> (Bench, std::path::PathBuf) {
    bench.ok(setup(flags));
    let at = mounted(&bench);
    (bench, at)
}

/// A mounted container that is far larger than its pool.
fn mounted(bench: &Bench) -> std::path::PathBuf {
    bench.import_tree("small");
    bench.ok(["container", "create", "small", "--name", "box", "--size", "2G"]);
    bench.ok(["container", "mount", "box"]).trim_end().into()
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

/// Writes files until no more MiB are free in the pool. Its file system writes on by itself, for which some must be left.
fn write_until_free(bench: &Bench, at: &Path, mib: u64) {
    let mut file = 0;
    while bench.status()["kernel"]["data"]["available"].as_u64().expect("a number") / MIB > mib {
        let said = write(bench, at, file..file + 1);
        assert_eq!(said.code, 0, "{said:?}");
        file += 1;
    }
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

/// The machine of the benchmark has fio.
#[test]
#[ignore = "needs fio: `make test-fio` runs it"]
fn a_fio_job_at_full_speed_ends_with_no_error_in_a_small_pool_that_has_room_to_grow() {
    let (bench, at) = filled(Bench::new(), &["--loop-data-size", "64M", "--loop-metadata-size", "8M"]);
    let monitor = Monitor::of(&bench);
    let directory = format!("--directory={}", at.display());
    let mut fio = std::process::Command::new("fio");
    fio.args([
        "--name=fill",
        &directory,
        "--rw=write",
        "--bs=1M",
        "--size=256M",
        "--numjobs=2",
        "--end_fsync=1",
    ]);
    fio.args(["--direct=1", "--ioengine=libaio", "--iodepth=16", "--verify=crc32c", "--output-format=json"]);
    let said = crate::support::run(&mut fio);
    assert_eq!(said.code, 0, "{said:?}: {}", monitor.said());
    let jobs = &serde_json::from_str::<serde_json::Value>(&said.out).expect("JSON")["jobs"];
    for job in jobs.as_array().expect("an array") {
        let (error, written, read) = (&job["error"], &job["write"]["io_bytes"], &job["read"]["io_bytes"]);
        assert_eq!((error, written, read), (&0.into(), &(256 * MIB).into(), &(256 * MIB).into()), "{job}");
        println!("{} KiB/s written", job["write"]["bw"]);
    }
    assert!(jobs.as_array().map_or(0, Vec::len) == 2 && total(&bench) >= 512, "{} MiB", total(&bench));
    println!("{}", monitor.said());
    bench.ok(["container", "unmount", "box"]);
    assert_eq!(monitor.asked_to_end(), Some(0));
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
    let hook = hook(&bench);
    let monitor = Monitor::with(&bench, &["--hooks", text(&hook)]);
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
    bench.ok(["container", "unmount", "box"]);
    assert_eq!(monitor.asked_to_end(), Some(0));
    let told = told(&bench);
    let first = |key: &str, word: &str| told.iter().position(|notice| notice[key] == word);
    // A writer that is quicker than the monitor has filled the pool before it grows: so "full" may come at any time.
    let in_order = [("reason", "grown"), ("reason", "no_room"), ("reason", "room_again")]
        .map(|(key, word)| first(key, word));
    assert!(in_order.is_sorted() && in_order[0].is_some(), "{told:?}");
    assert!(first("event", "full").is_some_and(|full| Some(full) < in_order[2]), "{told:?}");
    let grown = &told[in_order[0].expect("one")];
    assert_eq!((&grown["reason"], &grown["grown"]["part"]), (&"grown".into(), &"data".into()));
    assert!(grown["grown"]["to"].as_u64() > Some(64 * MIB), "{grown}");
}

/// A hook that keeps what it is told.
fn hook(bench: &Bench) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let hook = bench.beside("hook");
    std::fs::write(&hook, format!("#!/bin/sh\ncat >>{}\n", bench.beside("told").display())).expect("written");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("set");
    hook
}

fn told(bench: &Bench) -> Vec<serde_json::Value> {
    let told = std::fs::read_to_string(bench.beside("told")).unwrap_or_default();
    // The last may still be on its way.
    let whole = told.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A notice's event and its reason.
fn what(notice: &serde_json::Value) -> (serde_json::Value, serde_json::Value) {
    (notice["event"].clone(), notice["reason"].clone())
}

#[test]
fn that_snapshots_run_out_in_the_pools_life_is_told_once_and_so_is_that_it_was_a_mistake() {
    let bench = Bench::with_pool();
    // As after 15 million of them: the catalog knows how many there can have been at most.
    let catalog = rusqlite::Connection::open(bench.state().join("catalog.db")).expect("the catalog");
    let clock = "UPDATE pool SET clock = json_object('time', 15100000, 'transaction', transaction_id)";
    assert_eq!(catalog.execute(clock, []).expect("written"), 1);
    drop(catalog);
    let hook = hook(&bench);
    let monitor = Monitor::with(&bench, &["--hooks", text(&hook)]);
    monitor.says("snapshots were made");
    bench.import_tree("one");
    // That reads how many there really were.
    bench.ok(["check"]);
    bench.import_tree("two");
    monitor.says("fewer snapshots were made");
    // One that ends waits for its hooks for a moment only.
    crate::support::wait_until("the hook to be told", || told(&bench).len() == 2);
    assert_eq!(monitor.asked_to_end(), Some(0));
    let told = told(&bench);
    let expected = ["warn", "recovered"].map(|event| (event.into(), "snapshots_scarce".into()));
    assert_eq!(told.iter().map(what).collect::<Vec<_>>(), expected, "{told:?}");
}

#[test]
fn who_asks_a_monitor_is_told_the_metrics_of_its_pool_with_a_forecast_once_it_has_watched() {
    use std::io::{Read, Write};
    let bench = Bench::with_pool();
    let socket = bench.beside("metrics.sock");
    let monitor = Monitor::with(&bench, &["--metrics-listen", &format!("unix:{}", socket.display())]);
    let ask = || {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connected");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    let metrics = ask();
    assert!(metrics.starts_with("HTTP/1.1 200 OK"), "{metrics}");
    let monitored = format!("thinpool_pool_monitored{{pool=\"{}\"}} 1", bench.name);
    assert!(metrics.contains(&monitored) && !metrics.contains("until_full"), "{metrics}");
    // As if it had watched for an hour, in which the metadata came.
    let trend = bench.state().join("trend");
    let sample = std::fs::read_to_string(&trend).expect("written down");
    let (at, _) = sample.split_once(' ').expect("numbers");
    let before = at.parse::<u64>().expect("a number") - 3000;
    std::fs::write(&trend, format!("{before} 0 0\n{sample}")).expect("written");
    let forecast = &bench.status()["kernel"]["forecast"];
    assert!(forecast["over_seconds"].as_u64() >= Some(3000), "{forecast}");
    assert!(forecast["metadata"]["seconds_until_full"].as_u64() > Some(0), "{forecast}");
    assert!(ask().contains("thinpool_pool_metadata_until_full_seconds"));
    assert!(bench.run(["status"]).out.contains("Time Until Full: data "));
    assert_eq!(monitor.asked_to_end(), Some(0));
    assert!(!socket.exists());
    assert!(bench.status()["kernel"]["forecast"].is_null(), "nobody watches any more");
}

#[test]
fn who_wants_writes_to_fail_at_once_or_to_wait_has_it_so() {
    let bench = Bench::with_pool();
    for policy in ["error", "queue"] {
        let monitor = Monitor::with(&bench, &["--when-full", policy]);
        assert_eq!(when_full(&bench), policy);
        assert_eq!(monitor.asked_to_end(), Some(0));
    }
    let hook = hook(&bench);
    let said = bench.ok(["monitor", "--test-hooks", "--hooks", text(&hook)]);
    assert_eq!(said, format!("{}: done\n", hook.display()));
    assert_eq!(told(&bench)[0]["event"], "test");
    std::fs::write(&hook, "#!/bin/sh\necho no mail today >&2; exit 3\n").expect("written");
    let said = bench.run(["monitor", "--test-hooks", "--hooks", text(&hook)]);
    assert!(said.code == 1 && said.out.contains("no mail today"), "{said:?}");
}

#[test]
fn a_pool_that_could_not_grow_says_so_at_once_and_again_before_it_is_full() {
    let disk = Disk::with_data(128);
    disk.bench.ok(setup(&["--datadev", text(&disk.volume("data"))]));
    let monitor = Monitor::of(&disk.bench);
    monitor.says("it could not grow if it were full");
    assert_eq!(when_full(&disk.bench), "error");
    let at = mounted(&disk.bench);
    // A fifth is 25.
    write_until_free(&disk.bench, &at, 24);
    monitor.says("nearly full, and it can't grow");
}

#[test]
fn a_pool_that_is_not_to_grow_is_told_of_before_it_is_full_each_time() {
    let sizes = ["--loop-data-size", "256M", "--loop-metadata-size", "8M"];
    let never = ["--autoextend-threshold", "100%", "--min-free-space", "20%"];
    let (bench, at) = filled(Bench::new(), &[sizes, never].concat());
    let hook = hook(&bench);
    let monitor = Monitor::with(&bench, &["--hooks", text(&hook)]);
    for time in 1..=2 {
        // A fifth is 51.
        write_until_free(&bench, &at, 50);
        monitor.says_times("for data is free", time);
        sh(&format!("rm {0}/file*; sync; fstrim {0}", at.display()));
        monitor.says_times("enough of its data is free again", time);
    }
    // What has become worse is not over.
    let said = write(&bench, &at, 0..20);
    assert!(said.err.contains("No space left on device"), "{said:?}: {}", monitor.said());
    monitor.says("The pool has no free block for data");
    bench.ok(["container", "unmount", "box"]);
    crate::support::wait_until("the hook to be told", || {
        told(&bench).iter().any(|one| one["event"] == "full")
    });
    assert_eq!((total(&bench), monitor.asked_to_end()), (256, Some(0)));
    let told: Vec<_> = told(&bench).iter().map(what).collect();
    let nearly = |event: &str| (event.into(), "data_nearly_full".into());
    assert_eq!(told[..4], ["warn", "recovered", "warn", "recovered"].map(nearly), "{told:?}");
    // A quick writer is past the mark before the monitor looks.
    let full = ("full".into(), "out_of_data_space".into());
    assert!(told[4..] == [nearly("warn"), full.clone()] || told[4..] == [full], "{told:?}");
}

#[test]
fn the_volumes_of_a_pool_grow_by_themselves_as_far_as_their_group_goes_and_on_when_it_has_room_again() {
    let disk = Disk::new();
    let flags = ["--device", text(&disk.node), "--volume-group", &disk.vg, "--volume-data-size", "64M"];
    disk.bench.ok(setup(&flags));
    let before = total(&disk.bench);
    // Of the group little is left.
    let free = sh(&format!("vgs --noheadings --nosuffix --units m -o vg_free {}", disk.vg));
    let free: f64 = free.parse().expect("a number");
    sh(&format!("lvcreate -q --yes -n ballast -L {}M {}", free - 100.0, disk.vg));
    let monitor = Monitor::of(&disk.bench);
    let source = disk.bench.beside("tree");
    std::fs::create_dir(&source).expect("made");
    disk.bench.ok(crate::support::importing("small", &source));
    disk.bench.ok(["container", "create", "small", "--name", "box", "--size", "1G"]);
    let at = disk.bench.ok(["container", "mount", "box"]);
    let at = Path::new(at.trim_end());
    let said = write(&disk.bench, at, 0..12);
    assert!(said.err.contains("No space left on device"), "{said:?}: {}", monitor.said());
    monitor.says(&format!("the volume group {} has", disk.vg));
    assert!(total(&disk.bench) > before, "{}", monitor.said());
    assert_eq!(when_full(&disk.bench), "error");
    sh(&format!("lvremove -q --yes {}/ballast", disk.vg));
    monitor.says("it can grow again");
    crate::support::wait_until("writes to wait again", || when_full(&disk.bench) == "queue");
    // The file system has seen errors.
    disk.bench.ok(["container", "unmount", "box"]);
    disk.bench.ok(["container", "mount", "box"]);
    sh(&format!("rm {}/file*", at.display()));
    let said = write(&disk.bench, at, 0..12);
    assert_eq!(said.code, 0, "{said:?}: {}", monitor.said());
    assert_written(&disk.bench, at, 0..12);
}

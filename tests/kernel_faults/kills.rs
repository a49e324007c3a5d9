//! The command is killed at every step that outlives it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::content::Contents;
use super::support::{Bench, SMALL, ok, wait_until};
use super::verbs::{VERBS, Verb, host, pool, put_away, small};

/// How many places of each verb are tried when nobody asks for more: another one in each run.
const SAMPLE: usize = 1;

#[test]
fn a_command_that_is_killed_at_any_step_leaves_nothing_that_the_next_one_does_not_settle() {
    let _alone = super::alone();
    let asked = std::env::var("THINPOOL_FAULTS").unwrap_or_default();
    let (bench, nothing) = (Bench::new(), Contents::default());
    let other = pool_with_content();
    let mut report = Vec::new();
    // Where nobody asked for any, every second one: others in the next run.
    let (start, step) = if asked.is_empty() { (by_chance() % 2, 2) } else { (0, 1) };
    for verb in VERBS.iter().skip(start).step_by(step) {
        let on_its_own = matches!(verb.name, "setup" | "destroy" | "setup --base-size");
        let (bench, kept) = if on_its_own { (&bench, &nothing) } else { (&other.0, &other.1) };
        let places = count(bench, verb);
        report.push((verb.name, places.clone()));
        for place in chosen(&asked, verb, places.len()) {
            kill(bench, verb, place, &places, kept);
        }
    }
    for (verb, places) in report {
        println!("{verb}: {} places, {}", places.len(), costs(&places));
    }
}

/// A pool with an image and a container that has something in it.
fn pool_with_content() -> (Bench, Contents) {
    let bench = Bench::new();
    bench.ok(SMALL.map(small));
    let bench = bench.and_image("small");
    bench.ok(["container", "create", "small", "--name", "kept"]);
    let at = bench.ok(["container", "mount", "kept"]);
    let noise: Vec<u8> =
        (0..1_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    std::fs::write(Path::new(at.trim_end()).join("noise"), noise).expect("written");
    bench.ok(["container", "unmount", "kept"]);
    bench.ok(["deactivate"]);
    let kept = Contents::of(&bench.state());
    (bench, kept)
}

/// The places that a verb meets when nobody kills it.
fn count(bench: &Bench, verb: &Verb) -> Vec<String> {
    (verb.prepare)(bench);
    let (said, places) = bench.places((verb.arguments)(bench));
    assert!(verb.again.contains(&said.code), "{}: {said:?}", verb.name);
    assert!(places.len() >= 2, "{}: {places:?}", verb.name);
    places
}

/// All places, or some that are spread evenly from a random one on.
fn chosen(asked: &str, verb: &Verb, count: usize) -> Vec<usize> {
    match asked.rsplit_once(':') {
        _ if asked == "all" || !asked.is_empty() && verb.name.starts_with(asked) => (1..=count).collect(),
        Some((name, place)) if name == verb.name => vec![place.parse().expect("a number")],
        _ if !asked.is_empty() => Vec::new(),
        _ => {
            let start = by_chance();
            (0..SAMPLE).map(|at| (start + at * count / SAMPLE) % count + 1).collect()
        }
    }
}

fn by_chance() -> usize {
    usize::from(uuid::Uuid::new_v4().as_bytes()[0])
}

fn kill(bench: &Bench, verb: &Verb, place: usize, places: &[String], kept: &Contents) {
    let context = format!("{}:{place} ({})", verb.name, places[place - 1]);
    println!("{context}");
    (verb.prepare)(bench);
    let arguments = (verb.arguments)(bench);
    let killed = bench.command(&arguments).env("THINPOOL_KILL_AT", place.to_string()).output().expect("runs");
    assert_eq!(killed.status.signal(), Some(9), "{context}: {killed:?}");
    // The next command is the same one again, or another.
    // What was there to repair is left to the next repair.
    if place.is_multiple_of(2) || verb.name.starts_with("repair") {
        let again = bench.run(&arguments);
        assert!(verb.again.contains(&again.code), "{context}: {again:?}");
    }
    if verb.name == "destroy" {
        return assert_destroyed(bench, &context);
    }
    if verb.name == "setup" {
        if !place.is_multiple_of(2) {
            return assert_destroyed(bench, &context);
        }
        bench.ok(&arguments);
    }
    // What any command on the pool begins with. It waits for no probe of udev's: a removed device that is being looked at is
    // left to the next one.
    ok(Command::new("udevadm").arg("settle"));
    pool(bench, |pool| {
        put_away(pool);
        Ok(())
    });
    let said = bench.run(["check"]);
    assert_eq!(said.code, 0, "{context}: {said:?}");
    assert_no_strays(bench, &context);
    pool(bench, |pool| pool.deactivate().map(drop));
    kept.assert_kept(&bench.state(), &context);
}

/// Fails unless the next destroy takes away all that one left.
fn assert_destroyed(bench: &Bench, context: &str) {
    let again = bench.run(["destroy", "--yes"]);
    assert!(matches!(again.code, 0 | 4), "{context}: {again:?}");
    assert_eq!(bench.devices(), [""; 0], "{context}");
    assert!(!bench.state().exists(), "{context}: {:?}", listing(&bench.state()));
    assert!(cookies().is_empty(), "{context}: {:?}", cookies());
    wait_until("every loop device to go", || bench.attached().is_empty());
}

/// Fails if there is anything that belongs to nobody.
fn assert_no_strays(bench: &Bench, context: &str) {
    const KNOWN: [&str; 11] = [
        "backups",
        "catalog.db",
        "catalog.db-shm",
        "catalog.db-wal",
        "change.lock",
        "data",
        "life.lock",
        "locks",
        "metadata",
        "mnt",
        "pool.json",
    ];
    assert_eq!(bench.devices(), [format!("{}-pool", bench.name)], "{context}");
    assert!(cookies().is_empty(), "{context}: {:?}", cookies());
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("read");
    assert!(!mounts.contains(&bench.name), "{context}: {mounts}");
    // What a replacement keeps is kept for good.
    let strange = |file: &String| !KNOWN.contains(&file.as_str()) && !file.starts_with("metadata.replaced-");
    let files: Vec<_> = listing(&bench.state()).into_iter().filter(strange).collect();
    assert!(files.is_empty(), "{context}: {files:?}");
    // Where a command writes a file of its user's, it may leave that file, and nothing else.
    let hidden = |file: &String| file.starts_with('.');
    let files: Vec<_> = listing(&bench.beside("")).into_iter().filter(hidden).collect();
    assert!(files.is_empty(), "{context}: {files:?}");
    wait_until("two loop devices", || bench.attached().len() == 2);
}

/// The names in a directory.
fn listing(directory: &Path) -> Vec<String> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    entries.map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned()).collect()
}

/// The semaphores with which somebody waits for udev.
fn cookies() -> Vec<String> {
    let all = std::fs::read_to_string("/proc/sysvipc/sem").expect("read");
    let ours = |line: &&str| {
        line.split_whitespace()
            .next()
            .and_then(|key| key.parse::<i64>().ok())
            .is_some_and(|key| key >> 16 == 0x0D4D)
    };
    all.lines().filter(ours).map(str::to_owned).collect()
}

/// What a verb costs, for `docs/architecture.md`.
fn costs(places: &[String]) -> String {
    let count =
        |what: &str| places.iter().filter(|place| place.starts_with(&format!("after {what}"))).count();
    format!(
        "{} synced commits, {} ordered, {} messages, {} other ioctls, {} syncs",
        count("commit, Synced"),
        count("commit, Ordered"),
        count("dm message"),
        count("dm ") - count("dm message"),
        count("sync "),
    )
}

#[test]
fn a_device_that_was_made_and_never_got_a_table_is_seen_by_who_clears_up() {
    let _alone = super::alone();
    let name = format!("bare-{}", std::process::id());
    ok(Command::new("dmsetup").args(["create", &name, "--notable"]));
    let listed = host().dm.list().expect("listed");
    ok(Command::new("dmsetup").args(["remove", "--retry", &name]));
    assert!(listed.iter().any(|device| device.as_str() == name), "{listed:?}");
}

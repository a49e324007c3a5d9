//! Many commands at once.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use nix::fcntl::{Flock, FlockArg};
use thinpool::pool::Pool;

use super::content::assert_sound;
use super::support::{Bench, SMALL};
use super::verbs::{host, pool, small};

/// How many of each.
const MANY: usize = 50;

#[test]
fn fifty_creates_and_removes_at_once_lose_no_container_and_leak_none() {
    let _alone = super::alone();
    let bench = Bench::new();
    bench.ok(SMALL.map(small));
    let bench = bench.and_image("small");
    let [old, new] = ["old", "new"].map(|word| (0..MANY).map(|n| format!("{word}{n}")).collect::<Vec<_>>());
    all(old.iter().map(|name| start(&bench, &["container", "create", "small", "--name", name])));
    assert_eq!(names(&bench), old.iter().cloned().collect());
    // Each with one of the other kind beside it.
    all(old.iter().zip(&new).flat_map(|(old, new)| {
        [
            start(&bench, &["container", "remove", old]),
            start(&bench, &["container", "create", "small", "--name", new]),
        ]
    }));
    assert_eq!(names(&bench), new.iter().cloned().collect());
    pool(&bench, |pool| pool.deactivate().map(drop));
    assert_sound(&bench.state(), "afterwards");
}

fn start(bench: &Bench, words: &[&str]) -> Child {
    // They wait for each other; on an emulated processor the last of them for longer than the usual bound.
    let mut command = bench.command(words);
    command.args(["--lock-timeout", "10m"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("starts")
}

fn all(started: impl Iterator<Item = Child>) {
    // All of them before the first is waited for.
    let started: Vec<_> = started.collect();
    for child in started {
        let said = child.wait_with_output().expect("ends");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
}

fn names(bench: &Bench) -> BTreeSet<String> {
    let (host, location) = (host(), bench.location());
    let containers = Pool::open(&host, &location).and_then(|pool| pool.containers()).expect("listed");
    containers.into_iter().map(|status| status.container.name).collect()
}

#[test]
fn who_only_looks_never_waits_for_who_changes_and_who_changes_is_told_for_whom_it_waited() {
    let _alone = super::alone();
    let bench = Bench::new();
    bench.ok(SMALL.map(small));
    let bench = bench.and_image("small");
    let path = bench.location().paths().change_lock();
    std::fs::write(&path, "process 1 (somebody)").expect("signed");
    let file = std::fs::File::open(&path).expect("opens");
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).expect("free");
    for words in [&["status"][..], &["container", "list"], &["image", "list"]] {
        // A bound of nothing: whoever waits fails.
        bench.ok([words, &["--lock-timeout", "0s"]].concat());
    }
    let said = bench.fails(6, ["container", "create", "small", "--name", "web", "--lock-timeout", "1s"]);
    assert!(said.contains("process 1 (somebody)") && said.contains("change.lock"), "{said}");
    drop(lock);
    bench.ok(["container", "create", "small", "--name", "web", "--lock-timeout", "0s"]);
}

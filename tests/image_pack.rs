//! The archive of a layer, made of how two trees differ: applied to the lower one, it gives the upper one, and made again
//! from what it gave, it is the same.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "the lints spare only unit tests")]

#[allow(dead_code, reason = "shared with tests that pack by GNU tar")]
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;
use thinpool::image::{
    Digest, FileChangeKind, LayerDifference, LayerKind, NoProgress, UnpackOptions, changes, unpack,
};

fn copy(from: &Path, to: &Path) {
    tree::run(Command::new("cp").arg("-a").arg("--sparse=always").arg(from).arg(to));
}

fn pack(before: &Path, now: &Path) -> Vec<u8> {
    let mut difference = LayerDifference::find(before, now).expect("compared");
    difference.write(Vec::new(), &mut NoProgress).expect("written").0
}

/// A directory for a test, with one tree in it and what is made of it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Packs how `now` differs from `before`, applies it to a copy of `before`, and compares.
    fn assert_comes_back(&self, before: &Path, now: &Path) -> Vec<u8> {
        let archive = pack(before, now);
        let back = self.path("back");
        copy(before, &back);
        unpack(&archive[..], &back, &UnpackOptions::new(LayerKind::Image)).expect("unpacked");
        tree::assert_same(&back, now, "what came back, and what went in");
        // Digests are long, and archives are longer.
        let again = pack(before, &back);
        assert_eq!(Digest::of(&again), Digest::of(&archive), "the same difference, another archive");
        archive
    }
}

#[test]
fn a_tree_with_one_of_everything_is_packed_whole() {
    let bench = Bench::new();
    let (empty, root) = (bench.path("empty"), bench.path("root"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&root).unwrap();
    tree::make(&root);
    fs::remove_file(root.join(".wh.kept")).unwrap();
    let archive = bench.assert_comes_back(&empty, &root);
    // By another program too.
    fs::write(bench.path("archive"), &archive).unwrap();
    tree::untar(&bench.path("archive"), &bench.path("theirs"));
    tree::assert_same(&bench.path("theirs"), &root, "what GNU tar made of it");
    // A file of 5 MiB with 4 KiB in it.
    assert!(archive.len() < (4 << 20), "{} bytes: holes were packed", archive.len());
}

#[test]
fn every_kind_of_change_comes_back() {
    let bench = Bench::new();
    let (before, now) = (bench.path("before"), bench.path("now"));
    fs::create_dir(&before).unwrap();
    tree::make(&before);
    fs::remove_file(before.join(".wh.kept")).unwrap();
    copy(&before, &now);
    let at = |name: &str| now.join(name);
    // Gone; renamed over another; replaced by other types; a directory made anew; links made and broken.
    fs::remove_file(at("dangling")).unwrap();
    fs::rename(at("a/nothing"), at("fifo")).unwrap();
    fs::remove_dir(at("empty")).unwrap();
    fs::write(at("empty"), "a file now").unwrap();
    fs::remove_file(at("link")).unwrap();
    fs::create_dir(at("link")).unwrap();
    fs::write(at("link/inside"), "new").unwrap();
    fs::remove_dir_all(at("a/b")).unwrap();
    fs::create_dir(at("a/b")).unwrap();
    fs::write(at("a/b/new"), "new").unwrap();
    fs::hard_link(at("a/large"), at("a/also-large")).unwrap();
    fs::remove_file(at("z-linked")).unwrap();
    fs::write(at("z-linked"), "long").unwrap();
    xattr::set(at("sparse"), "user.odd", b"value").unwrap();
    bench.assert_comes_back(&before, &now);
    let told: Vec<String> = changes(&before, &now)
        .unwrap()
        .into_iter()
        .map(|change| {
            let kind = match change.kind {
                FileChangeKind::Added => 'A',
                FileChangeKind::Changed => 'C',
                FileChangeKind::Deleted => 'D',
            };
            format!("{kind} {}", String::from_utf8_lossy(&change.path))
        })
        .collect();
    let expected = [
        "C /a",
        "A /a/also-large",
        "C /a/b",
        "D /a/b/c",
        "D /a/b/linked",
        "A /a/b/new",
        "C /a/file",
        "C /a/large",
        "D /a/nothing",
        "D /dangling",
        "C /empty",
        "C /fifo",
        "C /link",
        "A /link/inside",
        "C /sparse",
        "C /z-linked",
    ];
    assert_eq!(told, expected);
}

#[test]
fn nothing_changed_is_no_layer() {
    let bench = Bench::new();
    let (before, now) = (bench.path("before"), bench.path("now"));
    fs::create_dir_all(before.join("a/b")).unwrap();
    fs::write(before.join("a/b/file"), "content").unwrap();
    copy(&before, &now);
    assert!(LayerDifference::find(&before, &now).unwrap().is_empty());
    // A file that came and went again leaves the time of its directory.
    fs::write(now.join("a/passing"), "").unwrap();
    fs::remove_file(now.join("a/passing")).unwrap();
    assert_eq!(changes(&before, &now).unwrap(), []);
    assert!(!LayerDifference::find(&before, &now).unwrap().is_empty());
    bench.assert_comes_back(&before, &now);
}

#[test]
fn a_file_with_the_name_of_a_whiteout_is_told() {
    let bench = Bench::new();
    let (before, now) = (bench.path("before"), bench.path("now"));
    fs::create_dir(&before).unwrap();
    fs::create_dir_all(now.join("a")).unwrap();
    fs::write(now.join("a/.wh.file"), "").unwrap();
    let difference = LayerDifference::find(&before, &now).unwrap();
    assert_eq!(difference.misleading_name(), Some(&b"a/.wh.file"[..]));
}

/// One step of whoever works in a container; the numbers choose among names.
#[derive(Debug, Clone)]
enum Step {
    Write(usize, u8),
    Append(usize),
    Remove(usize),
    MakeDirectory(usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Rename(usize, usize),
    Mode(usize, u32),
    Truncate(usize, u64),
}

const NAMES: [&str; 9] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "f"];

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    prop_oneof![
        4 => (name(), any::<u8>()).prop_map(|(at, byte)| Step::Write(at, byte)),
        1 => name().prop_map(Step::Append),
        3 => name().prop_map(Step::Remove),
        3 => name().prop_map(Step::MakeDirectory),
        3 => (name(), name()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Step::Symlink(from, to)),
        3 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (name(), 0o400..0o1000_u32).prop_map(|(at, mode)| Step::Mode(at, mode | 0o700)),
        1 => (name(), 0..1_000_000_u64).prop_map(|(at, size)| Step::Truncate(at, size)),
    ]
}

/// What can't be done isn't.
fn apply(root: &Path, step: &Step) {
    let at = |name: usize| root.join(NAMES[name]);
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|stat| stat.is_file());
    match *step {
        Step::Write(name, byte) => {
            let path = at(name);
            if !path.is_symlink() {
                let _ = fs::write(path, [byte]);
            }
        }
        Step::Append(name) if is_file(&at(name)) => {
            let mut content = fs::read(at(name)).unwrap();
            content.push(b'+');
            fs::write(at(name), content).unwrap();
        }
        Step::Remove(name) => {
            let _ = fs::remove_file(at(name)).or_else(|_| fs::remove_dir_all(at(name)));
        }
        Step::MakeDirectory(name) => {
            let _ = fs::create_dir(at(name));
        }
        Step::Link(from, to) if is_file(&at(from)) => {
            let _ = fs::hard_link(at(from), at(to));
        }
        Step::Symlink(from, to) => {
            let _ = std::os::unix::fs::symlink(NAMES[from], at(to));
        }
        Step::Rename(from, to) => {
            let _ = fs::rename(at(from), at(to));
        }
        Step::Mode(name, mode) if !at(name).is_symlink() => {
            let _ = fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(mode));
        }
        Step::Truncate(name, size) if is_file(&at(name)) => {
            fs::File::options().write(true).open(at(name)).unwrap().set_len(size).unwrap();
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_done_in_a_container_comes_back(
        image in prop::collection::vec(step(), 0..25),
        container in prop::collection::vec(step(), 0..25),
    ) {
        let bench = Bench::new();
        let (before, now) = (bench.path("before"), bench.path("now"));
        fs::create_dir(&before).unwrap();
        for step in &image {
            apply(&before, step);
        }
        copy(&before, &now);
        for step in &container {
            apply(&now, step);
        }
        bench.assert_comes_back(&before, &now);
    }
}

//! Metadata that is damaged, on a real kernel: what comes back is compared with what was there, block by block and without any
//! file system, and what doesn't come back has to have been named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use thinpool::units::Bytes;

use crate::devices::{setup, sh, text};
use crate::support::{Bench, ok};
use crate::tools::overwrite;

/// Numbers that are the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// The size of the pool's blocks.
const BLOCK: usize = 64 << 10;

/// What is in a device: each of its blocks that aren't all zeros, by its number.
type Content = BTreeMap<u64, Vec<u8>>;

/// What is in each device of a pool, by its id.
type Contents = BTreeMap<u32, Content>;

impl Bench {
    /// A small pool with an image, a container `two`, and a container `large` that takes more mappings than fit in one block of
    /// metadata. It is at rest.
    fn at_rest_with_content() -> Self {
        let bench = Self::new();
        bench.ok(setup(&["--loop-data-size", "512M", "--loop-metadata-size", "8M"]));
        let bench = bench.and_image("image");
        bench.with_noise("two", 2);
        bench.ok(["container", "create", "image", "--name", "large"]);
        let at = bench.ok(["container", "mount", "large"]);
        let file = Path::new(at.trim_end()).join("noise");
        sh(&format!("dd if=/dev/urandom of={} bs=1M count=24 conv=fsync status=none", file.display()));
        bench.ok(["container", "unmount", "large"]);
        bench
    }

    /// What is in all devices that the catalog knows, the base and the layers as well. The pool must be active, and nothing else
    /// of it.
    fn contents(&self) -> Contents {
        let catalog = rusqlite::Connection::open(self.state().join("catalog.db")).expect("the catalog");
        let mut query = catalog.prepare("SELECT id, size FROM device").expect("a query");
        let devices = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?))).expect("rows");
        devices
            .map(|device| {
                let (id, size) = device.expect("a device");
                (id, self.content(id, size.into()))
            })
            .collect()
    }

    fn content(&self, id: u32, size: u64) -> Content {
        let name = format!("{}-look", self.name);
        let table = format!("0 {} thin /dev/mapper/{} {id}", size / 512, self.pool());
        sh(&format!("dmsetup create {name} --readonly --table '{table}'"));
        let mut device = File::open(format!("/dev/mapper/{name}")).expect("opens");
        let (mut block, zeros, mut content) = (vec![0; BLOCK], vec![0; BLOCK], Content::new());
        for number in 0..size / BLOCK as u64 {
            device.read_exact(&mut block).expect("read");
            if block != zeros {
                content.insert(number, block.clone());
            }
        }
        drop(device);
        sh(&format!("dmsetup remove --retry {name}"));
        content
    }
}

/// The numbers of the blocks that aren't the same.
fn differences(before: &Content, after: &Content) -> BTreeSet<u64> {
    let all: BTreeSet<u64> = before.keys().chain(after.keys()).copied().collect();
    all.into_iter().filter(|number| before.get(number) != after.get(number)).collect()
}

/// The devices that sentences name.
fn named(sentences: &Value) -> BTreeSet<u32> {
    let sentences = sentences.as_array().expect("an array").iter();
    let id = |sentence: &Value| {
        let (_, rest) = sentence.as_str()?.split_once("(device ")?;
        rest.split_once(')')?.0.parse().ok()
    };
    sentences.map(|sentence| id(sentence).unwrap_or_else(|| panic!("names no device: {sentence}"))).collect()
}

/// Overwrites some of the metadata's blocks that have anything in them; the first of all if it is said so.
fn damage(metadata: &Path, seed: u64, superblock: bool) -> Vec<u64> {
    let content = fs::read(metadata).expect("read");
    let used: Vec<u64> = (1..)
        .zip(content.chunks(4096).skip(1))
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
        .map(|(at, _)| at)
        .collect();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut hit: Vec<u64> =
        (0..2).map(|_| used[usize::try_from(random.below(used.len() as u64)).expect("small")]).collect();
    hit.extend(superblock.then_some(0));
    for block in &hit {
        let bytes: Vec<u8> = (0..4096).map(|_| random.below(256).to_le_bytes()[0]).collect();
        overwrite(metadata, block * 4096, &bytes);
    }
    hit
}

/// A block of metadata with mappings of a device.
#[derive(Debug)]
struct Leaf {
    block: u64,
    /// Which of the device's blocks it maps.
    mapped: BTreeSet<u64>,
}

/// The blocks of metadata below a device's own root. Its tree must have more than one.
fn leaves_of(metadata: &Path, device: u64) -> Vec<Leaf> {
    let content = fs::read(metadata).expect("read");
    let number = |at: u64| {
        let at = usize::try_from(at).expect("small");
        u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"))
    };
    // A node of a tree: its header (two words, its place, then counts of entries in use and of those it has room for), the
    // keys, the values.
    let entries = |block: u64| -> Vec<(u64, u64)> {
        let (base, counts) = (block * 4096, number(block * 4096 + 16));
        let (used, room) = (counts & 0xffff_ffff, counts >> 32);
        (0..used).map(|at| (number(base + 32 + at * 8), number(base + 32 + (room + at) * 8))).collect()
    };
    // Where the superblock says that the devices' trees begin. They are few: one node has them all.
    let devices = entries(number(320));
    let root = devices.iter().find(|(id, _)| *id == device).expect("the device").1;
    let leaf = |block| Leaf { block, mapped: entries(block).into_iter().map(|(key, _)| key).collect() };
    entries(root).into_iter().map(|(_, block)| leaf(block)).collect()
}

#[test]
fn of_a_device_that_comes_back_in_part_just_what_is_named_is_lost_and_every_other_is_the_same() {
    let bench = Bench::at_rest_with_content();
    let before = bench.contents();
    let large =
        bench.list("container").iter().find(|one| one["name"] == "large").expect("there")["device_id"]
            .as_u64()
            .expect("a number");
    bench.ok(["deactivate"]);
    fs::remove_dir_all(bench.state().join("backups")).expect("removed");
    let leaves = leaves_of(&bench.metadata(), large);
    assert!(leaves.len() > 1, "{leaves:?}");
    let hit = &leaves[leaves.len() / 2];
    overwrite(&bench.metadata(), hit.block * 4096, &[0xA5; 4096]);
    let lost = Bytes((hit.mapped.len() * BLOCK) as u64);
    let named = format!("the container 'large' (device {large}): {lost} of its ");
    let planned = bench.run(["repair"]);
    assert!(planned.code == 7 && planned.out.contains(&format!("In part: {named}")), "{planned:?}");
    let said = bench.run(["repair", "--yes"]);
    assert!(said.code == 9 && said.out.contains(&named), "{said:?}");
    bench.ok(["activate"]);
    assert_eq!(bench.run(["check"]).code, 0);
    for (id, after) in bench.contents() {
        let differing = differences(&before[&id], &after);
        if u64::from(id) == large {
            let had: BTreeSet<u64> = before[&id].keys().copied().collect();
            assert_eq!(differing, had.intersection(&hit.mapped).copied().collect(), "{said:?}");
            assert!(differing.iter().all(|number| !after.contains_key(number)), "they read as zeros");
        } else {
            assert_eq!(differing, BTreeSet::new(), "device {id}: {said:?}");
        }
    }
}

/// One bed, damaged by each of these seeds: two blocks of the metadata, with every third seed its superblock too; with every
/// second one there is a backup.
#[test]
fn of_metadata_that_is_damaged_anywhere_nothing_is_lost_without_being_named() {
    let bench = Bench::at_rest_with_content();
    let before = bench.contents();
    bench.ok(["deactivate"]);
    let saved = bench.beside("saved");
    sh(&format!("cp -a --sparse=always {} {}", text(&bench.state()), text(&saved)));
    for seed in 1..=6 {
        sh(&format!("rm -rf {0} && cp -a --sparse=always {1} {0}", text(&bench.state()), text(&saved)));
        let (superblock, backups) = (seed % 3 == 0, seed % 2 == 0);
        if !backups {
            fs::remove_dir_all(bench.state().join("backups")).expect("removed");
        }
        let hit = damage(&bench.metadata(), seed, superblock);
        let context = format!("seed {seed}, blocks {hit:?}, backups: {backups}");
        let damaged = fs::read(bench.metadata()).expect("read");
        let check = bench.run(["check"]);
        let planned = bench.run(["repair"]);
        assert_eq!(fs::read(bench.metadata()).expect("read"), damaged, "{context}: a dry run changed it");
        let said = bench.run(["repair", "--yes", "--json"]);
        let context = format!("{context}: {check:?}\n{planned:?}\n{said:?}");
        println!("{context}");
        let done: Value = serde_json::from_str(&said.out).expect("JSON");
        if done["failed"].as_array().is_some_and(|failed| !failed.is_empty()) {
            assert!(!backups, "{context}");
            assert_eq!(fs::read(bench.metadata()).expect("read"), damaged, "{context}");
            continue;
        }
        assert!(matches!(said.code, 0 | 9), "{context}");
        let renewed = &done["renewed_metadata"];
        let (lost, shrunk) = match renewed {
            Value::Null => Default::default(),
            renewed => (named(&renewed["lost"]), named(&renewed["shrunk"])),
        };
        bench.ok(["activate"]);
        assert_eq!(bench.run(["check"]).code, 0, "{context}");
        let after = bench.contents();
        for (id, before) in &before {
            match after.get(id) {
                None => assert!(lost.contains(id), "device {id} is gone: {context}"),
                Some(after) => {
                    let differing = differences(before, after);
                    println!(
                        "seed {seed}, device {id}: {} of {} blocks differ",
                        differing.len(),
                        before.len()
                    );
                    assert!(
                        differing.is_empty() || shrunk.contains(id),
                        "device {id} isn't what it was: {context}"
                    );
                    assert!(
                        differing.iter().all(|number| !after.contains_key(number)),
                        "device {id} has what it never had: {context}"
                    );
                }
            }
        }
        bench.ok(["deactivate"]);
        ok(std::process::Command::new("thin_check").arg(bench.metadata()));
    }
}

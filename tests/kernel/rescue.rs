//! A pool whose metadata is lost or damaged, on a real kernel: what comes back, and that what doesn't is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::damage::Random;
use crate::devices::{Disk, setup, sh, text};
use crate::docs::{documented, keys};
use crate::support::{Bench, assert_pool_and_catalog_agree, ok};
use crate::tools::overwrite;
use crate::watched::Monitor;

impl Bench {
    /// A container with a file of its own that takes many blocks.
    pub fn with_noise(&self, name: &str, seed: u32) {
        self.ok(["container", "create", "image", "--name", name]);
        self.write_noise(name, seed);
    }

    fn write_noise(&self, name: &str, seed: u32) {
        let at = self.ok(["container", "mount", name]);
        let noise: Vec<u8> =
            (0..3_000_000_u32).map(|at| (at ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        fs::write(Path::new(at.trim_end()).join(format!("noise-{seed}")), noise).expect("written");
        self.ok(["container", "unmount", name]);
    }

    /// The sums of all files of these containers, by container and path.
    fn sums(&self, containers: &[&str]) -> BTreeMap<String, String> {
        let mut sums = BTreeMap::new();
        for container in containers {
            let at = self.ok(["container", "mount", container, "--read-only"]);
            let listed = sh(&format!("cd {} && find . -type f -exec sha256sum {{}} +", at.trim_end()));
            sums.extend(listed.lines().map(|line| {
                let (sum, path) = line.split_once("  ").expect("a sum");
                (format!("{container}:{path}"), sum.to_owned())
            }));
            self.ok(["container", "unmount", container]);
        }
        assert!(sums.len() > containers.len(), "{sums:?}");
        sums
    }

    fn backups(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(["metadata", "list", "--json"])).expect("an array")
    }

    fn kept(&self) -> Vec<PathBuf> {
        let listed = self.state().read_dir().expect("listed").map(|entry| entry.expect("listed").path());
        listed.filter(|path| path.to_string_lossy().contains("metadata.replaced-")).collect()
    }
}

#[test]
fn a_pool_whose_metadata_is_wiped_comes_back_from_its_backup_with_every_file_by_a_restore_and_by_a_repair() {
    let bench = Bench::with_image("image");
    bench.with_noise("one", 1);
    bench.with_noise("two", 2);
    let before = bench.sums(&["one", "two"]);
    bench.ok(["deactivate"]);
    assert_eq!(bench.backups().len(), 1);
    overwrite(&bench.metadata(), 0, &vec![0; 16 << 20]);
    bench.fails(7, ["activate"]);
    let said = bench.run(["metadata", "restore"]);
    assert!(said.code == 7 && said.out.contains("No device that the catalog knows is lost."), "{said:?}");
    let said = bench.run(["metadata", "restore", "--json"]);
    let plan: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &plan["lost"]), (7, &serde_json::json!([])), "{said:?}");
    for key in keys(&plan) {
        assert!(documented("").contains(&key), "{key} is not in docs/json.md");
    }
    assert!(bench.kept().is_empty());
    bench.ok(["metadata", "restore", "--yes"]);
    bench.ok(["activate"]);
    assert_eq!(bench.run(["check"]).code, 0);
    assert_eq!(bench.sums(&["one", "two"]), before);
    assert_eq!(bench.kept().len(), 1);
    assert_pool_and_catalog_agree(&bench);
    // Of noise, thin_repair can make nothing.
    bench.ok(["deactivate"]);
    let mut random = Random(42);
    let noise: Vec<u8> = (0..2 << 20).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect();
    overwrite(&bench.metadata(), 0, &noise);
    let said = bench.run(["repair", "--json"]);
    let found: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &found["clean"]), (7, &false.into()), "{said:?}");
    let said = bench.run(["repair", "--yes"]);
    assert!(said.code == 9 && said.out.contains("was made of backup"), "{said:?}");
    bench.ok(["activate"]);
    assert_eq!(bench.run(["check"]).code, 0);
    assert_eq!(bench.sums(&["one", "two"]), before);
    bench.ok(["destroy", "--yes"]);
    assert!(!bench.state().exists());
}

#[test]
fn a_backup_needs_nothing_but_stock_tools() {
    let bench = Bench::with_image("image");
    bench.with_noise("one", 1);
    let before = bench.sums(&["one"]);
    bench.ok(["deactivate"]);
    let backup = bench.backups()[0]["path"].as_str().expect("a path").to_owned();
    let (xml, metadata) = (bench.beside("xml"), bench.metadata());
    overwrite(&metadata, 0, &vec![0; 16 << 20]);
    sh(&format!("zstd -q -d {backup} -o {0} && thin_restore -q -i {0} -o {1}", text(&xml), text(&metadata)));
    ok(Command::new("thin_check").arg(&metadata));
    bench.ok(["activate"]);
    assert_eq!(bench.sums(&["one"]), before);
    assert_pool_and_catalog_agree(&bench);
}

/// What was synced before the backup is there; what came after it is named.
#[test]
fn a_pool_is_backed_up_while_it_is_written_to_and_what_came_later_is_named_as_lost() {
    let bench = Bench::with_image("image");
    bench.with_noise("one", 1);
    let before = bench.sums(&["one"]);
    let at = bench.ok(["container", "create", "image", "--name", "busy"]);
    let at = at.trim_end();
    assert_eq!(at, "busy");
    let at = bench.ok(["container", "mount", "busy"]);
    let going = bench.beside("going");
    fs::write(&going, "").expect("written");
    let line = format!(
        "while [ -e {} ]; do dd if=/dev/urandom of={}/noise bs=64k count=256 conv=fsync 2>/dev/null; echo; done",
        going.display(),
        at.trim_end()
    );
    let mut writer = Command::new("sh").args(["-c", &line]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut told = std::io::BufReader::new(writer.stdout.take().expect("piped"));
    let mut wait_for_a_round = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut told, &mut line).expect("read");
    };
    for _ in 0..3 {
        wait_for_a_round();
        bench.ok(["metadata", "backup"]);
    }
    wait_for_a_round();
    // It ends by itself: killed, it would leave a dd that has the file open.
    fs::remove_file(&going).expect("removed");
    assert!(writer.wait().expect("ended").success());
    bench.ok(["container", "unmount", "busy"]);
    bench.ok(["container", "create", "image", "--name", "late"]);
    bench.ok(["deactivate"]);
    // The three by hand, and the one of the deactivation.
    assert_eq!(bench.backups().len(), 4);
    overwrite(&bench.metadata(), 0, &vec![0; 1 << 20]);
    let said = bench.run(["metadata", "restore", "3"]);
    assert!(said.code == 7 && said.out.contains("Lost: the container 'late'"), "{said:?}");
    let said = bench.run(["metadata", "restore", "3", "--yes"]);
    assert!(said.code == 0 && said.out.contains("'late'"), "{said:?}");
    bench.ok(["activate"]);
    assert_eq!(bench.sums(&["one"]), before);
    let list = bench.ok(["container", "list", "--quiet"]);
    assert_eq!(list.lines().collect::<Vec<_>>(), ["busy", "one"]);
    assert_pool_and_catalog_agree(&bench);
}

/// Nobody asked for that backup, and it is as good as one that somebody asked for.
#[test]
fn what_was_made_since_the_last_backup_is_backed_up_by_the_monitor_and_comes_back_from_there() {
    let bench = Bench::with_image("image");
    bench.ok(["metadata", "backup"]);
    let monitor = Monitor::with(&bench, &["--metadata-backup-changes", "4"]);
    let names = ["a", "b", "c", "d"];
    for name in names {
        bench.ok(["container", "create", "image", "--name", name]);
    }
    // That is heard.
    bench.ok(["container", "activate", "d"]);
    monitor.says("its metadata is backed up");
    assert_eq!(bench.backups().len(), 2, "{}", monitor.said());
    assert_eq!(monitor.asked_to_end(), Some(0));
    bench.ok(["deactivate"]);
    overwrite(&bench.metadata(), 0, &vec![0; 1 << 20]);
    bench.ok(["metadata", "restore", "2", "--yes"]);
    bench.ok(["activate"]);
    let list = bench.ok(["container", "list", "--quiet"]);
    assert_eq!(list.lines().collect::<Vec<_>>(), names);
    bench.ok(["container", "deactivate", "d"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_pool_on_devices_gets_its_metadata_back_in_place_or_on_the_spare() {
    for how in ["device", "datadev", "metadatadev"] {
        let disk = if how == "device" { Disk::new() } else { Disk::with_data(1024) };
        let bench = &disk.bench;
        let arguments = match how {
            "device" => ["--device", text(&disk.node), "--volume-group", &disk.vg].join("\n"),
            "datadev" => format!("--datadev\n{}", text(&disk.volume("data"))),
            _ => {
                let metadata = disk.make_volume("by-hand", 16);
                format!("--datadev\n{}\n--metadatadev\n{}", text(&disk.volume("data")), text(&metadata))
            }
        };
        bench.ok(setup(&arguments.split('\n').collect::<Vec<_>>()));
        bench.import_tree("image");
        bench.with_noise("one", 1);
        let before = bench.sums(&["one"]);
        bench.ok(["deactivate"]);
        let metadata = match how {
            "device" => disk.volume("metadata"),
            "datadev" => disk.volume("data_meta"),
            _ => disk.volume("by-hand"),
        };
        sh(&format!(
            "dd if=/dev/zero of={} bs=1M count=1 conv=fsync,notrunc 2>/dev/null; udevadm settle",
            metadata.display()
        ));
        // Twice: what was exchanged is exchanged again.
        for _ in 0..2 {
            let said = bench.ok(["metadata", "restore", "--yes"]);
            assert!(said.contains("is kept"), "{how}: {said}");
        }
        bench.ok(["activate"]);
        assert_eq!(bench.run(["check"]).code, 0, "{how}");
        assert_eq!(bench.sums(&["one"]), before, "{how}");
        bench.ok(["destroy", "--yes"]);
        assert!(!disk.known_to_lvm().contains("thinpool.pool="), "{how}: {}", disk.known_to_lvm());
        assert!(!bench.state().exists(), "{how}");
    }
}

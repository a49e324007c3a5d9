//! Pools that are made larger while they are in use.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use thinpool::dm::{DeviceMapper, Kernel, Name, PoolMessage};
use thinpool::units::DeviceId;

use crate::devices::{Disk, setup, sh, text};
use crate::support::{Bench, assert_pool_and_catalog_agree, ok};

const MIB: u64 = 1 << 20;

/// The kernel's totals, in MiB: data and metadata.
fn totals(bench: &Bench) -> (u64, u64) {
    let status = bench.status();
    let total = |what| status["kernel"][what]["total"].as_u64().expect("a number") / MIB;
    (total("data"), total("metadata"))
}

fn problems(bench: &Bench) -> Vec<String> {
    let status = bench.status();
    let keys = status["problems"].as_array().expect("an array").iter();
    keys.map(|problem| problem["key"].as_str().expect("a key").to_owned()).collect()
}

/// A pool on loop files of these sizes, with an image and a mounted container.
fn pool(data: &str, metadata: &str) -> (Bench, std::path::PathBuf) {
    let bench = Bench::new();
    bench.ok(setup(&["--loop-data-size", data, "--loop-metadata-size", metadata]));
    let bench = bench.and_image("small");
    bench.ok(["container", "create", "small", "--name", "box", "--size", "1G"]);
    let at = bench.ok(["container", "mount", "box"]);
    (bench, at.trim_end().into())
}

/// Writes files of known content, one after the other, until it is told to stop, and tells their sums.
fn write_files(at: &Path, stop: &AtomicBool) -> String {
    let mut sums = String::new();
    for number in 0..8 {
        let file = at.join(format!("file{number}"));
        sh(&format!("dd if=/dev/urandom of={} bs=1M count=4 conv=fsync status=none", file.display()));
        sums += &ok(Command::new("sha256sum").arg(&file));
        if stop.load(Ordering::SeqCst) && number >= 3 {
            break;
        }
    }
    sums
}

fn assert_same(sums: &str) {
    let check = format!("echo '{}' | sha256sum --check --quiet", sums.trim_end());
    sh(&format!("sync; echo 3 >/proc/sys/vm/drop_caches; {check}"));
}

#[test]
fn a_pool_grows_while_it_is_written_to_and_not_a_byte_is_lost() {
    let (bench, at) = pool("128M", "8M");
    bench.ok(["container", "create", "small", "--name", "other"]);
    let stop = AtomicBool::new(false);
    let sums = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write_files(&at, &stop));
        // Devices are made in a pool that is suspended for a moment again and again.
        let activating = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                bench.ok(["container", "activate", "other"]);
                bench.ok(["container", "deactivate", "other"]);
            }
        });
        for growth in [
            &["extend", "--data", "+64M"][..],
            &["extend", "--data", "256M", "--metadata", "16M"],
            &["extend", "--data", "+25%"],
        ] {
            bench.ok(growth);
        }
        stop.store(true, Ordering::SeqCst);
        activating.join().expect("activated");
        writing.join().expect("written")
    });
    assert_eq!(totals(&bench), (320, 16));
    let said = bench.fails(2, ["extend", "--data", "100M"]);
    assert!(said.contains("smaller"), "{said}");
    assert!(bench.ok(["extend"]).contains("already"));
    assert_same(&sums);
    let file = bench.state().join("data").metadata().expect("there");
    assert_eq!(file.len(), 320 * MIB);
    assert!(file.blocks() * 512 < 200 * MIB, "the file isn't sparse any more");
    bench.ok(["container", "unmount", "box"]);
    assert_pool_and_catalog_agree(&bench);
    assert_eq!(totals(&bench), (320, 16));
    bench.ok(["container", "mount", "box"]);
    assert_same(&sums);
}

#[test]
fn a_pool_without_metadata_is_rescued_by_growing_it_and_then_deletes() {
    let (bench, _) = pool("128M", "2M");
    let kernel = Kernel::open(Duration::from_secs(10)).expect("device-mapper");
    let device = Name::new(format!("{}-pool", bench.name)).expect("a name");
    // Each device takes a block of metadata for its root.
    let id = |number: u32| DeviceId::try_from(1_000_000 + number).expect("24 bits");
    let made =
        (0..512).take_while(|number| kernel.message(&device, &PoolMessage::CreateThin(id(*number))).is_ok());
    let made = u32::try_from(made.count()).expect("few");
    let status = bench.status();
    assert_eq!(status["kernel"]["mode"], "read_only", "{status}");
    assert_eq!(status["kernel"]["needs_check"], false, "{status}");
    assert!(problems(&bench).contains(&"out_of_metadata_space".to_owned()));
    bench.fails(1, ["container", "create", "small", "--name", "other"]);
    kernel.message(&device, &PoolMessage::Delete(id(0))).expect_err("nothing can be deleted");
    bench.ok(["extend", "--metadata", "+6M"]);
    let status = bench.status();
    assert_eq!(status["kernel"]["mode"], "read_write", "{status}");
    for number in 0..made {
        kernel.message(&device, &PoolMessage::Delete(id(number))).expect("deleted");
    }
    bench.ok(["container", "unmount", "box"]);
    bench.ok(["container", "remove", "box"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn the_volumes_of_a_pool_grow_out_of_their_group_and_a_disk_makes_that_larger() {
    let (disk, second) = (Disk::new(), Disk::new());
    let bench = &disk.bench;
    let disks = ["--device", text(&disk.node), "--volume-group", &disk.vg, "--volume-data-size", "50%"];
    bench.ok(setup(&disks));
    let (data, metadata) = totals(bench);
    let size = |volume: &str| -> u64 {
        let size = sh(&format!("lvs --noheadings --nosuffix --units b -o lv_size {}/{volume}", disk.vg));
        size.parse::<u64>().expect("a number") / MIB
    };
    bench.ok(["extend", "--data", "+100M", "--metadata", "+8M"]);
    assert_eq!(totals(bench), (data + 100, metadata + 8));
    assert_eq!((size("data"), size("metadata")), (data + 100, metadata + 8));
    assert_eq!(size("metadata-spare"), size("metadata"), "a repair would have too little room");
    let before = (disk.known_to_lvm(), bench.status());
    let said = bench.fails(8, ["extend", "--data", "100G", "--metadata", "+100M"]);
    assert!(said.contains(&disk.vg), "{said}");
    assert_eq!(
        (disk.known_to_lvm(), bench.status()["kernel"].clone()),
        (before.0, before.1["kernel"].clone())
    );
    // Without LVM's own hand nothing shows that there is more than the pool takes.
    sh(&format!("lvextend -q -L +32M {}/data", disk.vg));
    assert!(problems(bench).contains(&"device_larger".to_owned()));
    bench.ok(["extend"]);
    assert_eq!(totals(bench).0, data + 132);
    assert!(!problems(bench).contains(&"device_larger".to_owned()));

    sh(&format!("mkfs.ext4 -q {}", second.node.display()));
    bench.fails(7, ["extend", "--device", text(&second.node)]);
    bench.ok(["extend", "--device", text(&second.node), "--wipe", text(&second.node)]);
    assert!(totals(bench).0 > data * 19 / 10, "{:?} after {data}", totals(bench));
    assert!(bench.ok(["extend", "--device", text(&second.node)]).contains("already"));
    // Nothing of it is less the pool's than what setup made.
    bench.ok(["destroy", "--yes"]);
    for node in [&disk.node, &second.node] {
        assert_eq!(sh(&format!("wipefs {}", node.display())), "");
    }
    assert!(!disk.known_to_lvm().contains(&disk.vg));
}

#[test]
fn a_volume_that_somebody_gave_grows_by_hand_and_a_growth_of_his_is_taken() {
    let disk = Disk::with_data(256);
    let bench = &disk.bench;
    bench.ok(setup(&["--datadev", text(&disk.volume("data"))]));
    let bench = &disk.bench;
    bench.ok(["extend", "--data", "+64M"]);
    assert_eq!(totals(bench).0, 320);
    let said = bench.fails(2, ["extend", "--device", text(&disk.node)]);
    assert!(said.contains("vgextend"), "{said}");
    sh(&format!("lvextend -q -L 400M {}/data", disk.vg));
    bench.ok(["extend"]);
    assert_eq!(totals(bench).0, 400);
    bench.ok(["deactivate"]);
    bench.ok(["activate"]);
    assert_eq!(totals(bench).0, 400);
}

#[test]
fn a_thin_pool_of_somebody_elses_is_not_ours_to_grow() {
    let disk = Disk::with_data(64);
    sh(&format!("lvcreate -q --type thin-pool -L 512M -n pool {}", disk.vg));
    let device = format!("{}-pool", disk.vg.replace('-', "--"));
    disk.bench.ok(setup(&["--thinpooldev", &device]));
    let said = disk.bench.fails(7, ["extend", "--data", "+64M"]);
    assert!(said.contains(&device), "{said}");
    // What its owner grows it by is there at once.
    sh(&format!("lvextend -q -L +64M {}/pool", disk.vg));
    assert_eq!(totals(&disk.bench).0, 576);
    disk.bench.ok(["destroy", "--yes"]);
}

#[test]
fn a_spare_disk_is_taken_when_the_group_is_full_and_given_back_with_the_pool() {
    let (disk, spare) = (Disk::new(), Disk::new());
    let bench = &disk.bench;
    bench.ok(setup(&[
        "--device",
        text(&disk.node),
        "--volume-group",
        &disk.vg,
        "--spare-datadev",
        text(&spare.node),
    ]));
    let (data, _) = totals(bench);
    // It is nobody else's meanwhile.
    let said = spare.bench.fails(7, setup(&["--device", text(&spare.node), "--volume-group", &spare.vg]));
    assert!(said.contains("LVM2_member"), "{said}");
    let in_reserve = |taken: bool| {
        let on = bench.status()["catalog"]["lies_on"].clone();
        assert_eq!(on["metadata_spare"], format!("{}/metadata-spare", disk.vg), "{on}");
        let expected = serde_json::json!({"name": text(&spare.node), "taken": taken});
        assert_eq!(on["data_spare"], expected, "{on}");
    };
    in_reserve(false);
    bench.ok(["extend", "--data", "+1G"]);
    assert_eq!(totals(bench).0, data + 1024);
    in_reserve(true);
    bench.fails(8, ["extend", "--data", "+3G"]);
    bench.ok(["destroy", "--yes"]);
    for node in [&disk.node, &spare.node] {
        assert_eq!(sh(&format!("wipefs {}", node.display())), "");
    }
}

#[test]
fn what_is_deleted_in_a_container_is_given_back_to_the_host() {
    let (bench, at) = pool("512M", "8M");
    bench.ok(["container", "create", "small", "--name", "other"]);
    bench.ok(["container", "activate", "other"]);
    let file = at.join("ballast");
    sh(&format!("dd if=/dev/urandom of={} bs=1M count=64 conv=fsync status=none", file.display()));
    let taken = |bench: &Bench| {
        let status = bench.status();
        (status["kernel"]["data"]["used"].as_u64(), status["catalog"]["data_loop_file"]["allocated"].as_u64())
    };
    let before = taken(&bench);
    assert_eq!(bench.status()["kernel"]["discard"], "passdown");
    sh(&format!("rm {}; sync", file.display()));
    let said = bench.run(["trim"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("1 container trimmed") && said.err.contains("other"), "{said:?}");
    let after = taken(&bench);
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        let (before, after) = (before.expect("a number"), after.expect("a number"));
        assert!(before - after > 48 * MIB, "{after} of {before}");
    }
}

//! Containers: writable copies of images that nobody else can change, and that leave nothing when they go.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;

use crate::support::{Bench, Said, assert_pool_and_catalog_agree, importing, ok, run, wait_until};
use crate::{docs, tree};

fn mount(bench: &Bench, name: &str) -> PathBuf {
    PathBuf::from(bench.ok(["container", "mount", name]).trim_end())
}

fn create(bench: &Bench, names: &[&str]) {
    for name in names {
        assert_eq!(bench.ok(["container", "create", "image", "--name", name]), format!("{name}\n"));
    }
}

fn names(bench: &Bench) -> Vec<String> {
    bench.list("container").iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// Two of xfs at once have the same uuid, which the kernel refuses unless told otherwise.
#[test]
fn what_one_container_writes_no_other_and_no_image_sees() {
    for fs in ["ext4", "xfs"] {
        let bench = Bench::with_file_system(fs).and_image("image");
        create(&bench, &["one", "two"]);
        let (one, two) = (mount(&bench, "one"), mount(&bench, "two"));
        fs::write(one.join("file"), "of one").unwrap();
        fs::write(one.join("new"), "of one").unwrap();
        assert_eq!(read(two.join("file")), "of the image");
        fs::remove_file(two.join("file")).unwrap();
        assert_eq!((read(one.join("file")).as_str(), two.join("new").exists()), ("of one", false));
        bench.look_into("image", |image| {
            assert_eq!(
                (read(image.join("file")).as_str(), image.join("new").exists()),
                ("of the image", false)
            );
        });
        for name in ["one", "two"] {
            bench.ok(["container", "unmount", name]);
        }
        assert_pool_and_catalog_agree(&bench);
    }
}

#[test]
fn what_was_written_is_there_after_everything_was_taken_down() {
    let bench = Bench::with_image("image");
    create(&bench, &["one"]);
    let at = mount(&bench, "one");
    tree::make(&at);
    let before = tree::listing(&at);
    bench.ok(["container", "unmount", "one"]);
    assert_eq!(bench.devices().len(), 1, "unmounted, and its node is still there");
    assert!(tree::listing(&mount(&bench, "one")) == before);
    let said = bench.fails(6, ["deactivate"]);
    assert!(said.contains(at.to_str().unwrap()), "{said}");
    bench.ok(["container", "unmount", "one"]);
    bench.ok(["deactivate"]);
    assert!(bench.devices().is_empty());
    // udev's probes may hold a loop device for a moment.
    wait_until("every loop device to go", || bench.attached().is_empty());
    for arguments in
        [["container", "mount", "one"], ["container", "create", "image"], ["image", "remove", "image"]]
    {
        bench.fails(3, arguments);
    }
    bench.ok(["activate"]);
    assert!(tree::listing(&mount(&bench, "one")) == before);
    bench.ok(["container", "unmount", "one"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_larger_container_has_the_room_it_was_promised() {
    for fs in ["ext4", "xfs"] {
        let bench = Bench::with_file_system(fs).and_image("image");
        let room = |name: &str| {
            let at = mount(&bench, name);
            let room = nix::sys::statvfs::statvfs(&at).unwrap();
            assert_eq!(read(at.join("file")), "of the image");
            bench.ok(["container", "unmount", name]);
            room.blocks() * room.fragment_size()
        };
        create(&bench, &["plain"]);
        bench.ok(["container", "create", "image", "--name", "large", "--size", "1G"]);
        bench.ok(["container", "create", "image", "--name", "same", "--size", "512M"]);
        assert_eq!(room("same"), room("plain"));
        assert!(room("large") >= room("plain") + (450 << 20), "{fs}: {}", room("large"));
        let sizes: Vec<_> = bench.list("container").iter().map(|one| one["device_bytes"].clone()).collect();
        assert_eq!(sizes, [1_u64 << 30, 512 << 20, 512 << 20].map(Value::from));
        let said = bench.fails(2, ["container", "create", "image", "--name", "small", "--size", "100M"]);
        assert!(said.contains("512 MiB"), "{said}");
        for size in ["", "0", "-1", "x", "5X", "1e3G", "99999999999T"] {
            bench.fails(2, ["container", "create", "image", "--name", "bad", &format!("--size={size}")]);
        }
        assert_pool_and_catalog_agree(&bench);
    }
}

#[test]
fn a_name_that_no_container_can_have_is_refused_with_the_rule() {
    let bench = Bench::with_image("image");
    let long = "x".repeat(65);
    let cases = [
        ("a/b", "'/'"),
        ("../up", "'/'"),
        ("-x", "begin"),
        ("", "begin"),
        (".hidden", "begin"),
        ("a b", "' '"),
        ("naïve", "'ï'"),
        ("new\nline", "'\\n'"),
        (&long, "65 characters, 64"),
        ("pool", "pools' own"),
        ("base", "pools' own"),
        ("image-1", "pools' own"),
        ("web-pool", "pools' own"),
    ];
    for (name, rule) in cases {
        let said = bench.fails(2, ["container", "create", "image", &format!("--name={name}")]);
        assert!(said.contains("can't be the name of a container") && said.contains(rule), "{said}");
    }
    for verb in ["mount", "unmount", "remove", "activate", "deactivate"] {
        bench.fails(2, ["container", verb, "../up"]);
    }
    // The longest name works all the way.
    let longest = "x".repeat(64);
    create(&bench, &[&longest]);
    assert!(mount(&bench, &longest).join("file").exists());
    bench.ok(["container", "unmount", &longest]);
    assert_eq!(names(&bench), [longest]);
}

#[test]
fn a_name_is_one_containers_only() {
    let bench = Bench::with_image("image");
    create(&bench, &["one"]);
    let said = bench.fails(7, ["container", "create", "image", "--name", "one"]);
    assert!(said.contains("'one' already"), "{said}");
    let made_up: BTreeSet<String> = (0..3).map(|_| bench.ok(["container", "create", "image"])).collect();
    assert_eq!(made_up.len(), 3);
    assert!(
        made_up.iter().all(|name| name.starts_with("image") || name.starts_with("cimage")),
        "{made_up:?}"
    );
    assert_eq!(names(&bench).len(), 4);
    for verb in ["mount", "unmount", "remove", "activate", "deactivate"] {
        let said = bench.fails(4, ["container", verb, "nobody"]);
        assert!(said.contains("no container 'nobody'"), "{said}");
    }
    assert_pool_and_catalog_agree(&bench);
}

/// Who is told that it failed has nothing to take away, and may try again.
#[test]
fn a_container_is_put_to_use_as_it_is_made_and_is_not_there_if_that_fails() {
    let bench = Bench::with_image("image");
    let make = ["container", "create", "image", "--name"];
    let at = bench.ok([&make[..], &["one", "--mount"]].concat());
    assert_eq!(PathBuf::from(at.trim_end()), mount(&bench, "one"));
    assert!(Path::new(at.trim_end()).join("file").exists());
    let there = bench.beside("there");
    let mount_there = format!("--mount={}", there.display());
    let said = bench.fails(1, [&make[..], &["two", &mount_there]].concat());
    assert!(said.contains(there.to_str().unwrap()), "{said}");
    fs::write(&there, "no directory").unwrap();
    bench.fails(1, [&make[..], &["two", &mount_there]].concat());
    fs::remove_file(&there).unwrap();
    bench.fails(2, [&make[..], &["two", "--mount", "--activate"]].concat());
    assert_eq!(names(&bench), ["one"]);
    assert_eq!(bench.devices().len(), 2, "a container that could not be mounted left its node");
    fs::create_dir(&there).unwrap();
    let two = bench.ok([&make[..], &["two", &mount_there, "--json"]].concat());
    let two: Value = serde_json::from_str(&two).unwrap();
    assert_eq!(two["mounted_at"], serde_json::json!([there]));
    assert_eq!(bench.list("container")[1], two, "what create tells differs from what list tells");
    let node = format!("/dev/mapper/{}-three", bench.name);
    assert_eq!(bench.ok([&make[..], &["three", "--activate"]].concat()), format!("{node}\n"));
    assert!(Path::new(&node).exists());
    assert_eq!(bench.list("container")[1]["kept_active"], true);
    for name in ["one", "two"] {
        bench.ok(["container", "unmount", name]);
    }
    bench.ok(["container", "deactivate", "three"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_container_is_mounted_where_it_was_asked_for_and_nowhere_else() {
    let bench = Bench::with_image("image");
    create(&bench, &["one"]);
    let (there, other) = (bench.beside("there"), bench.beside("other"));
    let said = bench.fails(1, ["container", "mount", "one", there.to_str().unwrap()]);
    assert!(said.contains("there"), "{said}");
    assert_eq!(bench.devices().len(), 1, "a mount that failed left the node");
    fs::write(&other, "a file").unwrap();
    bench.fails(1, ["container", "mount", "one", other.to_str().unwrap()]);
    assert_eq!(bench.devices().len(), 1, "a mount that failed left the node");
    fs::remove_file(&other).unwrap();
    for directory in [&there, &other] {
        fs::create_dir(directory).unwrap();
    }
    let mount_at = |directory: &Path| bench.ok(["container", "mount", "one", directory.to_str().unwrap()]);
    assert_eq!(mount_at(&there), format!("{}\n", there.display()));
    // Again, and with no place in particular: it stays where it is.
    assert_eq!(mount_at(&there), format!("{}\n", there.display()));
    assert_eq!(mount(&bench, "one"), there);
    assert_eq!(mount_at(&other), format!("{}\n", other.display()));
    assert_eq!(bench.list("container")[0]["mounted_at"], serde_json::json!([there, other]));
    let said = bench.fails(6, ["container", "remove", "one"]);
    assert!(said.contains(there.to_str().unwrap()) && said.contains(other.to_str().unwrap()), "{said}");
    bench.fails(6, ["container", "deactivate", "one"]);
    assert!(there.join("file").exists());
    bench.ok(["container", "unmount", "one"]);
    assert!(!there.join("file").exists() && !other.join("file").exists());
    let said = bench.fails(1, ["container", "unmount", "one"]);
    assert!(said.contains("'one' is not mounted"), "{said}");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_mount_that_is_in_use_stays_as_it_is() {
    let bench = Bench::with_image("image");
    create(&bench, &["one"]);
    let at = mount(&bench, "one");
    let user = File::open(at.join("file")).unwrap();
    let said = bench.fails(6, ["container", "unmount", "one"]);
    let whose = format!("process {} ", std::process::id());
    assert!(said.contains(&whose) && said.contains("has a file in it open"), "{said}");
    assert!(at.join("file").exists());
    drop(user);
    bench.ok(["container", "unmount", "one"]);
    assert!(!at.exists(), "the pool's own mount point stays behind");
}

/// An image from anywhere may have a node of the host's disk in it.
#[test]
fn device_nodes_in_a_container_dont_open_the_hosts_devices() {
    let bench = Bench::with_pool();
    let image = bench.beside("image");
    fs::create_dir(&image).unwrap();
    tree::make(&image);
    bench.ok(importing("image", &image));
    create(&bench, &["one"]);
    let at = mount(&bench, "one");
    let error = File::open(at.join("null")).expect_err("a device was opened");
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    bench.ok(["container", "unmount", "one"]);
}

#[test]
fn a_container_in_use_is_gone_at_once_and_its_blocks_when_it_is_closed() {
    let bench = Bench::with_image("image");
    create(&bench, &["one"]);
    let node = bench.ok(["container", "activate", "one"]);
    let user = File::open(node.trim_end()).unwrap();
    assert_eq!(bench.ok(["container", "remove", "one"]), "one\n");
    assert_eq!(names(&bench), Vec::<String>::new());
    let waiting = || bench.status()["catalog"]["deferred_deleted_devices"].clone();
    assert_eq!(waiting(), 1);
    let queue = bench.status()["catalog"]["waiting_devices"][0].clone();
    assert_eq!(
        (&queue["to_be"], &queue["open_count"]),
        (&Value::from("deleted"), &Value::from(1)),
        "{queue}"
    );
    assert!(bench.run(["status"]).out.contains("Waiting Devices: "), "{queue}");
    let said = bench.fails(6, ["container", "create", "image", "--name", "one"]);
    assert!(said.contains("closes it"), "{said}");
    bench.fails(4, ["container", "mount", "one"]);
    bench.fails(6, ["deactivate"]);
    drop(user);
    create(&bench, &["one"]);
    assert_eq!(waiting(), 0);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_node_is_there_for_other_tools_as_long_as_it_was_asked_for() {
    let bench = Bench::with_image("image");
    create(&bench, &["one"]);
    let node = format!("/dev/mapper/{}-one", bench.name);
    assert_eq!(bench.ok(["container", "activate", "one"]), format!("{node}\n"));
    assert_eq!(bench.ok(["container", "activate", "one"]), format!("{node}\n"));
    assert_eq!(bench.list("container")[0]["device"], *node);
    assert!(ok(Command::new("blkid").args(["-p", &node])).contains("TYPE=\"ext4\""));
    ok(Command::new("fsck.ext4").args(["-fn", &node]));
    let user = File::open(&node).unwrap();
    let said = bench.fails(6, ["container", "deactivate", "one"]);
    assert!(said.contains(&node), "{said}");
    drop(user);
    assert_eq!(bench.ok(["container", "deactivate", "one"]), "");
    assert!(!Path::new(&node).exists());
    bench.ok(["container", "deactivate", "one"]);
    assert_pool_and_catalog_agree(&bench);
}

/// Every container has the uuid of the base's file system. Were udev told to treat them as any disk, the newest would
/// stand in for the disk that the machine boots from, if that was cloned from the same file system.
#[test]
fn no_container_takes_the_place_of_another_disk_of_its_uuid() {
    let bench = Bench::with_image("image");
    create(&bench, &["one", "two"]);
    let node = bench.ok(["container", "activate", "one"]);
    let uuid = ok(Command::new("blkid").args(["-p", "-s", "UUID", "-o", "value", node.trim_end()]));
    let disk = bench.beside("disk");
    File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    ok(Command::new("mkfs.ext4").args(["-q", "-U", uuid.trim_end()]).arg(&disk));
    let attached = ok(Command::new("losetup").args(["-f", "--show"]).arg(&disk));
    let link = PathBuf::from("/dev/disk/by-uuid").join(uuid.trim_end());
    let is_the_disk = || link.canonicalize().is_ok_and(|device| device == Path::new(attached.trim_end()));
    wait_until("the disk's link", is_the_disk);
    bench.ok(["container", "activate", "two"]);
    ok(Command::new("udevadm").arg("settle"));
    assert!(is_the_disk(), "{:?}", link.canonicalize());
    let image_devices =
        || bench.devices().into_iter().filter(|name| name.contains("-image-") || name.ends_with("-base"));
    assert_eq!(image_devices().count(), 0, "an image has a node");
    for name in ["one", "two"] {
        bench.ok(["container", "deactivate", name]);
    }
    ok(Command::new("losetup").args(["-d", attached.trim_end()]));
    assert_pool_and_catalog_agree(&bench);
}

/// Many wait for each other; on an emulated processor the last of them for longer than the usual bound.
const PATIENT: &[&str] = &["--lock-timeout", "10m"];

fn assert_all_succeed(children: Vec<Child>) {
    for child in children {
        let said = Said::from(child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }
}

#[test]
fn twenty_at_once_get_a_device_each_and_give_it_back() {
    let bench = Bench::with_image("image");
    let all: Vec<String> = (0..20).map(|number| format!("c{number:02}")).collect();
    let start = |name: &String| {
        // Those that grow are made in two steps, the second of which is slow.
        let size = if name.ends_with('5') { "600M" } else { "512M" };
        bench.start([&["container", "create", "image", "--name", name, "--size", size], PATIENT].concat())
    };
    assert_all_succeed(all.iter().map(start).collect());
    assert_eq!(names(&bench), all);
    assert_eq!(bench.listed("container").len(), 20, "two containers have one device");
    assert_pool_and_catalog_agree(&bench);
    let remove = |name: &String| bench.start([&["container", "remove", name], PATIENT].concat());
    assert_all_succeed(all.iter().map(remove).collect());
    assert_eq!(names(&bench), Vec::<String>::new());
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn one_of_twenty_gets_the_name_that_all_want() {
    let bench = Bench::with_image("image");
    let create = [&["container", "create", "image", "--name", "one"], PATIENT].concat();
    let all = (0..20).map(|_| bench.start(&create));
    let children: Vec<Child> = all.collect();
    let codes = children.into_iter().map(|child| child.wait_with_output().unwrap().status.code().unwrap());
    let mut codes: Vec<i32> = codes.collect();
    codes.sort_unstable();
    assert_eq!(codes, [&[0][..], &[7; 19]].concat());
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn nothing_new_is_made_in_a_pool_that_is_nearly_full() {
    let bench = Bench::new();
    bench.ok([
        "setup",
        "--loop-data-size",
        "64M",
        "--loop-metadata-size",
        "16M",
        "--base-size",
        "512M",
        "--fs",
        "ext4",
    ]);
    let bench = bench.and_image("image");
    create(&bench, &["one"]);
    let at = mount(&bench, "one");
    fs::write(at.join("large"), "x".repeat(58 << 20)).unwrap();
    ok(Command::new("sync").arg("-f").arg(&at));
    let said = bench.fails(8, ["container", "create", "image", "--name", "two"]);
    assert!(said.contains("data space") && said.contains("10%"), "{said}");
    let said = bench.fails(8, importing("second", &bench.beside("image")));
    assert!(said.contains("data space"), "{said}");
    assert_eq!(names(&bench), ["one"]);
    bench.ok(["container", "unmount", "one"]);
    // What makes room is never refused.
    bench.ok(["container", "remove", "one"]);
    create(&bench, &["two"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn programs_find_the_documented_keys_in_the_list_of_containers() {
    let bench = Bench::with_image("image");
    let made = bench.ok(["container", "create", "image", "--name", "one", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let listed = bench.list("container");
    assert_eq!(listed, std::slice::from_ref(&made), "what create tells differs from what list tells");
    assert_eq!(docs::keys(&made), docs::documented("containers[]."), "docs/json.md and the list differ");
    assert_eq!((&made["device"], &made["mapped_bytes"]), (&Value::Null, &Value::Null));
    let at = mount(&bench, "one");
    let one = &bench.list("container")[0];
    assert_eq!(docs::keys(one), docs::keys(&made));
    assert_eq!(one["mounted_at"], serde_json::json!([at]));
    assert!(one["mapped_bytes"].as_u64().unwrap() > 0);
    let said = bench.ok(["container", "list"]);
    let words: Vec<&str> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((words[0], words[1], words[2], words[3]), ("one", "image", "512", "MiB"), "{said}");
    assert!(said.contains(" ago ") && said.contains(at.to_str().unwrap()), "{said}");
    for alias in [&["ps"][..], &["container", "ls"], &["container", "ps"]] {
        assert!(bench.ok(alias).contains("one"));
    }
    let said = run(&mut bench.command(["ps", "--json"]));
    assert_eq!((serde_json::from_str::<Vec<Value>>(&said.out).unwrap().len(), said.err.as_str()), (1, ""));
    bench.ok(["container", "unmount", "one"]);
}

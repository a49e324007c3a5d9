//! Containers that are renamed and resized, and a base that grows: with all that is in them, and while they are in use.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Bench, assert_pool_and_catalog_agree, importing, ok};
use crate::tree;

fn with_container(fs: &str) -> Bench {
    let bench = Bench::with_file_system(fs).and_image("image");
    bench.ok(["container", "create", "image", "--name", "one"]);
    bench
}

fn mount(bench: &Bench, name: &str) -> PathBuf {
    PathBuf::from(bench.ok(["container", "mount", name]).trim_end())
}

/// How many bytes a file system has.
fn room(at: &Path) -> u64 {
    let room = nix::sys::statvfs::statvfs(at).unwrap();
    room.blocks() * room.fragment_size()
}

/// Checks a file system that is not mounted, by its own tool.
fn assert_sound(bench: &Bench, fs: &str, name: &str) {
    let node = bench.ok(["container", "activate", name]);
    let check = if fs == "ext4" { ["fsck.ext4", "-fn"] } else { ["xfs_repair", "-n"] };
    ok(Command::new(check[0]).arg(check[1]).arg(node.trim_end()));
    bench.ok(["container", "deactivate", name]);
}

/// Of each GiB that ext4 grows by, 16 MiB are inode tables. The kernel would zero them, at once or in the background.
#[test]
fn what_a_container_grows_by_takes_nothing_of_the_pool() {
    let bench = with_container("ext4");
    let used = || bench.status()["kernel"]["data"]["used"].as_u64().expect("a number") >> 20;
    bench.ok(["container", "create", "image", "--name", "large", "--size", "8G"]);
    let at = mount(&bench, "large");
    let before = used();
    assert_eq!(bench.ok(["container", "resize", "large", "16G"]), "16 GiB\n");
    ok(Command::new("sync").arg("--file-system").arg(&at));
    assert!(used() < before + 32, "{before} MiB, then {} MiB", used());
    let options = ok(Command::new("findmnt").args(["--noheadings", "--output=FS-OPTIONS"]).arg(&at));
    assert!(options.contains("noinit_itable"), "in the background it would zero them: {options}");
    bench.ok(["container", "unmount", "large"]);
    assert_sound(&bench, "ext4", "large");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_container_grows_with_all_that_is_in_it_whether_it_is_mounted_or_not() {
    for fs in ["ext4", "xfs"] {
        let bench = with_container(fs);
        let at = mount(&bench, "one");
        fs::create_dir(at.join("tree")).unwrap();
        tree::make(&at.join("tree"));
        let (before, small) = (tree::listing(&at.join("tree")), room(&at));
        let mut open = File::create(at.join("open")).unwrap();
        assert_eq!(bench.ok(["container", "resize", "one", "1G"]), "1 GiB\n");
        assert!(room(&at) >= small + (450 << 20), "{fs}: {}", room(&at));
        open.write_all(b"still").unwrap();
        drop(open);
        assert!(tree::listing(&at.join("tree")) == before, "{fs}: the content changed");
        bench.ok(["container", "unmount", "one"]);
        assert_eq!(bench.ok(["container", "resize", "one", "+512M"]), "1.50 GiB\n");
        assert_eq!(bench.devices().len(), 1, "{fs}: its node is still there");
        assert_sound(&bench, fs, "one");
        let at = mount(&bench, "one");
        assert!(room(&at) >= small + (940 << 20), "{fs}: {}", room(&at));
        assert!(tree::listing(&at.join("tree")) == before, "{fs}: the content changed");
        assert_eq!(fs::read_to_string(at.join("open")).unwrap(), "still");
        bench.ok(["container", "unmount", "one"]);
        for smaller in ["1G", "0", "512M"] {
            let said = bench.fails(2, ["container", "resize", "one", smaller]);
            assert!(said.contains("1.50 GiB") && said.contains("only made larger"), "{said}");
        }
        for wrong in ["", "+", "x", "+x", "2000000001"] {
            bench.fails(2, ["container", "resize", "one", wrong]);
        }
        assert_pool_and_catalog_agree(&bench);
    }
}

/// Only the one who has a file system mounted may write to it, and nobody can tell from outside whether a virtual machine has.
#[test]
fn a_device_that_is_open_grows_under_its_user_and_its_file_system_when_it_is_next_mounted() {
    let bench = with_container("ext4");
    let node = bench.ok(["container", "activate", "one"]);
    let user = File::open(node.trim_end()).unwrap();
    let said = bench.run(["container", "resize", "one", "1G"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("has the device open"), "{said:?}");
    assert_eq!(ok(Command::new("blockdev").args(["--getsize64", node.trim_end()])), "1073741824\n");
    drop(user);
    let at = mount(&bench, "one");
    assert!(room(&at) > 900 << 20, "{}", room(&at));
    bench.ok(["container", "unmount", "one"]);
    bench.ok(["container", "deactivate", "one"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_container_that_is_renamed_while_it_is_mounted_goes_on_under_its_new_name() {
    let bench = with_container("xfs");
    let old = mount(&bench, "one");
    let mut open = File::create(old.join("open")).unwrap();
    let said = bench.run(["container", "rename", "one", "two"]);
    assert_eq!((said.code, said.out.as_str()), (0, "two\n"), "{said:?}");
    open.write_all(b"before and after").unwrap();
    drop(open);
    let new = mount(&bench, "two");
    assert!(new.ends_with("two") && !old.exists() && said.err.contains(new.to_str().unwrap()), "{said:?}");
    assert_eq!(fs::read_to_string(new.join("open")).unwrap(), "before and after");
    let node = |name: &str| PathBuf::from(format!("/dev/mapper/{}-{name}", bench.name));
    assert!(node("two").exists() && node("one").symlink_metadata().is_err());
    bench.fails(4, ["container", "unmount", "one"]);
    // The old name is free at once.
    bench.ok(["container", "create", "image", "--name", "one"]);
    assert!(!mount(&bench, "one").join("open").exists());
    bench.fails(7, ["container", "rename", "one", "two"]);
    bench.fails(2, ["container", "rename", "one", "../up"]);
    for name in ["one", "two"] {
        bench.ok(["container", "unmount", name]);
    }
    bench.ok(["container", "rename", "two", "three"]);
    assert!(mount(&bench, "three").join("open").exists());
    bench.ok(["container", "unmount", "three"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_larger_base_is_for_images_that_come_after_it() {
    for fs in ["ext4", "xfs"] {
        let bench = with_container(fs);
        let said = bench.ok(["setup", "--no-enable", "--base-size", "1G"]);
        assert!(said.contains("1 GiB"), "{said}");
        assert_eq!(bench.status()["catalog"]["base_size"], 1 << 30);
        let said = bench.fails(2, ["setup", "--no-enable", "--base-size", "768M"]);
        assert!(said.contains("1 GiB"), "{said}");
        let tree = bench.beside("second");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), "of the second").unwrap();
        bench.ok(importing("second", &tree));
        bench.ok(["container", "create", "second", "--name", "two"]);
        let (one, two) = (mount(&bench, "one"), mount(&bench, "two"));
        assert!(room(&two) >= room(&one) + (450 << 20), "{fs}: {} and {}", room(&one), room(&two));
        assert_eq!(fs::read_to_string(two.join("file")).unwrap(), "of the second");
        for name in ["one", "two"] {
            bench.ok(["container", "unmount", name]);
            assert_sound(&bench, fs, name);
        }
        assert_pool_and_catalog_agree(&bench);
    }
}

/// A check after so many mounts, or days, would come in the middle of somebody's work, in every container at once.
#[test]
fn no_ext4_is_checked_for_its_age_and_each_has_a_journal() {
    let bench = with_container("ext4");
    let node = bench.ok(["container", "activate", "one"]);
    let told = ok(Command::new("dumpe2fs").args(["-h", node.trim_end()]));
    let value =
        |key: &str| told.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("none").trim().to_owned();
    assert_eq!(value("Maximum mount count:"), "-1");
    assert!(value("Check interval:").starts_with("0 "), "{}", value("Check interval:"));
    assert!(value("Filesystem features:").contains("has_journal"), "{told}");
    bench.ok(["container", "deactivate", "one"]);
}

//! Mounts: in no namespace that nobody asked for, gone when they are unmounted, and as they were asked for.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Bench, assert_pool_and_catalog_agree, ok, wait_until};

/// A process that lives in a mount namespace of its own.
struct Elsewhere(Child);

impl Elsewhere {
    /// With this propagation of mounts from ours.
    fn new(propagation: &str) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", propagation, "sleep", "600"]);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let process = Self(child);
        wait_until("the other namespace", || process.command() == "sleep");
        process
    }

    fn command(&self) -> String {
        let command = fs::read_to_string(format!("/proc/{}/comm", self.0.id()));
        command.unwrap_or_default().trim_end().to_owned()
    }

    /// Whether it has anything of this test's pool mounted, tmpfs under mount points included.
    fn has_mounts_of(&self, bench: &Bench) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        let node = format!("/dev/mapper/{}-", bench.name);
        table.lines().any(|line| line.contains(&node))
    }

    /// Whether nothing is left there, not even what kept the mount from it.
    fn is_clean_of(&self, at: &Path) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        !table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_container(fs: &str) -> Bench {
    let bench = Bench::with_file_system(fs).and_image("image");
    bench.ok(["container", "create", "image", "--name", "one"]);
    bench
}

fn mount(bench: &Bench, more: &[&str]) -> PathBuf {
    PathBuf::from(bench.ok([&["container", "mount", "one"], more].concat()).trim_end())
}

/// What the kernel says of the mount at a directory: its options.
fn options_at(at: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(1) == at.to_str()).expect("mounted");
    format!(",{},", line.split(' ').nth(3).unwrap())
}

#[test]
fn a_mount_comes_into_no_namespace_that_shares_with_ours_unless_it_was_asked_for() {
    let bench = with_container("ext4");
    let there = bench.beside("there");
    fs::create_dir(&there).unwrap();
    ok(Command::new("mount").args(["--bind"]).args([&there, &there]));
    ok(Command::new("mount").arg("--make-shared").arg(&there));
    let (shared, slave) = (Elsewhere::new("unchanged"), Elsewhere::new("slave"));
    let place = there.join("place");
    fs::create_dir(&place).unwrap();
    for (options, seen) in [(&[][..], false), (&["-o", "shared"][..], true)] {
        mount(&bench, &[&[place.to_str().unwrap()], options].concat());
        assert!(place.join("file").exists());
        for other in [&shared, &slave] {
            assert_eq!(other.has_mounts_of(&bench), seen, "{options:?}");
        }
        bench.ok(["container", "unmount", "one"]);
        for other in [&shared, &slave] {
            assert!(!other.has_mounts_of(&bench) && other.is_clean_of(&place), "{options:?}");
        }
        // Another test's LVM may be reading it: then the kernel takes it away a moment later.
        wait_until("its node to go", || bench.devices().len() == 1);
    }
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    drop((shared, slave));
    ok(Command::new("umount").arg(&there));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_namespace_that_was_copied_with_the_mount_in_it_loses_it_too() {
    for fs in ["ext4", "xfs"] {
        let bench = with_container(fs);
        let at = mount(&bench, &[]);
        let copy = Elsewhere::new("private");
        assert!(copy.has_mounts_of(&bench), "nothing was copied");
        bench.ok(["container", "unmount", "one"]);
        assert!(!copy.has_mounts_of(&bench) && copy.is_clean_of(&at));
        wait_until("its node to go", || bench.devices().len() == 1);
        drop(copy);
        assert_pool_and_catalog_agree(&bench);
    }
}

#[test]
fn who_keeps_a_mount_busy_in_another_namespace_is_named_and_the_node_goes_when_he_does() {
    let bench = with_container("ext4");
    let at = mount(&bench, &[]);
    let script = format!("cd {} && exec sleep 600", at.display());
    let mut busy = Command::new("unshare").args(["--mount", "sh", "-c", &script]).spawn().unwrap();
    let command = || fs::read_to_string(format!("/proc/{}/comm", busy.id())).unwrap_or_default();
    wait_until("the other namespace", || command() == "sleep\n");
    let said = bench.run(["container", "unmount", "one"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err.contains("still in use") && said.err.contains(&format!("process {} (sleep)", busy.id())),
        "{said:?}"
    );
    let waiting = bench.status()["catalog"]["waiting_devices"][0].clone();
    assert_eq!(waiting["to_be"], "removed", "{waiting}");
    busy.kill().unwrap();
    busy.wait().unwrap();
    wait_until("the node", || bench.devices().len() == 1);
    mount(&bench, &[]);
    bench.ok(["container", "unmount", "one"]);
    assert!(!at.exists(), "the mount point stays behind");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_mount_is_as_it_was_asked_for() {
    let bench = with_container("ext4");
    let at = mount(&bench, &[]);
    assert!(options_at(&at).contains(",nodev,"), "{}", options_at(&at));
    let said = bench.fails(6, ["container", "mount", "one", "--read-only"]);
    assert!(said.contains(at.to_str().unwrap()), "{said}");
    bench.ok(["container", "unmount", "one"]);
    let at = mount(&bench, &["-o", "dev,noexec", "-o", "noatime"]);
    let options = options_at(&at);
    assert!(
        options.contains(",noexec,") && options.contains(",noatime,") && !options.contains("nodev"),
        "{options}"
    );
    bench.ok(["container", "unmount", "one"]);
    for (option, code) in [("bind", 2), ("loop", 2), ("x-systemd.automount", 2), ("a,,b", 2), ("nonsense", 1)]
    {
        let said = bench.fails(code, ["container", "mount", "one", "-o", option]);
        assert!(said.contains(option.split(',').next().unwrap()) || said.contains("''"), "{said}");
        assert_eq!(bench.devices().len(), 1, "a mount that failed left the node");
    }
    assert_pool_and_catalog_agree(&bench);
}

/// A file system whose machine died has a journal to be gone through, also if it is only to be read.
#[test]
fn a_read_only_mount_shows_what_was_safe_before_the_crash_and_lets_nothing_be_written() {
    for fs in ["ext4", "xfs"] {
        let bench = with_container(fs);
        let at = mount(&bench, &[]);
        fs::write(at.join("new"), "safe").unwrap();
        File::open(at.join("new")).unwrap().sync_all().unwrap();
        ok(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&at));
        bench.ok(["container", "unmount", "one"]);
        let at = mount(&bench, &["--read-only"]);
        assert_eq!(fs::read_to_string(at.join("new")).unwrap(), "safe", "{fs}");
        let refused = fs::write(at.join("more"), "x").expect_err("written");
        assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem, "{fs}");
        let there = bench.beside("there");
        fs::create_dir(&there).unwrap();
        let said = bench.fails(6, ["container", "mount", "one", there.to_str().unwrap()]);
        assert!(said.contains("read-only"), "{said}");
        let said = bench.fails(6, ["container", "resize", "one", "+64M"]);
        assert!(said.contains("read-only"), "{said}");
        mount(&bench, &[there.to_str().unwrap(), "--read-only"]);
        bench.ok(["container", "unmount", "one"]);
        assert_pool_and_catalog_agree(&bench);
    }
}

#[test]
fn a_removal_by_force_names_who_still_has_it_and_frees_its_blocks_after_him() {
    let bench = with_container("ext4");
    let at = mount(&bench, &[]);
    bench.fails(6, ["container", "remove", "one"]);
    let user = File::open(at.join("file")).unwrap();
    let said = bench.run(["container", "remove", "--force", "one"]);
    assert_eq!((said.code, said.out.as_str()), (0, "one\n"), "{said:?}");
    assert!(said.err.contains(&format!("process {} ", std::process::id())), "{said:?}");
    assert!(!at.exists() && bench.list("container").is_empty());
    assert_eq!(bench.status()["catalog"]["deferred_deleted_devices"], 1);
    drop(user);
    bench.ok(["container", "create", "image", "--name", "one"]);
    assert_eq!(bench.status()["catalog"]["deferred_deleted_devices"], 0);
    // And without anybody in the way.
    mount(&bench, &[]);
    let said = bench.run(["container", "remove", "-f", "one"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert!(bench.list("container").is_empty());
    assert_pool_and_catalog_agree(&bench);
}

/// The number of a step of a command's, by its name; the command is carried out.
fn place_of(bench: &Bench, step: &str, arguments: &[&str]) -> usize {
    let names = bench.beside("steps");
    let ran = bench.command(arguments).env("THINPOOL_STEPS", &names).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let names = fs::read_to_string(names).unwrap();
    1 + names.lines().position(|name| name.starts_with(step)).unwrap_or_else(|| panic!("{step}: {names}"))
}

#[test]
fn what_a_killed_mount_left_does_not_keep_the_pool_from_being_destroyed() {
    let bench = with_container("ext4");
    bench.ok(["container", "create", "image", "--name", "two"]);
    let place = place_of(&bench, "after shield", &["container", "mount", "one"]);
    bench.ok(["container", "unmount", "one"]);
    let killed = bench
        .command(["container", "mount", "two"])
        .env("THINPOOL_KILL_AT", place.to_string())
        .output()
        .unwrap();
    assert!(!killed.status.success(), "{killed:?}");
    let at = bench.state().join("mnt/two");
    let left = |mounts: String| mounts.lines().any(|line| line.split(' ').nth(4) == at.to_str());
    assert!(left(fs::read_to_string("/proc/self/mountinfo").unwrap()), "the test is in vain");
    bench.ok(["destroy", "--yes"]);
    assert!(!left(fs::read_to_string("/proc/self/mountinfo").unwrap()) && !bench.state().exists());
}

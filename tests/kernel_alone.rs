//! What would disturb other tests, so these run one after the other in a machine of their own: commands are killed,
//! which leaves a semaphore when they waited for udev, and udevd is stopped.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

#[path = "kernel_alone/monitor.rs"]
mod monitor;
#[path = "kernel/states"]
#[allow(dead_code, reason = "another binary uses the rest")]
mod states {
    pub mod bed;
    pub mod fragile;
}
#[path = "kernel/support.rs"]
#[allow(dead_code, reason = "another binary uses the rest")]
mod support;
#[path = "kernel/tools.rs"]
#[allow(dead_code, reason = "another binary uses the rest")]
mod tools;
#[path = "kernel_alone/waiting.rs"]
mod waiting;
#[path = "kernel/watched.rs"]
mod watched;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thinpool::backing::block::{BlockDevices, Identity, SystemBlockDevices};

use support::{Bench, GUARD, SMALL, ok, run};
use tools::{spawn, wait_for};

/// The machine, for one test.
struct Alone(#[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Alone {
    fn new() -> Self {
        static MACHINE: Mutex<()> = Mutex::new(());
        Self(MACHINE.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Alone {
    /// A semaphore outlives whoever was killed while udev was to lower it; this is libdevmapper's own cure.
    fn drop(&mut self) {
        run(Command::new("dmsetup").args(["udevcomplete_all", "--yes"]));
    }
}

/// The semaphores that somebody waits for udev with.
fn cookies() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/sysvipc/sem").expect("read");
    let keys = table.lines().filter_map(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    keys.filter(|key| key >> 16 == 0x0d4d).map(|key| format!("{key:#x}")).collect()
}

/// udevd stopped by a signal or by systemd. It runs again afterwards, whatever the test did.
struct NoUdev {
    back: &'static [&'static str],
}

impl NoUdev {
    fn stopped() -> Self {
        let down = Self { back: &["start", UDEVD[0], UDEVD[1], UDEVD[2]] };
        ok(Command::new("systemctl").arg("stop").args(UDEVD));
        down
    }

    /// It has nothing to do at that moment: stopped in the midst of a look into a device, it would keep that open.
    fn hanging() -> Self {
        ok(Command::new("udevadm").arg("settle"));
        let down = Self { back: &["kill", "--signal=CONT", UDEVD[2]] };
        ok(Command::new("systemctl").args(["kill", "--signal=STOP", UDEVD[2]]));
        down
    }
}

/// A socket would start it again.
const UDEVD: [&str; 3] =
    ["systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udevd.service"];

impl Drop for NoUdev {
    fn drop(&mut self) {
        run(Command::new("systemctl").args(self.back));
        run(Command::new("udevadm").arg("settle"));
    }
}

/// A container's whole life, with what setup takes besides.
fn live(bench: &Bench, more: &[&str]) {
    let flags = [&SMALL[..], more].concat();
    assert_eq!(bench.promptly(flags).code, 0);
    let source = bench.directory.path().join("rootfs");
    std::fs::create_dir(&source).expect("made");
    std::fs::write(source.join("greeting"), "from the image").expect("written");
    let source = source.to_str().expect("UTF-8");
    for step in [
        &["image", "import", "small", source][..],
        &["container", "create", "small", "--name", "box"],
        &["container", "mount", "box"],
    ] {
        let said = bench.promptly([step, more].concat());
        assert_eq!(said.code, 0, "{step:?}: {said:?}");
    }
    assert!(bench.has_node("box") && bench.has_node("pool"));
    let at = bench.state().join("mnt/box");
    assert_eq!(std::fs::read_to_string(at.join("greeting")).expect("read"), "from the image");
    assert_eq!(bench.promptly([&["container", "unmount", "box"], more].concat()).code, 0);
    assert!(!bench.has_node("box"), "the node stayed");
    assert_eq!(bench.promptly([&["destroy", "--yes"], more].concat()).code, 0);
    assert!(!bench.has_node("pool"), "the node stayed");
    bench.assert_nothing_left();
    assert_eq!(cookies(), [""; 0]);
}

#[test]
fn without_udevd_nodes_come_and_go_all_the_same() {
    let (_alone, bench) = (Alone::new(), Bench::new());
    let down = NoUdev::stopped();
    assert_eq!(bench.status()["host"]["udev_sync"], false);
    live(&bench, &[]);
    drop(down);
    assert_eq!(bench.status()["host"]["udev_sync"], true);
}

/// A device-mapper device with its name for a uuid, which `dmsetup` makes, waiting for udev if there is one.
struct ByHand {
    name: &'static str,
    making: Child,
}

impl ByHand {
    fn new(name: &'static str) -> Self {
        let create = ["create", name, "--uuid", name, "--table", "0 2048 zero"];
        let making = Command::new("dmsetup").args(create).spawn().expect("started");
        let made = Self { name, making };
        wait_for("a device", || run(&mut made.info("tables_loaded")).out.trim() == "Live");
        made
    }

    fn info(&self, column: &str) -> Command {
        let mut command = Command::new("dmsetup");
        command.args(["info", "-c", "--noheadings", "-o", column, self.name]);
        command
    }

    /// The kernel's node, which is there before udev's.
    fn node(&self) -> PathBuf {
        Path::new("/dev").join(ok(&mut self.info("blkdevname")).trim())
    }

    fn made(&mut self) {
        assert!(self.making.wait().expect("waited").success());
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.making.kill();
        let _ = self.making.wait();
        run(Command::new("dmsetup").args(["remove", "--retry", self.name]));
    }
}

#[test]
fn without_udevd_a_device_is_known_by_its_device_mapper_uuid() {
    let _alone = Alone::new();
    let _down = NoUdev::stopped();
    let made = ByHand::new("test-by-hand");
    let device = SystemBlockDevices.look(&made.node()).expect("a device");
    let identity = Identity::DmUuid("test-by-hand".to_owned());
    assert_eq!(device.identity.as_ref(), Some(&identity));
    assert_eq!(SystemBlockDevices.find(&identity).expect("found"), Some(device));
    // Nobody would tell, so nothing is waited for.
    let nobody = Identity::DmUuid("test-nobody".to_owned());
    let hours = Duration::from_secs(100_000);
    assert_eq!(SystemBlockDevices.wait_for(&nobody, hours).expect("looked for"), None);
    assert_eq!(SystemBlockDevices.find(&Identity::PartUuid("0-01".to_owned())).expect("looked for"), None);
}

#[test]
fn a_device_that_udevd_hasnt_finished_with_is_not_there_yet() {
    let _alone = Alone::new();
    let down = NoUdev::hanging();
    let mut made = ByHand::new("test-unfinished");
    let identity = Identity::DmUuid("test-unfinished".to_owned());
    assert_eq!(SystemBlockDevices.wait_for(&identity, Duration::from_millis(200)).expect("waited"), None);
    let error = SystemBlockDevices.look(&made.node()).expect_err("unfinished").to_string();
    assert!(error.contains("udevd hang"), "{error}");
    drop(down);
    made.made();
    let found = SystemBlockDevices.wait_for(&identity, GUARD).expect("waited").expect("found");
    assert_eq!(found.node, made.node());
    assert_eq!(SystemBlockDevices.look(&made.node()).expect("a device"), found);
}

#[test]
fn a_udevd_that_hangs_costs_no_more_than_the_timeout() {
    let (_alone, bench) = (Alone::new(), Bench::new());
    let down = NoUdev::hanging();
    live(&bench, &["--udev-timeout", "1s"]);
    drop(down);
    // It works off what it missed: that must not bring anything back.
    assert!(!bench.has_node("pool") && !bench.has_node("box"));
}

#[test]
fn who_only_mounts_a_container_waits_for_no_rule_of_udevs() {
    let (_alone, bench) = (Alone::new(), Bench::with_image("one"));
    for name in ["box", "other"] {
        bench.ok(["container", "create", "--name", name, "one"]);
    }
    let down = NoUdev::hanging();
    let said = |verb, name| bench.run(["--udev-timeout", "1s", "container", verb, name]);
    assert!(said("activate", "other").err.contains("udev did not answer"), "what is waited for is told");
    let mounted = said("mount", "box");
    assert_eq!((mounted.code, mounted.err.as_str()), (0, ""), "{mounted:?}");
    assert!(bench.has_node("box"));
    drop(down);
    bench.ok(["container", "unmount", "box"]);
    assert!(!bench.has_node("box"));
}

impl Bench {
    /// Starts the command and kills it as soon as something has happened. Whether it was killed: it may be done.
    fn kill_when<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        happened: impl Fn() -> bool,
    ) -> bool {
        let mut child = self.start(arguments);
        let deadline = Instant::now() + GUARD;
        while !happened() && child.try_wait().expect("waits").is_none() {
            assert!(Instant::now() < deadline, "neither happened nor ended within {GUARD:?}");
        }
        child.kill().expect("kills");
        child.wait().expect("waits").signal().is_some()
    }
}

/// A moment in a setup or a destroy, seen from outside.

#[test]
fn a_mkfs_that_outlives_its_killed_setup_keeps_nobody_from_clearing_up() {
    let _alone = Alone::new();
    for next in [&SMALL[..], &["destroy", "--yes"]] {
        let bench = Bench::new();
        // A slow mkfs: it has the device open for longer than a removal waits for udev.
        let tool = bench.directory.path().join("mkfs.ext4");
        let begun = bench.directory.path().join("begun");
        let script =
            format!("#!/bin/bash\nexec 9<>\"${{@: -1}}\"\ntouch {}\nexec sleep 4\n", begun.display());
        std::fs::write(&tool, script).expect("written");
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).expect("made executable");
        let path = format!("{}:{}", bench.directory.path().display(), std::env::var("PATH").expect("a PATH"));
        let mut child = spawn(bench.command(SMALL).env("PATH", path));
        wait_for("mkfs", || begun.exists());
        child.kill().expect("kills");
        // Not its output: mkfs holds the other end of nothing, but need not end first.
        child.wait().expect("ends");

        assert_eq!(bench.health().1["state"], "half_set_up");
        bench.ok(next);
        if next == &SMALL[..] { bench.assert_one_pool() } else { bench.assert_nothing_left() }
    }
}

#[test]
fn a_cookie_that_nobody_waits_on_is_found_with_its_cure() {
    let _alone = Alone::new();
    let bench = Bench::new();
    let doctor = || bench.run(["doctor"]);
    assert!(doctor().out.contains("none is left behind"), "{:?}", doctor());
    let key = ok(Command::new("dmsetup").arg("udevcreatecookie")).trim().to_lowercase();
    // A command that has just made one is about to wait on it: it has to be some seconds old.
    wait_for("the cookie is found", || doctor().out.contains(&key));
    let said = doctor();
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("dmsetup udevcomplete_all"), "{said:?}");
    ok(Command::new("dmsetup").args(["udevcomplete_all", "--yes"]));
    assert!(doctor().out.contains("none is left behind"), "{:?}", doctor());
}

/// A blank disk for LVM: a loop device. Gone with the test, and what LVM has on it.
struct BlankDisk {
    _directory: tempfile::TempDir,
    node: String,
}

impl BlankDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("disk");
        std::fs::File::create(&file).and_then(|file| file.set_len(4 << 30)).expect("a file");
        let node = ok(Command::new("losetup").args(["--find", "--show"]).arg(&file)).trim().to_owned();
        ok(Command::new("udevadm").arg("settle"));
        Self { _directory: directory, node }
    }

    /// Whether LVM or anybody else has left something on it.
    fn is_blank(&self) -> bool {
        ok(Command::new("wipefs").arg(&self.node)).is_empty()
    }
}

impl Drop for BlankDisk {
    fn drop(&mut self) {
        for line in ["vgremove --yes --force $(pvs --noheadings -o vg_name $0)", "pvremove --yes $0"] {
            drop(Command::new("sh").args(["-c", line, &self.node]).output());
        }
        run(Command::new("losetup").args(["--detach", &self.node]));
        run(Command::new("sh")
            .args(["-c", "rm -f /etc/lvm/archive/direct-lvm* /etc/lvm/backup/direct-lvm*; udevadm settle"]));
    }
}

/// What there is of direct LVM at some moment.
fn lvm_has(what: &str) -> bool {
    let (report, row) = what.split_once(' ').expect("a report and a row");
    run(Command::new("sh").args(["-c", &format!("{report} --noheadings | grep -q -- '{row}'")])).code == 0
}

#[test]
fn a_setup_on_raw_disks_that_is_killed_anywhere_leaves_no_volume_group_behind() {
    let _alone = Alone::new();
    let disk = BlankDisk::new();
    let moments = ["pvs lvm2", "vgs direct-lvm", "lvs data", "lvs metadata-spare", "lvs -wi-ao"];
    for (moment, next) in moments.into_iter().zip(["setup", "destroy"].into_iter().cycle()) {
        let bench = Bench::new();
        let setup =
            ["setup", "--no-enable", "--fs", "ext4", "--base-size", "128M", "--device", disk.node.as_str()];
        bench.kill_when(setup, || lvm_has(moment));
        if next == "setup" {
            bench.ok(setup);
            assert_eq!(bench.health().0, 0, "{moment}");
        }
        let said = bench.promptly(["destroy", "--yes"]);
        assert!(said.code == 0 || said.code == 4, "{moment}: {said:?}");
        assert!(disk.is_blank(), "{next} after a kill at {moment}: {}", ok(&mut Command::new("lvs")));
        bench.assert_nothing_left();
    }
}

/// When something is slow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Before it does anything.
    Before,
    /// When all is done.
    After,
}

/// An `lvm` that takes its time over the command that matches this pattern of the shell's, and is killed with nobody's help
/// but ours. A PATH with it, and the file that its process id is in once it has begun to wait.
fn slow_lvm(bench: &Bench, command: &str, moment: Moment) -> (String, PathBuf) {
    let folder = bench.directory.path().join("slow");
    std::fs::create_dir_all(&folder).expect("made");
    let (begun, real) = (folder.join("begun"), ok(Command::new("sh").args(["-c", "command -v lvm"])));
    drop(std::fs::remove_file(&begun));
    let real = format!("{} \"$@\"", real.trim());
    let waits = format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 3", begun.display());
    let slow =
        if moment == Moment::Before { format!("{waits}; exec {real}") } else { format!("{real}; {waits}") };
    let script = format!("#!/bin/sh\ncase \"$*\" in {command}*) {slow};; *) exec {real};; esac\n");
    std::fs::write(folder.join("lvm"), script).expect("written");
    std::fs::set_permissions(folder.join("lvm"), PermissionsExt::from_mode(0o755)).expect("made executable");
    (format!("{}:{}", folder.display(), std::env::var("PATH").expect("a PATH")), begun)
}

#[test]
fn an_lvm_command_of_a_killed_setup_makes_nothing_that_nobody_knows_of() {
    let _alone = Alone::new();
    let disk = BlankDisk::new();
    for command in ["pvcreate", "vgcreate"] {
        let bench = Bench::new();
        let (path, begun) = slow_lvm(&bench, command, Moment::Before);
        let setup = ["setup", "--no-enable", "--fs", "ext4", "--base-size", "128M", "--device", &disk.node];
        let mut child = spawn(bench.command(setup).env("PATH", path));
        wait_for(command, || begun.exists());
        let straggler = std::fs::read_to_string(&begun).expect("read");
        child.kill().expect("kills");
        child.wait().expect("ends");
        assert_eq!(bench.promptly(["destroy", "--yes"]).code, 0);
        wait_for("its end", || !Path::new("/proc").join(straggler.trim()).exists());
        assert!(disk.is_blank(), "{command}: {}", ok(&mut Command::new("pvs")));
        bench.assert_nothing_left();
    }
}

/// The commands of a section of a page, in their order.
fn commands<'a>(page: &'a str, section: &str) -> Vec<&'a str> {
    let section = page.split("\n## ").find(|part| part.starts_with(section)).expect("the section");
    section.lines().filter_map(|line| line.strip_prefix("    # ")).collect()
}

#[test]
fn the_recipe_for_direct_lvm_works_as_it_is_written() {
    let _alone = Alone::new();
    let disk = BlankDisk::new();
    let lines = commands(include_str!("../docs/direct-lvm.md"), "By hand");
    assert!(lines.len() > 8, "{lines:?}");
    let mut said = String::new();
    for line in lines {
        let line = line.replace("/dev/sda", &disk.node);
        said += &ok(Command::new("sh").args(["-c", &line]));
    }
    for expected in ["Data Space Total: 4.0", "thinpool-pool: 0 ", "direct--lvm-metadata", "thinpool-pool "] {
        assert!(said.contains(expected), "{expected} is not in: {said}");
    }
    assert!(disk.is_blank());
}

//! Setup, activate, deactivate, destroy.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

use crate::support::{Bench, SMALL, ok, run, thinpool};
use crate::tools::{beginning, end, listing, overwrite, spawn, wait_for};

#[test]
fn a_pool_comes_and_goes_without_leaving_anything() {
    let bench = Bench::with_pool();
    assert_eq!(bench.devices(), [format!("{}-pool", bench.name)]);
    assert_eq!(bench.attached().len(), 2);
    bench.ok(["destroy", "--yes"]);
    bench.assert_nothing_left();
}

#[test]
fn a_bare_setup_makes_what_the_manual_promises_and_says_so_once() {
    let bench = Bench::new();
    let said = bench.run(["setup"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.err.matches("loopback").count(), 1, "{said:?}");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode(&bench.state()), 0o700);
    for (file, length) in [(bench.data(), 100_u64 << 30), (bench.metadata(), 2 << 30)] {
        let found = file.metadata().expect("there");
        assert_eq!((mode(&file), found.len()), (0o600, length));
        assert!(found.blocks() * 512 < 256 << 20, "not sparse: {} blocks", found.blocks());
    }
    let loops = ok(Command::new("losetup").args(["-ln", "-O", "AUTOCLEAR,DIO,BACK-FILE"]));
    let root = bench.root().display().to_string();
    for line in loops.lines().filter(|line| line.contains(&root)) {
        assert!(line.split_whitespace().take(2).eq(["1", "1"]), "{loops}");
    }
    // 100 GiB in sectors; blocks of 128 sectors.
    let table = ok(Command::new("dmsetup").args(["table", &bench.pool()]));
    assert!(table.starts_with("0 209715200 thin-pool 7:") && table.contains(" 128 "), "{table}");
    let (code, status) = bench.health();
    assert_eq!((code, &status["catalog"]["base_size"]), (0, &(10_u64 << 30).into()));
    assert_eq!(status["catalog"]["file_system"], "xfs");

    let at = bench.with_container();
    // Below it may be what keeps it from other namespaces; the last is on top.
    let mounted = ok(Command::new("findmnt").args(["-no", "FSTYPE"]).arg(&at));
    assert_eq!(mounted.lines().last(), Some("xfs"));
    bench.ok(["container", "unmount", "box"]);
    // Without what is said where nothing makes the pool active at boot, as in this machine.
    let again = bench.run(["setup", "--no-enable"]);
    assert!(again.code == 0 && again.out.contains("nothing to do"), "{again:?}");
    assert_eq!(again.err, "", "the warning came twice");
}

#[test]
fn a_setup_asked_for_something_else_changes_nothing_and_shows_the_difference() {
    let bench = Bench::with_pool();
    let table = ok(Command::new("dmsetup").args(["table", &bench.pool()]));
    let error = bench.fails(7, ["setup", "--block-size", "128K", "--base-size", "1G", "--fs", "xfs"]);
    for difference in ["block-size is 64 KiB, asked for 128 KiB", "fs is ext4, asked for xfs"] {
        assert!(error.contains(difference), "{error}");
    }
    let elsewhere = bench.directory.path().join("elsewhere");
    let error = bench.fails(7, ["setup", "--dir", elsewhere.to_str().expect("UTF-8")]);
    assert!(error.contains("dir is ") && !elsewhere.exists(), "{error}");
    assert_eq!(ok(Command::new("dmsetup").args(["table", &bench.pool()])), table);
    // A larger base is no difference that can't be had, but all else must be right.
    assert_eq!(bench.status()["catalog"]["base_size"], 512 << 20);
    let error = bench.fails(2, ["setup", "--base-size", "256M"]);
    assert!(error.contains("512 MiB") && error.contains("only made larger"), "{error}");
    bench.ok(SMALL);
}

#[test]
fn blocks_of_another_size_and_files_in_another_directory_are_what_was_asked_for() {
    let bench = Bench::new();
    let elsewhere = bench.directory.path().join("elsewhere");
    let mut setup = SMALL.to_vec();
    setup.extend(["--block-size", "192K", "--dir", elsewhere.to_str().expect("UTF-8")]);
    bench.ok(setup);
    let table = ok(Command::new("dmsetup").args(["table", &bench.pool()]));
    assert!(table.contains(" 384 "), "{table}");
    // The last, partial block is left out.
    assert_eq!(bench.status()["kernel"]["data"]["total"], (2_u64 << 30) / 196_608 * 196_608);
    assert!(elsewhere.join("data").exists() && !bench.data().exists());
    bench.ok(["destroy", "--yes"]);
    assert!(!elsewhere.exists());
    bench.assert_nothing_left();
}

#[test]
fn of_two_setups_at_once_one_makes_the_pool_and_the_other_waits_for_it() {
    let bench = Bench::new();
    let both = [bench.start(SMALL), bench.start(SMALL)].map(end);
    assert!(both.iter().all(|said| said.code == 0), "{both:?}");
    let already = both.iter().filter(|said| said.out.contains("nothing to do")).count();
    assert_eq!(already, 1, "{both:?}");
    bench.assert_one_pool();
}

#[test]
fn a_setup_waits_no_longer_than_it_was_told_and_names_who_is_at_work() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.state()).expect("made");
    let mut lock =
        Flock::lock(File::create(bench.state().join("life.lock")).expect("made"), FlockArg::LockExclusive)
            .expect("free");
    lock.write_all(b"process 4711 (thinpool setup)").expect("signed");
    let said = bench.promptly(SMALL.into_iter().chain(["--lock-timeout", "0s"]));
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.err.contains("process 4711 (thinpool setup)"), "{said:?}");

    // Whoever held it failed, and took the directory along.
    let waiting = bench.start(SMALL);
    // `7: -> FLOCK  ADVISORY  WRITE 4712 ...`: who waits behind whom.
    let waits = |line: &str| {
        line.contains("-> FLOCK") && line.split_whitespace().any(|word| word == waiting.id().to_string())
    };
    wait_for("the setup to wait for the lock", || {
        std::fs::read_to_string("/proc/locks").expect("there").lines().any(waits)
    });
    std::fs::remove_dir_all(bench.state()).expect("removed");
    drop(lock);
    let said = end(waiting);
    assert_eq!(said.code, 0, "{said:?}");
    bench.assert_one_pool();
}

#[test]
fn after_a_reboot_everything_is_as_it_was() {
    let bench = Bench::with_pool();
    let at = bench.with_container();
    std::fs::write(at.join("note"), "from before").expect("written");
    bench.ok(["container", "unmount", "box"]);
    bench.reboot();
    let (code, status) = bench.health();
    assert_eq!((code, status["state"].as_str()), (3, Some("inactive")));
    bench.fails(3, ["container", "mount", "box"]);

    bench.ok(["activate"]);
    bench.assert_one_pool();
    let at = bench.mount();
    assert_eq!(std::fs::read_to_string(at.join("note")).expect("read"), "from before");
    assert_eq!(std::fs::read_to_string(at.join("greeting")).expect("read"), "from the image");
    assert!(bench.ok(["activate"]).contains("nothing to do"));
}

#[test]
fn a_setup_after_a_reboot_brings_the_pool_back_and_makes_no_new_one() {
    let bench = Bench::with_pool();
    bench.import_small();
    bench.reboot();
    assert!(bench.ok(SMALL).contains("active again"));
    assert!(bench.ok(["image", "list"]).contains("small"));
}

#[test]
fn a_pool_put_to_rest_can_be_woken_at_once_again_and_again() {
    let bench = Bench::with_pool();
    for _ in 0..4 {
        bench.ok(["deactivate"]);
        bench.ok(["activate"]);
    }
    bench.assert_one_pool();
    bench.ok(["deactivate"]);
    assert!(bench.ok(["deactivate"]).contains("nothing to do"));
    assert_eq!(bench.devices(), [""; 0]);
}

/// Damages the metadata of an inactive pool: activation and setup are refused with these words, status names the
/// problem, and nobody writes to the file.
fn refused(bench: &Bench, damage: impl FnOnce(&Path), words: &[&str], problem: &str) {
    bench.ok(["deactivate"]);
    wait_for("every loop device to go", || bench.attached().is_empty());
    damage(&bench.metadata());
    let before = beginning(&bench.metadata());
    for command in [&["activate"][..], &SMALL] {
        let error = bench.fails(7, command);
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} are not in {error}");
    }
    assert!(beginning(&bench.metadata()) == before, "somebody wrote to the metadata");
    bench.assert_inactive_with(problem);
}

impl Bench {
    fn assert_inactive_with(&self, problem: &str) {
        let (code, status) = self.health();
        assert_eq!((code, status["state"].as_str()), (5, Some("inactive")), "{status}");
        assert_eq!(status["problems"][0]["key"], problem, "{status}");
        assert_eq!(self.devices(), [""; 0]);
    }
}

#[test]
fn zeroed_metadata_is_not_formatted_as_a_new_pool() {
    let bench = Bench::with_pool();
    let zero = |metadata: &Path| overwrite(metadata, 0, &[0; 4096]);
    refused(&bench, zero, &["all zero", "metadata"], "superblock_damaged");
    // Whoever wants it gone can still have that.
    bench.ok(["destroy", "--yes"]);
    bench.assert_nothing_left();
}

#[test]
fn a_damaged_superblock_is_not_given_to_the_kernel() {
    let flip = |metadata: &Path| overwrite(metadata, 100, &[beginning(metadata)[100] ^ 1]);
    refused(&Bench::with_pool(), flip, &["checksum"], "superblock_damaged");
}

#[test]
fn the_metadata_of_another_pool_is_refused_and_both_numbers_are_shown() {
    let (bench, other) = (Bench::with_pool(), Bench::with_pool());
    other.import_small();
    other.ok(["deactivate"]);
    let copy = |metadata: &Path| {
        std::fs::copy(other.metadata(), metadata).expect("copied");
    };
    let words = ["expects transaction id 1,", "the pool has 2"];
    refused(&bench, copy, &words, "transaction_mismatch");
}

#[test]
fn a_pool_with_a_truncated_or_missing_file_is_not_activated() {
    let bench = Bench::with_pool();
    bench.ok(["deactivate"]);
    File::options().write(true).open(bench.data()).and_then(|file| file.set_len(1 << 30)).expect("cut");
    let error = bench.fails(7, ["activate"]);
    assert!(error.contains("has 1 GiB, 2 GiB were expected"), "{error}");
    bench.assert_inactive_with("loop_file_short");

    std::fs::remove_file(bench.data()).expect("removed");
    let error = bench.fails(1, ["activate"]);
    assert!(error.contains(&bench.data().display().to_string()), "{error}");
    assert!(!bench.data().exists(), "a new data file under old metadata");
    bench.assert_inactive_with("loop_file_missing");
}

#[test]
fn a_file_that_somebody_else_has_attached_is_not_attached_twice() {
    let bench = Bench::with_pool();
    bench.ok(["deactivate"]);
    for file in [bench.data(), bench.metadata()] {
        let device = ok(Command::new("losetup").args(["--find", "--show"]).arg(&file));
        let error = bench.fails(6, ["activate"]);
        assert!(error.contains(&file.display().to_string()) && error.contains("losetup -d"), "{error}");
        wait_for("the other file to be let go", || bench.attached() == [file.display().to_string()]);
        ok(Command::new("losetup").args(["-d", device.trim()]));
        wait_for("it to be detached", || bench.attached().is_empty());
    }
    bench.ok(["activate"]);
}

#[test]
fn a_device_of_somebody_else_with_the_pools_name_is_refused_and_left_alone() {
    let bench = Bench::new();
    let foreign = || ok(Command::new("dmsetup").args(["create", &bench.pool(), "--table", "0 8 zero"]));
    foreign();
    let error = bench.fails(7, SMALL);
    assert!(error.contains("is not this pool's") && error.matches("is not").count() == 1, "{error}");
    assert_eq!(listing(&bench.root()), [""; 0], "the refused setup left something");
    ok(Command::new("dmsetup").args(["remove", "--retry", &bench.pool()]));

    bench.ok(SMALL);
    bench.ok(["deactivate"]);
    foreign();
    for command in [&["destroy", "--yes"][..], &["activate"], &["deactivate"], &SMALL] {
        bench.fails(7, command);
    }
    assert_eq!(bench.health().0, 5);
    assert!(ok(Command::new("dmsetup").args(["table", &bench.pool()])).contains("zero"));
    ok(Command::new("dmsetup").args(["remove", "--retry", &bench.pool()]));
    // Nothing of the pool itself was lost.
    bench.ok(["activate"]);
    bench.assert_one_pool();
}

#[test]
fn a_file_that_is_not_ours_is_never_overwritten() {
    for name in ["data", "metadata"] {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.state()).expect("made");
        let theirs = bench.state().join(name);
        std::fs::write(&theirs, "somebody's").expect("written");
        let error = bench.fails(7, SMALL);
        assert!(error.contains(&theirs.display().to_string()) && error.contains("--dir"), "{error}");
        assert_eq!(std::fs::read_to_string(&theirs).expect("read"), "somebody's");
        assert_eq!(bench.devices(), [""; 0]);
        assert_eq!(bench.health().0, 4);
        assert_eq!(listing(&bench.state()), [theirs.display().to_string()]);
    }
}

#[test]
fn a_pool_is_not_taken_from_under_a_mounted_container() {
    let bench = Bench::with_pool();
    let at = bench.with_container();
    for command in [&["deactivate"][..], &["destroy", "--yes"]] {
        let error = bench.fails(6, command);
        assert!(error.contains(&at.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(at.join("greeting")).expect("read"), "from the image");
    assert_eq!(bench.health().0, 0);
    bench.ok(["container", "unmount", "box"]);
    bench.ok(["destroy", "--yes"]);
    bench.assert_nothing_left();
}

#[test]
fn without_a_yes_nothing_is_destroyed() {
    let bench = Bench::with_pool();
    let error = bench.fails(7, ["destroy"]);
    assert!(error.contains("--yes"), "{error}");
    // script(1) gives it a terminal to ask on.
    let answer = |text: &str| {
        let command = bench.command(["destroy"]);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let line = words.map(|word| word.to_str().expect("UTF-8")).collect::<Vec<_>>().join(" ");
        let mut asked = Command::new("script");
        let mut child = spawn(asked.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("answered");
        end(child)
    };
    let said = answer("no\n");
    assert!(said.code == 7 && said.out.contains("0 images and 0 containers"), "{said:?}");
    bench.assert_one_pool();
    let said = answer("yes\n");
    assert_eq!(said.code, 0, "{said:?}");
    bench.assert_nothing_left();
    bench.fails(4, ["destroy"]);
}

#[test]
fn a_device_that_another_namespace_has_mounted_goes_although_that_one_lives() {
    let bench = Bench::with_pool();
    bench.import_small();
    bench.ok(["container", "create", "small", "--name", "box"]);
    // Not at a directory of the pool's: the kernel takes a mount away everywhere when its directory is removed.
    let at = bench.directory.path().join("at");
    std::fs::create_dir(&at).expect("made");
    bench.ok(["container", "mount", "box", at.to_str().expect("UTF-8")]);
    let mut namespace = Command::new("unshare");
    namespace.args(["--mount", "--propagation", "private", "sh", "-c", "echo in; read line"]);
    let mut other = spawn(namespace.stdin(Stdio::piped()));
    let mut first = [0; 3];
    std::io::Read::read_exact(other.stdout.as_mut().expect("a pipe"), &mut first)
        .expect("it has its own mounts");
    bench.ok(["container", "unmount", "box"]);
    wait_for("the node to go", || !bench.has_node("box"));
    bench.ok(["deactivate"]);
    drop(other.stdin.take());
    end(other);
    bench.ok(["destroy", "--yes"]);
    bench.assert_nothing_left();
}

#[test]
fn a_directory_that_is_a_mount_point_stays_and_the_pool_in_it_goes() {
    let bench = Bench::new();
    let host = bench.small_host("64M");
    let mut setup = SMALL.to_vec();
    setup.extend(["--dir", host.to_str().expect("UTF-8")]);
    bench.ok(setup);
    bench.ok(["destroy", "--yes"]);
    bench.assert_nothing_left();
    assert_eq!(listing(&host), [""; 0]);
}

#[test]
fn a_base_that_mkfs_refuses_is_explained_and_leaves_nothing() {
    let bench = Bench::new();
    let small = [
        "setup",
        "--loop-data-size",
        "1G",
        "--loop-metadata-size",
        "16M",
        "--fs",
        "xfs",
        "--base-size",
        "100M",
    ];
    let error = bench.fails(1, small);
    assert!(error.contains("larger than 300MB") && !error.contains("-b size"), "{error}");
    bench.assert_nothing_left();
}

#[test]
fn a_file_system_too_small_for_the_length_of_the_files_is_explained_and_leaves_nothing() {
    let bench = Bench::new();
    // ext4 ends at 16 TiB.
    let error = bench.fails(7, ["setup", "--loop-data-size", "17T"]);
    assert!(error.contains(&bench.data().display().to_string()) && error.contains("17 TiB"), "{error}");
    bench.assert_nothing_left();
}

#[test]
fn without_a_pool_every_command_says_how_to_make_one() {
    let bench = Bench::new();
    for command in [&["activate"][..], &["deactivate"], &["destroy", "--yes"], &["container", "list"]] {
        let error = bench.fails(4, command);
        assert!(error.contains("thinpool setup"), "{error}");
    }
    assert!(!bench.root().exists(), "asking made something");
    let _ = run(&mut bench.command(["status"]));
    assert!(!bench.root().exists(), "asking made something");
}

#[test]
fn a_pool_that_fails_keeps_no_other_from_being_activated() {
    let bench = Bench::with_pool();
    let second = format!("{}-second", bench.name);
    let of_second = |arguments: &[&str]| {
        let mut command = Command::new(thinpool());
        command.arg("--pool").arg(&second).arg("--root").arg(bench.root()).args(arguments);
        ok(&mut command)
    };
    of_second(&SMALL);
    bench.ok(["deactivate", "--all"]);
    assert_eq!(bench.devices(), [""; 0]);
    std::fs::OpenOptions::new()
        .write(true)
        .open(bench.state().join("metadata"))
        .and_then(|mut metadata| metadata.write_all(&[0; 4096]))
        .unwrap();
    let said = bench.run(["activate", "--all"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.contains(&format!("'{}'", bench.name)), "{said:?}");
    assert!(said.out.contains(&format!("'{second}' is active")), "{said:?}");
    assert_eq!(bench.devices(), [format!("{second}-pool")]);
    of_second(&["destroy", "--yes"]);
}

/// What the kernel test can see of a wait for udev is the semaphore that is made for it.
fn waits_for_udev(places: &[String]) -> usize {
    places.iter().filter(|place| *place == "before make a semaphore").count()
}

/// Those places of a command that come after it had the lock of changes for the last time.
fn under_lock(places: &[String]) -> &[String] {
    let locked =
        places.iter().rposition(|place| place.starts_with("after open") && place.ends_with("change.lock"));
    &places[locked.expect("locked")..]
}

#[test]
fn who_changes_a_pool_keeps_nobody_waiting_for_udev_or_for_what_a_file_system_has_to_write() {
    let bench = Bench::with_image("small");
    bench.ok(["container", "create", "small", "--name", "used"]);
    bench.ok(["container", "create", "small", "--name", "other"]);
    let at = bench.ok(["container", "mount", "used"]);
    std::fs::write(Path::new(at.trim_end()).join("new"), "content").expect("written");
    let (said, places) = bench.places(["container", "commit", "used", "image"]);
    assert_eq!(said.code, 0, "{said:?}");
    let find = |what: &str| places.iter().position(|place| place.starts_with(what)).expect(what);
    let (synced, frozen) = (find("after write back what is on"), find("before dm suspend"));
    let locked = places[..frozen].iter().rposition(|place| place.ends_with("change.lock")).expect("locked");
    assert!(synced < locked, "{places:#?}");
    let resumed = frozen
        + places[frozen..].iter().position(|place| place.starts_with("after dm resume")).expect("resumed");
    assert_eq!(waits_for_udev(&places[locked..resumed]), 0, "{places:#?}");

    bench.ok(["container", "unmount", "used"]);
    bench.ok(["container", "activate", "other"]);
    let (said, places) = bench.places(["deactivate"]);
    assert_eq!(said.code, 0, "{said:?}");
    // The pool's own device: after it there is no pool to be changed.
    assert_eq!((waits_for_udev(&places) > 1, waits_for_udev(under_lock(&places))), (true, 1), "{places:#?}");
}

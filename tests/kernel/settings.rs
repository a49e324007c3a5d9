//! Settings, and every way to get them wrong.

use std::path::PathBuf;

use crate::support::{Bench, SMALL};

/// A wrong setting is code 2 and these words, and nothing is made.
fn refused(bench: &Bench, arguments: &[&str], words: &[&str]) {
    let error = bench.fails(2, arguments);
    for word in words {
        assert!(error.contains(word), "{arguments:?}: {word:?} is not in: {error}");
    }
    assert_eq!(bench.devices(), [""; 0]);
    assert!(!bench.root().exists(), "{arguments:?} made something");
}

fn file(bench: &Bench, text: &str) -> PathBuf {
    let path = bench.directory.path().join("thinpool.toml");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn a_wrong_flag_makes_nothing_and_is_told_with_what_is_allowed() {
    let bench = Bench::new();
    let multiple = "a multiple of 64K from 64K to 1G";
    for (flag, bad, words) in [
        ("--block-size", "63K", &["--block-size", "'63K'", multiple][..]),
        ("--block-size", "96K", &["'96K'", multiple]),
        ("--block-size", "2G", &["'2G'", multiple]),
        ("--block-size", "0", &["'0'", multiple]),
        ("--base-size", "10X", &["--base-size", "'10X'", "512M"]),
        ("--base-size", "0", &["more than 0"]),
        ("--base-size", "-1G", &["'-1G'"]),
        ("--base-size", "4K", &["base-size can't be 4 KiB", "64 KiB"]),
        ("--base-size", "5000", &["5000 bytes", "a multiple of 4 KiB"]),
        ("--loop-data-size", "63K", &["loop-data-size can't be 63 KiB", "64 KiB"]),
        ("--loop-data-size", "99999999P", &["--loop-data-size"]),
        ("--loop-metadata-size", "1M", &["--loop-metadata-size", "2M", "15.875G"]),
        ("--loop-metadata-size", "16G", &["'16G'", "15.875G"]),
        ("--fs", "btrfs", &["--fs", "'btrfs'", "ext4, xfs or auto"]),
        ("--min-free-space", "10", &["a percentage with its sign"]),
        ("--min-free-space", "100%", &["from 0% (off) to 99%"]),
        ("--dir", "relative", &["--dir", "an absolute path"]),
        ("--dir", "/var/../etc", &["without '..'"]),
        ("--root", "relative", &["an absolute path"]),
        ("--pool", "a/b", &["'a/b'", "48 letters"]),
        ("--pool", "-a", &["'-a'", "the first a letter or a digit"]),
        ("--pool", "..", &["'..'"]),
        ("--pool", "", &["''"]),
        ("--pool", "a234567890123456789012345678901234567890123456789", &["1 to 48"]),
        ("--deferred-removal", "maybe", &["true, false or auto"]),
        ("--zero-new-blocks", "yes", &["true or false"]),
        ("--lock-timeout", "2h", &["from 0s to 1h"]),
        ("--udev-timeout", "forever", &["from 0s to 1h"]),
        ("--mount-options", "a b", &["--mount-options"]),
        ("--xfs-nospace-max-retries", "-1", &["a whole number"]),
        ("--log-level", "loud", &["error, warn, info, debug"]),
    ] {
        refused_setup(&bench, &[flag, bad], words);
    }
    refused_setup(&bench, &["--basesize", "1G"], &["--basesize", "--base-size"]);
    refused_setup(
        &bench,
        &["--deferred-removal", "false", "--deferred-deletion", "true"],
        &["Turn deferred-removal on"],
    );
    refused_setup(&bench, &["somewhere"], &["somewhere"]);
}

/// The flags come last, so that they are those that count; clap refuses one that is there twice, which is refused too.
fn refused_setup(bench: &Bench, flags: &[&str], words: &[&str]) {
    let doubled = matches!(flags[0], "--pool" | "--root");
    if doubled {
        let mut command = std::process::Command::new("thinpool");
        let said = crate::support::run(command.arg("setup").args(flags));
        assert_eq!(said.code, 2, "{flags:?}: {said:?}");
        assert!(words.iter().all(|word| said.err.contains(word)), "{flags:?}: {said:?}");
        return;
    }
    refused(bench, &[&["setup"], flags].concat(), words);
}

#[test]
fn a_wrong_option_of_dockers_is_named_with_the_nearest() {
    let bench = Bench::new();
    for (option, words) in [
        ("dm.basesizes=1G", &["dm.basesizes", "Did you mean dm.basesize?"][..]),
        ("dm.basesize", &["KEY=VALUE"]),
        ("dm.basesize=10X", &["--storage-opt dm.basesize", "'10X'"]),
        ("dm.blocksize=96K", &["--storage-opt dm.blocksize", "a multiple of 64K"]),
        ("dm.fs=btrfs", &["--storage-opt dm.fs", "ext4, xfs or auto"]),
        ("dm.min_free_space=10", &["a percentage with its sign"]),
        ("dm.thinpooldev=/dev/x", &["dm.thinpooldev", "with or without /dev/mapper/"]),
        ("overlay2.size=1G", &["overlay2.size", "Options are: dm."]),
    ] {
        refused(&bench, &["setup", "--storage-opt", option], words);
    }
}

#[test]
fn a_wrong_line_of_the_file_is_pointed_at() {
    let bench = Bench::new();
    for (text, words) in [
        ("\nbas-size = '1G'", &[":2:1:", "'bas-size'", "Did you mean base-size?"][..]),
        ("base-size = '10X'", &[":1:13:", "base-size can't be '10X'"]),
        ("block-size = '96K'", &[":1:14:", "a multiple of 64K"]),
        ("loop-metadata-size = '1M'", &[":1:22:", "2M"]),
        ("dm.basesize = '1G'", &["base-size"]),
        ("[pools.other]\nfs = 'ntfs'", &[":2:6:", "ext4, xfs or auto"]),
        ("base-size '1G'", &[":1:", "TOML"]),
        ("deferred-removal = false\ndeferred-deletion = true", &["Turn deferred-removal on"]),
    ] {
        let path = file(&bench, text);
        let path = path.to_str().expect("UTF-8");
        refused(&bench, &["setup", "--config", path], &[&[path], words].concat());
    }
    let missing = bench.directory.path().join("missing.toml");
    let missing = missing.to_str().expect("UTF-8");
    refused(&bench, &["setup", "--config", missing], &[missing]);
}

#[test]
fn a_name_that_could_leave_its_place_is_refused() {
    let bench = Bench::with_pool();
    bench.import_small();
    let long = "c".repeat(65);
    for name in ["a/b", "-a", "..", "", "a b", "pool", "base", "image-1", &long] {
        let flag = format!("--name={name}");
        let error = bench.fails(2, ["container", "create", "small", &flag]);
        assert!(error.contains(&format!("'{name}' can't be the name of a container")), "{error}");
    }
    bench.fails(2, ["container", "create", "small", "--size", "10X"]);
    bench.fails(2, ["container", "create", "small", "--size", "1M"]);
    bench.fails(4, ["container", "create", "nothing"]);
    bench.fails(4, ["container", "mount", "nothing"]);
    assert!(bench.ok(["container", "list", "--json"]).trim() == "[]");
    assert_eq!(bench.health().0, 0);
}

#[test]
fn config_show_tells_every_value_and_where_it_came_from() {
    let bench = Bench::new();
    let text = format!("base-size = '2G'\nfs = 'ext4'\n\n[pools.{}]\nblock-size = '128K'", bench.name);
    let path = file(&bench, &text);
    let path = path.to_str().expect("UTF-8");
    let show = [
        "config",
        "show",
        "--config",
        path,
        "--storage-opt",
        "dm.fs=xfs",
        "--storage-opt",
        "DM.MountOpt=noatime",
        "--base-size",
        "3G",
    ];
    let shown = bench.ok(show);
    let row = |name: &str| -> Vec<&str> {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {shown}")).split_whitespace().skip(1).collect()
    };
    assert_eq!(row("base-size"), ["3G", "flag", "--base-size"]);
    assert_eq!(row("fs"), ["xfs", "storage-opt", "dm.fs"]);
    assert_eq!(row("mount-options"), ["noatime", "storage-opt", "dm.mountopt"]);
    assert_eq!(row("block-size"), ["128K", &format!("{path}:5")]);
    assert_eq!(row("loop-data-size"), ["100G", "default"]);
    assert_eq!(row("dir"), [&bench.state().display().to_string(), "default"]);
    let json: serde_json::Value =
        serde_json::from_str(&bench.ok(["config", "show", "--json"])).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(shown.lines().count() - 1));
    assert!(!bench.root().exists(), "showing made something");
}

#[test]
fn the_file_the_options_and_the_flags_reach_the_pool_that_is_made() {
    let bench = Bench::new();
    let path = file(&bench, "loop-metadata-size = '16M'\nbase-size = '768M'\nmin-free-space = '5%'\n");
    let path = path.to_str().expect("UTF-8");
    let asked =
        ["--storage-opt", "dm.fs=ext4", "--storage-opt", "dm.basesize=512M", "--loop-data-size", "1G"];
    bench.ok([&["setup", "--config", path][..], &asked].concat());
    let (code, status) = bench.health();
    let catalog = &status["catalog"];
    assert_eq!((code, &catalog["minimum_free_percent"]), (0, &5.into()));
    assert_eq!(catalog["base_size"], 512_u64 << 20);
    assert_eq!(catalog["metadata_loop_file"]["size"], 16_u64 << 20);
    assert_eq!(catalog["data_loop_file"]["size"], 1_u64 << 30);
    assert_eq!(catalog["file_system"], "ext4");
    // A default contradicts nothing; the file alone does.
    bench.ok(["setup"]);
    let path = file(&bench, "fs = 'xfs'\nmin-free-space = '5%'\n");
    let path = path.to_str().expect("UTF-8");
    let error = bench.fails(7, ["setup", "--config", path]);
    assert!(error.contains("fs is ext4, asked for xfs"), "{error}");
    assert!(!error.contains("min-free-space"), "{error}");
    bench.fails(7, SMALL);
}

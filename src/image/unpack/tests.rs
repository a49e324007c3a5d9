use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use tar::EntryType;
use tempfile::TempDir;

use super::super::testing::Tar;
use super::*;

/// A root to unpack into, beside something precious.
struct Scene {
    temp: TempDir,
}

impl Scene {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/precious"), "precious").unwrap();
        Self { temp }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    fn unpack(&self, kind: LayerKind, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        unpack(archive, &self.root(), &UnpackOptions::new(kind))
    }

    fn layer(&self, archive: Tar) -> Unpacked {
        self.unpack(LayerKind::Image, &archive.end()).unwrap()
    }

    fn refused(&self, archive: Tar) -> Refusal {
        let result = self.unpack(LayerKind::Image, &archive.end());
        self.assert_nothing_outside();
        match result {
            Err(UnpackError::Refused { why, .. }) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn assert_nothing_outside(&self) {
        let outside = self.temp.path().join("outside");
        let mut names: Vec<_> =
            fs::read_dir(self.temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["outside", "root"]);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");
        assert_eq!(fs::metadata(outside.join("precious")).unwrap().nlink(), 1);
    }

    fn exists(&self, name: &str) -> bool {
        self.root().join(name).symlink_metadata().is_ok()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap()
    }
}

#[test]
fn names_outside_the_root_are_refused_for_every_kind_of_entry() {
    let kinds = [
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Char,
    ];
    for kind in kinds {
        for (name, why) in [
            ("../outside/new", Refusal::ParentInName),
            ("a/../../outside/new", Refusal::ParentInName),
            ("/tmp/new", Refusal::AbsoluteName),
            ("..", Refusal::ParentInName),
            ("", Refusal::EmptyName),
        ] {
            assert_eq!(
                Scene::new().refused(Tar::default().entry(kind, name, "x", b"")),
                why,
                "{kind:?} {name}"
            );
        }
    }
    for (key, value) in
        [("path", &b"../outside/new"[..]), ("path", b"/new"), ("path", b"a\0b"), ("path", b"a/..")]
    {
        Scene::new().refused(Tar::default().pax(&[(key, value)]).file("innocent", "x"));
    }
    assert_eq!(Scene::new().refused(Tar::default().file(".", "x")), Refusal::RootNotDirectory);
}

#[test]
fn a_link_planted_by_the_same_archive_leads_nowhere() {
    for target in ["../outside", "/", "/outside", "sub", "."] {
        let planted = || Tar::default().dir("sub").symlink("door", target);
        for archive in [
            planted().file("door/new", "x"),
            planted().dir("door/new"),
            planted().dir("door/precious/x"),
            planted().symlink("door/new", "x"),
            planted().entry(EntryType::Fifo, "door/new", "", b""),
            planted().file("file", "x").link("door/new", "file"),
            planted().link("stolen", "door/precious"),
            planted().file("door/.wh.precious", ""),
            planted().file("door/.wh..wh..opq", ""),
            planted().symlink("second", "door").file("second/new", "x"),
            planted().link("second", "door").file("second/new", "x"),
        ] {
            let why = Scene::new().refused(archive);
            assert!(matches!(why, Refusal::PlantedSymlink(_)), "{target}: {why}");
        }
    }
}

#[test]
fn a_second_name_for_a_lower_layers_link_is_no_door_either() {
    let scene = Scene::new();
    symlink(scene.temp.path().join("outside"), scene.root().join("lower")).unwrap();
    let why = scene.refused(Tar::default().link("door", "lower").file("door/new", "x"));
    assert!(matches!(why, Refusal::PlantedSymlink(_)), "{why}");
}

#[test]
fn a_link_in_the_place_of_an_entry_is_replaced_and_not_followed() {
    for target in ["../outside/precious", "../outside"] {
        let scene = Scene::new();
        let planted = |name: &str| Tar::default().symlink(name, target);
        scene.layer(planted("a").file("a", "mine"));
        scene.layer(planted("b").dir("b").file("b/c", "x"));
        scene.layer(planted("c").file("other", "x").link("c", "other"));
        assert_eq!(
            (scene.read("a"), scene.read("b/c"), scene.read("c")),
            ("mine".into(), "x".into(), "x".into())
        );
        scene.assert_nothing_outside();
    }
}

#[test]
fn the_links_of_lower_layers_are_followed_but_inside_the_root() {
    let scene = Scene::new();
    symlink(scene.temp.path().join("outside"), scene.root().join("absolute")).unwrap();
    symlink("../../outside", scene.root().join("climbs")).unwrap();
    scene.layer(Tar::default().symlink("run", "/var/run").dir("var/run"));
    scene
        .layer(Tar::default().file("run/pid", "1").file("absolute/new", "2").file("climbs/.wh.precious", ""));
    assert_eq!(scene.read("var/run/pid"), "1");
    assert!(scene.exists(scene.temp.path().join("outside/new").to_str().unwrap().trim_start_matches('/')));
    scene.assert_nothing_outside();
}

#[test]
fn hard_links_can_only_name_files_inside() {
    for target in ["../outside/precious", "/outside/precious", "a/../../outside/precious", ""] {
        let why = Scene::new().refused(Tar::default().link("stolen", target));
        assert!(matches!(why, Refusal::LinkOutside(_)), "{target}: {why}");
    }
    let why = Scene::new().refused(Tar::default().link("x", "missing"));
    assert!(matches!(why, Refusal::LinkMissing(_)));
    for target in ["d", "./"] {
        let why = Scene::new().refused(Tar::default().dir("d").link("x", target));
        assert!(matches!(why, Refusal::LinkToDirectory(_)));
    }
    let scene = Scene::new();
    scene.layer(Tar::default().file("a", "x").link("a", "a").link("b", "a").link("b", "a"));
    assert_eq!(fs::metadata(scene.root().join("a")).unwrap().nlink(), 2, "a link to itself lost the file");
}

#[test]
fn whiteouts_cant_remove_what_is_outside() {
    for name in
        [".wh.", ".wh..", ".wh...", "a/.wh...", "../.wh.outside", ".wh.x/y", "../outside/.wh..wh..opq"]
    {
        Scene::new().refused(Tar::default().file(name, ""));
    }
    let scene = Scene::new();
    scene.layer(Tar::default().symlink("door", "../outside"));
    scene.layer(Tar::default().file(".wh.door", ""));
    assert!(!scene.exists("door"));
    scene.assert_nothing_outside();
}

#[test]
fn whiteouts_remove_what_lower_layers_had_and_nothing_else() {
    let lower =
        || Tar::default().dir("d").dir("d/sub").file("d/sub/old", "1").file("d/old", "1").file("f", "1");
    let scene = Scene::new();
    scene.layer(lower());
    let done = scene.layer(Tar::default().file(".wh.d", "").file(".wh.f", "").file("none/.wh.x", ""));
    assert!(!scene.exists("d") && !scene.exists("f") && !scene.exists("none"));
    assert_eq!(done.whiteouts, 3);
    // The order in the archive doesn't matter: what the layer itself has stays.
    let new = |tar: Tar| tar.file("d/sub/new", "2");
    for archive in [new(Tar::default().file(".wh.d", "")), new(Tar::default()).file(".wh.d", "")] {
        let scene = Scene::new();
        scene.layer(lower());
        scene.layer(archive);
        assert!(scene.exists("d/sub/new") && !scene.exists("d/sub/old") && !scene.exists("d/old"));
    }
}

#[test]
fn an_opaque_directory_hides_what_is_below_wherever_its_mark_is() {
    let opaque = |tar: Tar| tar.file("d/.wh..wh..opq", "");
    let new = |tar: Tar| tar.dir("d/sub").file("d/sub/new", "2").file("d/kept", "2");
    let dir = || Tar::default().dir("d");
    for archive in [new(opaque(dir())), opaque(new(dir())), opaque(new(Tar::default()))] {
        let scene = Scene::new();
        scene.layer(
            dir().dir("d/sub").file("d/sub/old", "1").file("d/kept", "1").dir("d/gone").file("d/gone/x", "1"),
        );
        scene.layer(archive);
        assert_eq!((scene.read("d/kept"), scene.read("d/sub/new")), ("2".into(), "2".into()));
        assert!(!scene.exists("d/sub/old") && !scene.exists("d/gone") && !scene.exists("d/.wh..wh..opq"));
    }
}

#[test]
fn aufs_bookkeeping_is_left_out() {
    let scene = Scene::new();
    let done = scene
        .layer(Tar::default().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x").file(".wh..wh.aufs", ""));
    assert_eq!(done.skipped_entries, 3);
    assert_eq!(fs::read_dir(scene.root()).unwrap().count(), 0);
}

#[test]
fn a_plain_root_file_system_keeps_files_that_look_like_whiteouts() {
    let scene = Scene::new();
    scene.unpack(LayerKind::RootFs, &Tar::default().file("a", "1").file(".wh.a", "2").end()).unwrap();
    assert_eq!((scene.read("a"), scene.read(".wh.a")), ("1".into(), "2".into()));
}

#[test]
fn what_changes_its_kind_between_layers_is_replaced_whole() {
    let scene = Scene::new();
    scene.layer(
        Tar::default().dir("d").file("d/x", "1").file("f", "1").symlink("l", "d").dir("e").file("e/x", "1"),
    );
    scene.layer(Tar::default().file("d", "2").dir("f").file("f/x", "2").dir("l").symlink("e", "f"));
    assert_eq!((scene.read("d"), scene.read("f/x")), ("2".into(), "2".into()));
    assert!(fs::symlink_metadata(scene.root().join("l")).unwrap().is_dir());
    assert_eq!(fs::read_link(scene.root().join("e")).unwrap(), Path::new("f"));
    // A directory over a directory keeps what is in it.
    scene.layer(Tar::default().dir("f"));
    assert!(scene.exists("f/x"));
}

#[test]
fn a_cached_directory_that_was_replaced_is_not_written_to() {
    let scene = Scene::new();
    scene.layer(Tar::default().dir("d").file("d/x", "1").file("d", "now a file").dir("d").file("d/y", "2"));
    assert!(!scene.exists("d/x") && scene.read("d/y") == "2");
    let why =
        scene.refused(Tar::default().dir("d").file("d/z", "1").symlink("d", "../outside").file("d/new", "x"));
    assert!(matches!(why, Refusal::PlantedSymlink(_)));
}

#[test]
fn modes_times_and_parents_are_kept() {
    let scene = Scene::new();
    let archive = Tar::default()
        .dir("./")
        .pax(&[("mtime", b"-1.25")])
        .dir("d")
        .pax(&[("mtime", b"1600000000.123456789")])
        .file("d/file", "x")
        .entry(EntryType::Fifo, "d/fifo", "", b"")
        .file("deep/er/file", "x");
    scene.layer(archive);
    let stat = |name: &str| fs::symlink_metadata(scene.root().join(name)).unwrap();
    assert_eq!((stat("d").mtime(), stat("d").mtime_nsec()), (-2, 750_000_000));
    assert_eq!((stat("d/file").mtime(), stat("d/file").mtime_nsec()), (1_600_000_000, 123_456_789));
    assert_eq!(stat("").mtime(), 1_000_000_000, "the root's time");
    assert!(stat("d/fifo").file_type().is_fifo());
    assert_eq!(stat("d/fifo").permissions().mode() & 0o7777, 0o755);
    assert_eq!(stat("deep/er").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn setuid_capabilities_and_devices_survive_the_change_of_owner() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut archive = Tar::default()
        .pax(&[("SCHILY.xattr.security.capability", &capability), ("uid", b"3000000"), ("gid", b"12")])
        .file("ping", "x");
    let at = archive.0.len() - 1024;
    let mut header = tar::Header::from_byte_slice(&archive.0[at..at + 512]).clone();
    header.set_mode(0o4755);
    header.set_cksum();
    archive.0[at..at + 512].copy_from_slice(header.as_bytes());
    scene.layer(archive.entry(EntryType::Char, "null", "", b""));
    let stat = fs::metadata(scene.root().join("ping")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o4755, 3_000_000, 12));
    let kept = xattr::get(scene.root().join("ping"), "security.capability").unwrap();
    assert_eq!(kept.as_deref(), Some(&capability[..]));
    assert!(fs::metadata(scene.root().join("null")).unwrap().file_type().is_char_device());
}

#[test]
fn attributes_that_cant_be_kept_are_errors_and_not_lost() {
    for (name, value) in
        [("", &b"x"[..]), (".x", b"x"), ("user.", b"x"), ("noname", b"x"), ("user.a\0b", b"x")]
    {
        let key = format!("SCHILY.xattr.{name}");
        let why = Scene::new().refused(Tar::default().pax(&[(&key, value)]).file("f", "x"));
        assert_eq!(why, Refusal::BadXattrName, "{name:?}");
    }
    let scene = Scene::new();
    let archive = Tar::default().pax(&[("SCHILY.xattr.nonsense.x", b"x")]).file("f", "x").end();
    let told = scene.unpack(LayerKind::Image, &archive).expect_err("no such namespace").to_string();
    assert!(told.contains("'f'") && told.contains("nonsense.x"), "{told}");
    let done = scene.layer(Tar::default().pax(&[("SCHILY.xattr.security.selinux", b"x")]).file("f", "x"));
    assert_eq!(done.skipped_xattrs, 1);
    let why = scene.refused(Tar::default().pax(&[("uid", b"4294967295")]).file("f", "x"));
    assert_eq!(why, Refusal::BadOwner);
}

#[test]
fn a_name_that_is_too_long_is_named() {
    let long = "n".repeat(300);
    let archive = Tar::default().pax(&[("path", long.as_bytes())]).file("f", "x").end();
    let told = Scene::new().unpack(LayerKind::Image, &archive).expect_err("too long").to_string();
    assert!(told.contains("nnn…") && told.contains("255"), "{told}");
    let deep = "d/".repeat(40_000);
    let archive = Tar::default().pax(&[("path", deep.as_bytes())]).dir("f").end();
    assert!(Scene::new().unpack(LayerKind::Image, &archive).is_err());
}

#[test]
fn the_error_for_a_hostile_name_shows_it_without_its_control_characters() {
    let archive = Tar::default().pax(&[("path", b"../\x1b[2J")]).file("f", "x").end();
    let error = Scene::new().unpack(LayerKind::Image, &archive).expect_err("hostile").to_string();
    assert!(!error.contains('\x1b') && error.contains("[2J"), "{error}");
    assert!(std::ffi::OsStr::new(&error).as_bytes().iter().all(|byte| *byte >= b' '));
}

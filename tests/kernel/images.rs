//! Images: what goes in comes out, is stored once, and leaves nothing when it fails.

pub mod archives;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use self::archives::{Entry, OciLayout, docker_save, hostile};
use crate::support::{Bench, Said, assert_pool_and_catalog_agree, importing, ok, run, wait_until};
use crate::{docs, tree};

/// Made by mmdebstrap and umoci when the machine was built.
const DEBIAN: &str = "/usr/share/thinpool-test/debian.tar";
const APP: &str = "/usr/share/thinpool-test/app-oci";

/// Options that make GNU tar keep everything.
const KEEP: [&str; 3] = ["--format=posix", "--xattrs", "--xattrs-include=*"];

/// An import from a pipe.
fn import_from_pipe(bench: &Bench, name: &str, input: &[u8]) -> Said {
    let mut import = bench.start(["image", "import", name, "-"]);
    // A refusal closes the pipe while there is more to come.
    let _ = import.stdin.take().expect("a pipe").write_all(input);
    import.wait_with_output().expect("an end").into()
}

/// Imports an image, compares its content, and removes it, so that the next one can't share its layers.
fn assert_comes_in_as(bench: &Bench, theirs: &Path, what: &str, import: impl FnOnce() -> Said) {
    let said = import();
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{what}: {said:?}");
    bench.look_into("image", |ours| tree::assert_same(ours, theirs, what));
    bench.ok(["image", "remove", "image"]);
}

#[test]
fn a_root_file_system_keeps_everything_in_whatever_form_it_comes() {
    let bench = Bench::with_pool();
    let (root, archive, theirs) = (bench.beside("tree"), bench.beside("archive"), bench.beside("theirs"));
    fs::create_dir(&root).unwrap();
    tree::make(&root);
    for (form, packed) in
        [("plain", "--no-auto-compress"), ("gzip", "--gzip"), ("zstd", "--zstd"), ("xz", "--xz")]
    {
        tree::tar(&archive, &root, &[&KEEP[..], &[packed]].concat());
        if form == "plain" {
            tree::untar(&archive, &theirs);
        }
        assert_comes_in_as(&bench, &theirs, form, || bench.run(importing("image", &archive)));
    }
    let packed = fs::read(&archive).unwrap();
    assert_comes_in_as(&bench, &theirs, "xz from a pipe", || import_from_pipe(&bench, "image", &packed));
    assert_comes_in_as(&bench, &root, "directory", || bench.run(importing("image", &root)));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn an_image_is_to_us_what_it_is_to_umoci_in_whatever_form_it_comes() {
    let bench = Bench::with_pool();
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let theirs = layout.unpacked("latest", &bench.beside("theirs"));
    let saved = docker_save(&layout.layers, &bench.beside("saved"));
    let archive = |folder: &Path, options: &[&str]| {
        let archive = bench.beside("archive");
        tree::tar(&archive, folder, options);
        archive
    };
    let from = |source: &Path| bench.run(importing("image", source));
    assert_comes_in_as(&bench, &theirs, "OCI directory", || from(&layout.path));
    assert_comes_in_as(&bench, &theirs, "OCI tar", || from(&archive(&layout.path, &[])));
    assert_comes_in_as(&bench, &theirs, "OCI tar from a pipe", || {
        import_from_pipe(&bench, "image", &fs::read(archive(&layout.path, &[])).unwrap())
    });
    assert_comes_in_as(&bench, &theirs, "docker save", || from(&archive(&saved, &[])));
    assert_comes_in_as(&bench, &theirs, "docker save, gzip", || from(&archive(&saved, &["--gzip"])));
    assert_comes_in_as(&bench, &theirs, "docker save, zstd from a pipe", || {
        import_from_pipe(&bench, "image", &fs::read(archive(&saved, &["--zstd"])).unwrap())
    });
    assert_comes_in_as(&bench, &theirs, "docker save, unpacked", || from(&saved));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn xfs_keeps_everything_too() {
    let bench = Bench::with_file_system("xfs");
    let (root, archive, theirs) = (bench.beside("tree"), bench.beside("archive"), bench.beside("theirs"));
    fs::create_dir(&root).unwrap();
    tree::make(&root);
    tree::tar(&archive, &root, &KEEP);
    tree::untar(&archive, &theirs);
    assert_comes_in_as(&bench, &theirs, "tar", || bench.run(importing("image", &archive)));
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let theirs = layout.unpacked("latest", &bench.beside("theirs-of-oci"));
    assert_comes_in_as(&bench, &theirs, "OCI directory", || bench.run(importing("image", &layout.path)));
    assert_pool_and_catalog_agree(&bench);
}

/// A whole distribution, against tar and against umoci. Its layer is in both images, and is stored once.
#[test]
fn debian_comes_in_whole() {
    let bench = Bench::with_pool();
    let theirs = bench.beside("theirs");
    bench.ok(importing("debian", Path::new(DEBIAN)));
    tree::untar(Path::new(DEBIAN), &theirs);
    bench.look_into("debian", |ours| tree::assert_same(ours, &theirs, "debian.tar"));
    fs::remove_dir_all(&theirs).unwrap();
    let said = bench.ok(importing("app", Path::new(APP)));
    assert!(said.contains("4 layers, 1 of them there already"), "{said}");
    let app = OciLayout { path: PathBuf::from(APP), layers: Vec::new() };
    let theirs = app.unpacked("latest", &theirs);
    bench.look_into("app", |ours| tree::assert_same(ours, &theirs, "app-oci"));
    assert_pool_and_catalog_agree(&bench);
}

/// Blocks of data that the pool has in use.
fn used(bench: &Bench) -> u64 {
    bench.status()["kernel"]["data"]["used"].as_u64().expect("a number") / (64 << 10)
}

fn layers(bench: &Bench) -> u64 {
    bench.status()["catalog"]["devices"]["images"].as_u64().expect("a number")
}

#[test]
fn a_layer_of_two_images_is_stored_once_and_lives_as_long_as_either() {
    let bench = Bench::with_pool();
    let empty = used(&bench);
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    layout.add_image("other", &[&layout.layers[0]]);
    let import =
        |name: &str| bench.ok(["image", "import", "--reference", name, name, layout.path.to_str().unwrap()]);
    assert!(!import("latest").contains("already"));
    let one = used(&bench);
    let said = import("other");
    assert!(said.contains("1 layer, 1 of them there already"), "{said}");
    assert_eq!((layers(&bench), used(&bench)), (2, one));
    // By another way, the same layers.
    let said = bench.ok(importing("saved", &docker_save(&layout.layers, &bench.beside("saved"))));
    assert!(said.contains("2 layers, 2 of them there already"), "{said}");
    assert_pool_and_catalog_agree(&bench);

    bench.ok(["image", "remove", "latest"]);
    bench.ok(["image", "remove", "saved"]);
    assert_eq!(layers(&bench), 1);
    bench.look_into("other", |root| assert!(root.join("a/large").exists()));
    bench.ok(["image", "remove", "other"]);
    assert_eq!((layers(&bench), bench.list("image")), (0, vec![]));
    assert_pool_and_catalog_agree(&bench);
    assert!(used(&bench) <= empty + 2, "{} blocks of {} are not free again", used(&bench), one);
}

#[test]
fn two_imports_of_one_image_at_once_store_it_once() {
    let bench = Bench::with_pool();
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let imports: Vec<_> =
        ["one", "two", "three"].map(|name| bench.start(importing(name, &layout.path))).into_iter().collect();
    for import in imports {
        let said = Said::from(import.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!((layers(&bench), bench.list("image").len()), (2, 3));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn an_archive_cant_touch_what_is_outside_its_root() {
    let bench = Bench::with_pool();
    let outside = bench.beside("outside");
    fs::create_dir_all(outside.join("folder")).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    let before = tree::listing(&outside);
    for (what, refused, archive) in hostile(&outside) {
        let path = bench.beside("hostile");
        fs::write(&path, archive).unwrap();
        let said = bench.run(importing("hostile", &path));
        assert!(tree::listing(&outside) == before, "{what}: changed what is outside");
        assert_eq!(said.code, i32::from(refused), "{what}: {said:?}");
        assert_eq!(said.err.contains("is refused"), refused, "{what}: {said:?}");
        assert_eq!(bench.devices().len(), 1, "{what}: left a node");
        if !refused {
            bench.ok(["image", "remove", "hostile"]);
        }
        assert_eq!(layers(&bench), 0, "{what}: left a layer");
    }
    assert_pool_and_catalog_agree(&bench);
    bench.and_image("honest").look_into("honest", |root| assert!(root.join("file").exists()));
}

#[test]
fn layers_below_a_refused_one_dont_stay_without_an_image() {
    let bench = Bench::with_pool();
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let bad = bench.beside("bad");
    fs::write(&bad, archives::pack(&[Entry::file("../escaped", "x")])).unwrap();
    layout.add_image("bad", &[&layout.layers[0], &bad]);
    let said =
        bench.fails(1, ["image", "import", "--reference", "bad", "bad", layout.path.to_str().unwrap()]);
    assert!(said.contains("layer 2 of 2") && said.contains("../escaped"), "{said}");
    assert_eq!((layers(&bench), bench.devices().len()), (0, 1));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_broken_archive_is_told_for_what_it_is_and_leaves_nothing() {
    let bench = Bench::with_pool();
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let plain = fs::read(&layout.layers[0]).unwrap();
    let gzip = ok_bytes(Command::new("gzip").arg("-c").arg(&layout.layers[0]));
    let cases: [(&str, &[u8], &str); 6] = [
        ("cut off", &plain[..plain.len() / 2], "cut off"),
        ("without its end mark", &plain[..plain.len() - 10240], "end"),
        ("gzip cut off", &gzip[..gzip.len() / 2], "cut off"),
        ("a letter", b"Dear thinpool, this is not an archive.\n", "not a tar archive"),
        ("nothing", b"", "archive"),
        ("bzip2", b"BZh91AY&SY", "bzip2"),
    ];
    for (what, content, told) in cases {
        let path = bench.beside("broken");
        fs::write(&path, content).unwrap();
        for said in [bench.run(importing("broken", &path)), import_from_pipe(&bench, "broken", content)] {
            assert!(said.code == 1 && said.err.contains(told), "{what}: {said:?}");
        }
        assert_eq!(bench.devices().len(), 1, "{what}: left a node");
    }
    let said = bench.fails(1, importing("broken", &bench.beside("missing")));
    assert!(said.contains("missing") && said.contains("No such file"), "{said}");
    assert_eq!((layers(&bench), bench.list("image")), (0, vec![]));
    assert_pool_and_catalog_agree(&bench);
}

fn ok_bytes(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, .. } = command.output().unwrap();
    assert!(status.success(), "{command:?}");
    stdout
}

#[test]
fn an_image_that_was_damaged_on_its_way_is_refused() {
    let bench = Bench::with_pool();
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let saved = docker_save(&layout.layers, &bench.beside("saved"));
    let part = |number: usize| {
        let layer = Path::new(&layout.layers[number]);
        saved.join(format!("{}.tar", &ok(Command::new("sha256sum").arg(layer))[..64]))
    };
    // The last bytes of tar are padding: the archive is as readable as before.
    let lower = fs::read(&layout.layers[0]).unwrap();
    fs::write(part(0), [&lower[..lower.len() - 1], b"x"].concat()).unwrap();
    let said = bench.fails(1, importing("damaged", &saved));
    assert!(said.contains("damaged or changed"), "{said}");
    fs::remove_file(part(1)).unwrap();
    let said = bench.fails(1, importing("damaged", &saved));
    assert!(said.contains(".tar is missing"), "{said}");

    let blob = layout.blob_of_top_layer("latest");
    let content = fs::read(&blob).unwrap();
    fs::write(
        &blob,
        [&content[..content.len() / 2], &[!content[content.len() / 2]], &content[content.len() / 2 + 1..]]
            .concat(),
    )
    .unwrap();
    bench.fails(1, importing("damaged", &layout.path));
    fs::write(&blob, &content[..content.len() - 1]).unwrap();
    bench.fails(1, importing("damaged", &layout.path));
    fs::remove_file(&blob).unwrap();
    let said = bench.fails(1, importing("damaged", &layout.path));
    assert!(said.contains("missing"), "{said}");
    assert_eq!((layers(&bench), bench.devices().len()), (0, 1));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_read() {
    let bench = Bench::with_image("here");
    let mut import = bench.start(["image", "import", "here", "-"]);
    let pipe = import.stdin.take();
    let said = Said::from(import.wait_with_output().unwrap());
    drop(pipe);
    assert!(said.code == 7 && said.err.contains("'here' already"), "{said:?}");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_name_that_no_image_can_have_is_refused_with_the_rule() {
    let bench = Bench::with_pool();
    let long = "x".repeat(256);
    for (name, rule) in
        [("", "begin"), (".hidden", "begin"), ("a b", "' '"), ("naïve", "'ï'"), (&long, "255")]
    {
        let said = bench.fails(2, importing(name, Path::new("/nowhere")));
        assert!(said.contains("can't be the name of an image") && said.contains(rule), "{said}");
    }
    for (code, arguments) in [
        (4, vec!["image", "remove", "nothing"]),
        (4, vec!["container", "create", "nothing"]),
        (2, vec!["image", "import", "-x", "/nowhere"]),
    ] {
        bench.fails(code, arguments);
    }
}

#[test]
fn an_image_that_containers_need_stays() {
    let bench = Bench::with_image("image");
    bench.ok(["container", "create", "image", "--name", "one"]);
    let said = bench.fails(7, ["image", "remove", "image"]);
    assert!(said.contains("one"), "{said}");
    bench.look_into("image", |root| assert!(root.join("file").exists()));
    bench.ok(["container", "remove", "one"]);
    bench.ok(["image", "remove", "image"]);
    assert_pool_and_catalog_agree(&bench);
}

/// Starts an import from a pipe, feeds it, and kills it while it waits for more. Its layer is half made then.
fn kill_import(bench: &Bench, signal: &str, megabytes: usize) {
    let mut import = bench.start(["image", "import", "killed", "-"]);
    let mut pipe = import.stdin.take().expect("a pipe");
    let large = archives::pack(&[Entry::file("large", &"x".repeat((megabytes + 1) << 20))]);
    pipe.write_all(&large[..megabytes << 20]).unwrap();
    wait_until("the half-made layer's node", || bench.devices().iter().any(|name| name.contains("-image-")));
    ok(Command::new("kill").arg(signal).arg(import.id().to_string()));
    let status = import.wait().unwrap();
    assert!(!status.success(), "{status}");
    drop(pipe);
}

#[test]
fn an_import_that_is_killed_leaves_nothing_after_the_next_command() {
    let bench = Bench::with_image("other");
    for (signal, megabytes) in [("-KILL", 1), ("-KILL", 8), ("-TERM", 8), ("-INT", 8), ("-HUP", 1)] {
        kill_import(&bench, signal, megabytes);
        bench.ok(["activate"]);
        assert_eq!((bench.devices().len(), layers(&bench)), (1, 1), "{signal} after {megabytes} MiB");
    }
    kill_import(&bench, "-KILL", 1);
    // An import tidies up as well, and its name is free.
    let tree = bench.beside("other");
    fs::write(tree.join("more"), "").unwrap();
    bench.ok(importing("killed", &tree));
    assert_eq!((bench.devices().len(), layers(&bench)), (1, 2));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn an_import_that_fills_the_pool_fails_and_gives_everything_back() {
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
    bench.ok(["container", "create", "image", "--name", "precious"]);
    let at = PathBuf::from(bench.ok(["container", "mount", "precious"]).trim_end());
    fs::write(at.join("data"), "precious".repeat(100_000)).unwrap();
    ok(Command::new("sync").arg("-f").arg(&at));
    let before = used(&bench);

    let large = bench.beside("large");
    fs::create_dir(&large).unwrap();
    fs::write(large.join("data"), "x".repeat(96 << 20)).unwrap();
    let said = bench.fails(8, importing("large", &large));
    assert!(said.contains("ran out of data space"), "{said}");
    let status = bench.status();
    assert_eq!(status["kernel"]["mode"], "read_write", "{status}");
    assert_eq!((layers(&bench), bench.devices().len()), (1, 2));
    assert!(used(&bench) <= before, "{} blocks before, {} after", before, used(&bench));

    fs::write(at.join("more"), "still writable").unwrap();
    bench.ok(["container", "unmount", "precious"]);
    bench.ok(["container", "mount", "precious"]);
    assert!(fs::read_to_string(at.join("data")).unwrap() == "precious".repeat(100_000));
    bench.ok(["container", "unmount", "precious"]);
    fs::write(large.join("data"), "smaller").unwrap();
    bench.ok(importing("large", &large));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn an_import_shows_its_progress_to_people_only() {
    let bench = Bench::with_pool();
    let layout = OciLayout::two_layers(&bench.beside("oci"));
    let said = bench.run(importing("quiet", &layout.path));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    bench.ok(["image", "remove", "quiet"]);
    let command = bench.command(importing("shown", &layout.path));
    let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
    let line = format!("{} {}", command.get_program().to_str().unwrap(), words.join(" "));
    let shown = run(Command::new("script").args(["-qec", &line, "/dev/null"]).env("TERM", "xterm"));
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("Unpacking") && shown.out.contains("left"), "{shown:?}");
}

#[test]
fn programs_find_the_documented_keys_in_the_list_of_images() {
    let bench = Bench::with_image("image");
    bench.ok(["container", "create", "image", "--name", "one"]);
    let image = &bench.list("image")[0];
    assert_eq!(docs::keys(image), docs::documented("images[]."), "docs/json.md and the list differ");
    assert_eq!(image["name"], "image");
    assert_eq!(image["layers"], 1);
    assert_eq!(image["parent"], Value::Null);
    assert_eq!(image["containers"], serde_json::json!(["one"]));
    assert_eq!(image["content_bytes"], "of the image".len());
    assert_eq!(image["device_bytes"], 512_u64 << 20);
    let said = bench.ok(["image", "list"]);
    assert!(said.lines().nth(1).unwrap().starts_with("image ") && said.contains(" ago"), "{said}");
    for alias in [["images", "--json"], ["image", "ls"]] {
        assert!(bench.ok(alias).contains("image"));
    }
}

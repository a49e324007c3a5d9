//! What goes out again: containers that become images, and images that become archives.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::images::archives::OciLayout;
use crate::support::{Bench, Said, assert_pool_and_catalog_agree, importing, ok, wait_until};
use crate::tools::spawn;
use crate::{docs, tree};

/// Writes an image to an archive, and gives what umoci makes of it.
fn exported(bench: &Bench, image: &str, tag: &str, options: &[&str]) -> (PathBuf, PathBuf) {
    let (archive, layout) = (bench.beside(&format!("{image}.tar")), bench.beside(&format!("{image}-layout")));
    bench.ok([&["image", "export", image, archive.to_str().unwrap()], options].concat());
    fs::create_dir(&layout).unwrap();
    ok(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout));
    let layout = OciLayout { path: layout, layers: Vec::new() };
    let theirs = layout.unpacked(tag, &bench.beside(&format!("{image}-theirs")));
    (archive, theirs)
}

fn assert_looks_like(bench: &Bench, image: &str, theirs: &Path, what: &str) {
    bench.look_into(image, |ours| tree::assert_same(ours, theirs, what));
}

fn details(bench: &Bench, image: &str) -> Value {
    serde_json::from_str(&bench.ok(["image", "inspect", image, "--json"])).expect("JSON")
}

fn layers(bench: &Bench) -> u64 {
    bench.status()["catalog"]["devices"]["images"].as_u64().expect("a number")
}

#[test]
fn an_exported_image_is_the_same_to_umoci_and_comes_back_the_same() {
    for fs in ["ext4", "xfs"] {
        let bench = Bench::with_file_system(fs);
        let layout = OciLayout::two_layers(&bench.beside("oci"));
        let original = layout.unpacked("latest", &bench.beside("original"));
        bench.ok(importing("app", &layout.path));
        let (archive, theirs) = exported(&bench, "app", "latest", &["--compression", "none"]);
        tree::assert_same(&theirs, &original, "what umoci made of the export");
        assert_skopeo_copies(&archive, &bench.beside("copied"));
        bench.ok(importing("again", &archive));
        assert_looks_like(&bench, "again", &original, "the export, imported");
        // Its digests are those of the export from now on.
        let manifest = |archive: &Path| ok(Command::new("tar").arg("-xOf").arg(archive).arg("index.json"));
        let path = bench.beside("second.tar");
        bench.ok(["image", "export", "again", path.to_str().unwrap(), "--compression", "none"]);
        let digest = |archive: &Path| {
            let index: Value = serde_json::from_str(&manifest(archive)).expect("JSON");
            index["manifests"][0]["digest"].clone()
        };
        assert_eq!(digest(&path), digest(&archive), "the second export is another image");
        for compression in ["gzip", "zstd"] {
            let mut export = bench.start(["image", "export", "app", "--compression", compression]);
            let out = std::process::Stdio::from(export.stdout.take().expect("a pipe"));
            let import = bench.command(["image", "import", compression, "-"]).stdin(out).output().unwrap();
            let said = Said::from(import);
            assert!(export.wait().unwrap().success());
            assert!(said.out.contains("2 layers, 2 of them there already"), "{compression}: {said:?}");
        }
        assert_pool_and_catalog_agree(&bench);
    }
}

/// skopeo reads every blob of an archive, and compares it with its digest.
fn assert_skopeo_copies(archive: &Path, to: &Path) {
    let from = format!("oci-archive:{}", archive.display());
    ok(Command::new("skopeo").args(["--insecure-policy", "copy", &from, &format!("dir:{}", to.display())]));
    assert!(to.join("manifest.json").exists());
}

/// Does to a container what people do, and some more: files are gone, are renamed over others, become other types.
fn work_in(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::remove_file(at("dangling")).unwrap();
    fs::rename(at("a/nothing"), at("fifo")).unwrap();
    fs::remove_dir(at("empty")).unwrap();
    symlink("a", at("empty")).unwrap();
    // A directory that was made anew, under its old name.
    fs::remove_dir_all(at("a/b")).unwrap();
    fs::create_dir(at("a/b")).unwrap();
    fs::write(at("a/b/new"), "new").unwrap();
    fs::hard_link(at("a/large"), at("a/also-large")).unwrap();
    xattr::set(at("a/file"), "user.of.container", b"value\0").unwrap();
    let hole = fs::File::create(at("hole")).unwrap();
    hole.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"end", (64 << 20) - 3).unwrap();
    tree::run(Command::new("mknod").arg(at("zero")).args(["c", "1", "5"]));
    tree::run(Command::new("mkfifo").arg(at("pipe")));
    tree::run(Command::new("chmod").arg("2750").arg(at("a")));
    tree::run(Command::new("chown").arg("5:6").arg(at("link")).arg("-h"));
}

const CHANGES: &str = "\
C /a
A /a/also-large
C /a/b
D /a/b/c
D /a/b/linked
A /a/b/new
C /a/file
D /a/nothing
D /dangling
C /empty
C /fifo
A /hole
C /link
A /pipe
A /zero
";

#[test]
fn a_container_in_use_becomes_an_image_with_all_that_was_done_in_it() {
    for fs in ["ext4", "xfs"] {
        let bench = Bench::with_file_system(fs);
        let root = bench.beside("tree");
        fs::create_dir(&root).unwrap();
        tree::make(&root);
        fs::remove_file(root.join(".wh.kept")).unwrap();
        // umoci takes this name otherwise than GNU tar, and we do as tar does.
        xattr::remove(root.join("a/large"), "trusted.odd=%name").unwrap();
        tree::run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(&root));
        bench.ok(importing("base", &root));
        bench.ok(["container", "create", "base", "--name", "web", "--size", "768M"]);
        assert_eq!(bench.ok(["container", "diff", "web"]), "", "nothing was done yet");
        let at = bench.ok(["container", "mount", "web"]);
        let at = Path::new(at.trim_end());
        work_in(at);
        // In use: open, gone, and not on the disk yet.
        let mut open = fs::File::create(at.join("passing")).unwrap();
        open.write_all(&vec![7; 100_000]).unwrap();
        fs::remove_file(at.join("passing")).unwrap();
        let expected = bench.beside("expected");
        tree::run(Command::new("cp").args(["-a", "--sparse=always"]).arg(at).arg(&expected));
        assert_eq!(bench.ok(["container", "diff", "web"]), CHANGES, "{fs}");
        let arguments = ["--message", "work", "--label", "stage=test", "--change", "CMD [\"/run\"]"];
        bench.ok([&["container", "commit", "web", "work"], &arguments[..]].concat());
        // What comes later isn't in it.
        fs::remove_file(at.join("hole")).unwrap();
        open.write_all(&vec![7; 100_000]).unwrap();
        assert_looks_like(&bench, "work", &expected, "the image of the container");
        let work = details(&bench, "work");
        assert_eq!(work["config"]["config"]["Cmd"][0], "/run");
        assert_eq!(work["config"]["config"]["Labels"]["stage"], "test");
        assert_eq!(work["device_bytes"], 768 << 20);
        let history: Value = serde_json::from_str(&bench.ok(["image", "history", "work", "--json"])).unwrap();
        assert_eq!((&history[0]["comment"], history.as_array().unwrap().len()), (&Value::from("work"), 2));
        assert_eq!(history[0]["layer"], work["layers"][1]["chain"]);
        drop(open);
        bench.ok(["container", "unmount", "web"]);
        bench.ok(["container", "remove", "web"]);
        // The layer below stays, since the image is made of it.
        bench.ok(["image", "remove", "base"]);
        assert_eq!(layers(&bench), 2);
        assert_pool_and_catalog_agree(&bench);
        let (archive, theirs) = exported(&bench, "work", "latest", &["--compression", "none"]);
        assert!(archive.metadata().unwrap().len() < (16 << 20), "the hole is in the archive");
        tree::assert_same(&theirs, &expected, "what umoci made of the image of the container");
    }
}

#[test]
fn a_commit_of_a_container_in_which_nothing_changed_has_the_layers_that_are_there() {
    let bench = Bench::with_image("base");
    bench.ok(["container", "create", "base", "--name", "web"]);
    bench.ok(["container", "commit", "web", "same"]);
    assert_eq!(layers(&bench), 1);
    assert_eq!(details(&bench, "same")["layers"], details(&bench, "base")["layers"]);
    let said = bench.fails(7, ["container", "commit", "web", "base"]);
    assert!(said.contains("already"), "{said}");
    bench.fails(4, ["container", "commit", "none", "other"]);
    bench.fails(2, ["container", "commit", "web", "other", "--change", "RUN make"]);
    assert_pool_and_catalog_agree(&bench);
}

/// Kills a command as soon as it has a layer's node. It says so itself: a node may be gone before somebody sees it.
fn killed_at_its_layer(bench: &Bench, arguments: &[&str]) {
    let steps = bench.beside("steps");
    let mut command = spawn(bench.command(arguments).env("THINPOOL_STEPS", &steps));
    let is_layers = |step: &str| step.starts_with("after dm resume ") && step.contains("-image-");
    wait_until("a layer's node", || fs::read_to_string(&steps).unwrap_or_default().lines().any(is_layers));
    command.kill().unwrap();
    command.wait().unwrap();
    fs::remove_file(&steps).unwrap();
}

#[test]
fn what_a_killed_commit_diff_or_export_left_is_gone_after_the_next_command() {
    let bench = Bench::with_image("base");
    bench.ok(["container", "create", "base", "--name", "web"]);
    let at = bench.ok(["container", "mount", "web"]);
    fs::write(Path::new(at.trim_end()).join("new"), "new").unwrap();
    for arguments in [
        &["container", "commit", "web", "other"][..],
        &["container", "diff", "web"],
        &["image", "export", "base"],
    ] {
        killed_at_its_layer(&bench, arguments);
        // The container goes on.
        fs::write(Path::new(at.trim_end()).join("new"), "newer").unwrap();
        bench.run(["image", "remove", "other"]);
        assert_eq!(bench.ok(["container", "diff", "web"]), "A /new\n", "{arguments:?}");
        let web = [format!("{}-pool", bench.name), format!("{}-web", bench.name)];
        assert_eq!(bench.devices(), web, "{arguments:?}: a node is left");
    }
    bench.ok(["container", "unmount", "web"]);
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn an_export_replaces_nothing_and_leaves_nothing_when_it_fails() {
    let bench = Bench::with_pool();
    let (root, file) = (bench.beside("tree"), bench.beside("out").join("precious"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(root.join(".wh.odd"), "").unwrap();
    fs::write(&file, "precious").unwrap();
    bench.ok(importing("odd", &root));
    let said = bench.fails(7, ["image", "export", "odd", file.to_str().unwrap()]);
    assert!(said.contains("there already"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let new = file.with_file_name("new");
    let said = bench.fails(1, ["image", "export", "odd", new.to_str().unwrap()]);
    assert!(said.contains("'/.wh.odd'"), "{said}");
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "a half archive is left");
    let said = bench.run(["image", "export", "odd"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn what_is_told_of_images_has_the_keys_that_are_documented() {
    let bench = Bench::with_image("base");
    bench.ok(["image", "tag", "base", "also"]);
    bench.ok(["container", "create", "base", "--name", "web"]);
    let base = details(&bench, "base");
    let keys = docs::keys(&base).into_iter();
    let layer = docs::keys(&base["layers"][0]).into_iter().map(|key| format!("layers[].{key}"));
    assert_eq!(keys.chain(layer).collect::<std::collections::BTreeSet<_>>(), docs::documented("inspect."));
    let history: Value = serde_json::from_str(&bench.ok(["image", "history", "base", "--json"])).unwrap();
    assert_eq!(docs::keys(&history[0]), docs::documented("history[]."));
    bench.ok(["image", "remove", "base"]);
    assert_eq!(bench.list("container")[0]["image"], "also");
    bench.fails(7, ["image", "remove", "also"]);
    let prune = |more: &[&str]| bench.ok([&["image", "prune", "--json"], more].concat());
    let pruned: Value = serde_json::from_str(&prune(&["--dry-run"])).unwrap();
    assert_eq!(docs::keys(&pruned), docs::documented("pruned."));
    assert_eq!(pruned["images"].as_array().unwrap().len(), 0);
    bench.ok(["container", "remove", "web"]);
    assert!(bench.fails(7, ["image", "prune"]).contains("--yes"));
    let pruned: Value = serde_json::from_str(&prune(&["--yes"])).unwrap();
    assert_eq!(pruned["images"][0], "also");
    assert!(pruned["freed_bytes"].as_u64().unwrap() > 0, "{pruned}");
    assert_pool_and_catalog_agree(&bench);
}

//! Holds the unpacking of archives to an independent program: what GNU `tar -x` makes of an archive, this program makes
//! too, file by file.

#![allow(clippy::unwrap_used, reason = "the lints spare only unit tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use proptest::prelude::*;
use thinpool::image::{
    ChainId, Format, Input, LayerDraft, LayerKind, LayerRecord, LayerStore, NoProgress, OpenOptions,
    UnpackOptions, import, open, unpack,
};

/// A store of one layer: a directory.
struct OneDirectory(PathBuf);

impl LayerStore for OneDirectory {
    type Error = Infallible;
    type Draft = OneDirectory;
    fn contains(&self, _: &ChainId) -> Result<bool, Infallible> {
        Ok(false)
    }
    fn draft(&self, _: Option<&ChainId>) -> Result<Self, Infallible> {
        Ok(OneDirectory(self.0.clone()))
    }
}

impl LayerDraft for OneDirectory {
    type Error = Infallible;
    fn root(&self) -> &Path {
        &self.0
    }
    fn commit(self, _: &LayerRecord) -> Result<(), Infallible> {
        Ok(())
    }
    fn discard(self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn import_to(source: &Path, root: &Path) -> (Format, ChainId) {
    let options = OpenOptions { reference: None, spool_dir: std::env::temp_dir() };
    let image = open(Input::Path(source.to_owned()), &options, &mut NoProgress).unwrap();
    let imported =
        import(image, &OneDirectory(root.to_owned()), &options.spool_dir, &mut NoProgress).unwrap();
    (imported.format, imported.top)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// All that is to be kept of each file in a tree. Hard links are told by the first name of the same inode.
fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut inodes: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    let mut all = Vec::new();
    while let Some(path) = ahead.pop() {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.push(path);
    }
    all.sort();
    for path in all {
        let stat = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let first = if stat.is_dir() {
            name.clone()
        } else {
            inodes.entry(stat.ino()).or_insert(name.clone()).clone()
        };
        let kind = stat.file_type();
        let content = if kind.is_file() {
            thinpool::image::Digest::of(&fs::read(&path).unwrap()).to_string()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            format!(
                "{kind:?} {}",
                if kind.is_char_device() || kind.is_block_device() { stat.rdev() } else { 0 }
            )
        };
        let mut xattrs: Vec<_> = xattr::list(&path)
            .unwrap()
            .filter(|name| !name.as_bytes().starts_with(b"security.selinux"))
            .map(|name| (name.clone(), xattr::get(&path, &name).unwrap()))
            .collect();
        xattrs.sort();
        let (mode, uid, gid) = (stat.mode(), stat.uid(), stat.gid());
        let mtime = (stat.mtime(), stat.mtime_nsec());
        files.insert(
            name,
            format!("{mode:o} {uid}:{gid} {mtime:?} {xattrs:?} {content} as {}", first.display()),
        );
    }
    files
}

fn assert_same(ours: &Path, theirs: &Path, what: &str) {
    let (ours, theirs) = (listing(ours), listing(theirs));
    let names: Vec<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        assert_eq!(ours.get(name), theirs.get(name), "{what}: {}", name.display());
    }
}

/// A tree with one of everything that an ordinary user can make, and more if it's root.
fn make_tree(root: &Path) {
    let long = "n".repeat(200);
    fs::create_dir_all(root.join("a/b/c").join(&long)).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("a/file"), "content").unwrap();
    fs::write(root.join("a/nothing"), "").unwrap();
    fs::write(root.join("a/large"), vec![b'x'; 3_000_001]).unwrap();
    fs::write(root.join("a/b/c").join(&long).join(&long), "long").unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/b/linked")).unwrap();
    fs::hard_link(root.join("a/b/c").join(&long).join(&long), root.join("z-linked")).unwrap();
    symlink("a/file", root.join("link")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    symlink(format!("{long}/{long}"), root.join("long-link")).unwrap();
    fs::write(root.join("ünïcode \n\u{1}"), "odd name").unwrap();
    fs::write(root.join(".wh.kept"), "no whiteout here").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 1 << 20).unwrap();
    sparse.set_len(5 << 20).unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo")));
    run(Command::new("chmod").args(["6751"]).arg(root.join("a/nothing")));
    run(Command::new("chmod").args(["1777"]).arg(root.join("empty")));
    run(Command::new("touch").args(["-h", "-d", "1999-01-02 03:04:05.678901234"]).arg(root.join("link")));
    run(Command::new("touch").args(["-d", "1960-01-02 03:04:05.25"]).arg(root.join("a/file")));
    if is_root() {
        run(Command::new("mknod").arg(root.join("null")).args(["c", "1", "3"]));
        run(Command::new("mknod").arg(root.join("disk")).args(["b", "259", "70000"]));
        run(Command::new("chown")
            .args(["-h", "1234:3000000"])
            .arg(root.join("dangling"))
            .arg(root.join("a/large")));
        xattr::set(root.join("a/large"), "trusted.odd=%name", b"line\nline\0\xff").unwrap();
        xattr::set(root.join("a/b"), "trusted.of.directory", b"value").unwrap();
        xattr::set(root.join("dangling"), "trusted.of.link", b"value").unwrap();
        // cap_net_raw+ep.
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        xattr::set(root.join("a/large"), "security.capability", &capability).unwrap();
    }
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.7"]).arg(root.join("a")));
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(root));
}

fn tar(archive: &Path, tree: &Path, options: &[&str]) {
    run(Command::new("tar").args(options).arg("-cf").arg(archive).arg("-C").arg(tree).arg("."));
}

#[test]
fn what_tar_extracts_from_its_archives_we_extract_too() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    let formats: &[(&str, &[&str])] = &[
        ("gnu", &["--format=gnu"]),
        ("gnu-sparse", &["--format=gnu", "--sparse"]),
        ("posix", &["--format=posix", "--xattrs", "--xattrs-include=*"]),
        ("posix-sparse-1.0", &["--format=posix", "--sparse", "--xattrs", "--xattrs-include=*"]),
        ("posix-sparse-0.1", &["--format=posix", "--sparse", "--sparse-version=0.1"]),
        ("posix-sparse-0.0", &["--format=posix", "--sparse", "--sparse-version=0.0"]),
        ("gzip", &["--format=posix", "--gzip"]),
        ("xz", &["--format=posix", "--xz"]),
    ];
    for (what, options) in formats {
        let archive = temp.path().join("archive");
        tar(&archive, &tree, options);
        let (ours, theirs) =
            (temp.path().join(format!("ours-{what}")), temp.path().join(format!("theirs-{what}")));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&theirs).unwrap();
        assert_eq!(import_to(&archive, &ours).0, Format::Tar);
        let extract = ["--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*", "-xf"];
        run(Command::new("tar").args(extract).arg(&archive).arg("-C").arg(&theirs));
        assert_same(&ours, &theirs, what);
    }
    let sparse = fs::metadata(temp.path().join("ours-gnu-sparse/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < sparse.len() / 2, "a sparse file became a full one");
}

#[test]
fn a_directory_comes_in_whole_and_always_under_the_same_name() {
    let temp = tempfile::tempdir().unwrap();
    let (tree, copy) = (temp.path().join("tree"), temp.path().join("copy"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&copy).unwrap();
    make_tree(&tree);
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(&tree));
    let (format, chain) = import_to(&tree, &copy);
    assert_eq!(format, Format::Directory);
    fs::remove_file(tree.join("socket")).unwrap();
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(&tree));
    assert_same(&copy, &tree, "directory");
    let again = temp.path().join("again");
    fs::create_dir(&again).unwrap();
    assert_eq!(import_to(&copy, &again).1, chain, "a copy of the same tree has another digest");
}

/// GNU tar reads what the directory streamer writes: the stream is a tar that others understand.
#[test]
fn an_archive_of_ours_unpacks_twice_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let (tree, archive) = (temp.path().join("tree"), temp.path().join("archive"));
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    tar(&archive, &tree, &["--format=posix", "--xattrs", "--xattrs-include=*"]);
    let root = temp.path().join("root");
    fs::create_dir(&root).unwrap();
    let options = UnpackOptions::new(LayerKind::RootFs);
    let first = unpack(fs::File::open(&archive).unwrap(), &root, &options).unwrap();
    let second = unpack(fs::File::open(&archive).unwrap(), &root, &options).unwrap();
    assert_eq!(first, second);
    assert_same(&root, &tree, "unpacked over itself");
}

/// A node of a random tree.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32, i64),
    Link(String),
    Again(prop::sample::Index),
    Directory(BTreeMap<String, Node>, i64),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..2000), 0..0o10000_u32, -1_000_000..4_000_000_000_i64)
            .prop_map(|(content, mode, time)| Node::File(content, mode | 0o400, time)),
        "[a-z./]{1,120}".prop_map(Node::Link),
        any::<prop::sample::Index>().prop_map(Node::Again),
    ];
    leaf.prop_recursive(4, 40, 6, |node| {
        (prop::collection::btree_map("[a-zäß .]{1,3}|[x-z]{90,130}", node, 0..6), 0..2_000_000_000_i64)
            .prop_map(|(children, time)| Node::Directory(children, time))
    })
}

fn plant(node: &Node, path: &Path, files: &mut Vec<PathBuf>) {
    let touch = |path: &Path, time: i64| {
        run(Command::new("touch").arg("-d").arg(format!("@{time}.000000007")).arg(path));
    };
    match node {
        Node::File(content, mode, time) => {
            fs::write(path, content).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(*mode)).unwrap();
            touch(path, *time);
            files.push(path.to_owned());
        }
        Node::Link(target) => symlink(target, path).unwrap(),
        Node::Again(_) if files.is_empty() => {}
        Node::Again(which) => fs::hard_link(which.get(files), path).unwrap(),
        Node::Directory(children, time) => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                if name != "." && name != ".." {
                    plant(child, &path.join(name), files);
                }
            }
            touch(path, *time);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(children in prop::collection::btree_map("[a-z]{1,3}", node(), 0..6)) {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        plant(&Node::Directory(children, 1_000_000_000), &tree, &mut Vec::new());
        let archive = temp.path().join("archive");
        tar(&archive, &tree, &["--format=posix"]);
        for (what, source) in [("directory", &tree), ("archive", &archive)] {
            let root = temp.path().join(format!("root-{what}"));
            fs::create_dir(&root).unwrap();
            import_to(source, &root);
            assert_same(&root, &tree, what);
        }
    }
}

/// `cargo test --release --test image_unpack speed -- --ignored --nocapture`, with `THINPOOL_SPEED_TREE` as the tree.
#[test]
#[ignore = "takes a minute and says something in release mode only"]
fn speed_is_at_least_nine_tenths_of_tars() {
    let tree = std::env::var_os("THINPOOL_SPEED_TREE").map_or(PathBuf::from("/usr/lib"), PathBuf::from);
    let temp = tempfile::tempdir().unwrap();
    for (name, option, flag) in [("plain", "--format=posix", "-xf"), ("gzip", "--gzip", "-xzf")] {
        let archive = temp.path().join(name);
        tar(&archive, &tree, &[option]);
        let root = temp.path().join("root");
        let measure = |work: &dyn Fn()| {
            let mut times: Vec<f64> = (0..5)
                .map(|_| {
                    let _ = fs::remove_dir_all(&root);
                    fs::create_dir(&root).unwrap();
                    run(&mut Command::new("sync"));
                    let start = Instant::now();
                    work();
                    start.elapsed().as_secs_f64()
                })
                .collect();
            times.sort_by(f64::total_cmp);
            times[2]
        };
        let root = temp.path().join("root");
        let theirs = measure(&|| {
            run(Command::new("tar").arg("--xattrs").arg(flag).arg(&archive).arg("-C").arg(&root));
        });
        let ours = measure(&|| {
            import_to(&archive, &root);
        });
        println!("{name}: tar {theirs:.3} s, ours {ours:.3} s: {:.2} x tar's speed", theirs / ours);
        assert!(theirs / ours > 0.9);
    }
}

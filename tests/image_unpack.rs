//! Holds the unpacking of archives to an independent program: what GNU `tar -x` makes of an archive, this program makes
//! too, file by file.

#![allow(clippy::unwrap_used, reason = "the lints spare only unit tests")]

mod one_directory;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use thinpool::image::{Format, LayerKind, UnpackOptions, unpack};

use self::one_directory::import_to;

#[test]
fn what_tar_extracts_from_its_archives_we_extract_too() {
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    tree::make(&tree);
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
        tree::tar(&archive, &tree, options);
        let (ours, theirs) =
            (temp.path().join(format!("ours-{what}")), temp.path().join(format!("theirs-{what}")));
        fs::create_dir(&ours).unwrap();
        assert_eq!(import_to(&archive, &ours).format, Format::Tar);
        tree::untar(&archive, &theirs);
        tree::assert_same(&ours, &theirs, what);
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
    tree::make(&tree);
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    tree::run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(&tree));
    let imported = import_to(&tree, &copy);
    assert_eq!(imported.format, Format::Directory);
    fs::remove_file(tree.join("socket")).unwrap();
    tree::run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(&tree));
    tree::assert_same(&copy, &tree, "directory");
    let again = temp.path().join("again");
    fs::create_dir(&again).unwrap();
    assert_eq!(import_to(&copy, &again).top, imported.top, "a copy of the same tree has another digest");
}

/// GNU tar reads what the directory streamer writes: the stream is a tar that others understand.
#[test]
fn an_archive_of_ours_unpacks_twice_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let (tree, archive) = (temp.path().join("tree"), temp.path().join("archive"));
    fs::create_dir(&tree).unwrap();
    tree::make(&tree);
    tree::tar(&archive, &tree, &["--format=posix", "--xattrs", "--xattrs-include=*"]);
    let root = temp.path().join("root");
    fs::create_dir(&root).unwrap();
    let options = UnpackOptions::new(LayerKind::RootFs);
    let first = unpack(fs::File::open(&archive).unwrap(), &root, &options).unwrap();
    let second = unpack(fs::File::open(&archive).unwrap(), &root, &options).unwrap();
    assert_eq!(first, second);
    tree::assert_same(&root, &tree, "unpacked over itself");
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
        tree::run(Command::new("touch").arg("-d").arg(format!("@{time}.000000007")).arg(path));
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
        tree::tar(&archive, &tree, &["--format=posix"]);
        for (what, source) in [("directory", &tree), ("archive", &archive)] {
            let root = temp.path().join(format!("root-{what}"));
            fs::create_dir(&root).unwrap();
            import_to(source, &root);
            tree::assert_same(&root, &tree, what);
        }
    }
}

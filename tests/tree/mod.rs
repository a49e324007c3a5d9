//! Trees of files for tests: one with some of everything, and a comparison of two, file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// So many differences are shown: more only hide the first.
const SHOWN: usize = 10;

/// All that is to be kept of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The type's bits are in it.
    mode: String,
    owner: (u32, u32),
    modified: (i64, i64),
    xattrs: Vec<(OsString, Vec<u8>)>,
    content: Content,
    /// The first name of the same inode: how hard links are told.
    first_name: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Hash(sha2::digest::Output<Sha256>),
    Target(PathBuf),
    Device(u64),
    Nothing,
}

/// Every file below a directory, and the directory itself, by its name there.
pub fn listing(root: &Path) -> BTreeMap<PathBuf, File> {
    let mut inodes: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for path in paths(root) {
        let stat = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let first_name = if stat.is_dir() {
            name.clone()
        } else {
            inodes.entry(stat.ino()).or_insert(name.clone()).clone()
        };
        let file = File {
            mode: format!("{:o}", stat.mode()),
            owner: (stat.uid(), stat.gid()),
            modified: (stat.mtime(), stat.mtime_nsec()),
            xattrs: xattrs(&path),
            content: content(&path, &stat),
            first_name,
        };
        files.insert(name, file);
    }
    files
}

/// In the order of their names, so that the first name of an inode is the same in two trees.
fn paths(root: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut ahead) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(path) = ahead.pop() {
        // What mkfs makes is nobody's content.
        if path == root.join("lost+found") {
            continue;
        }
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path);
    }
    found
}

fn xattrs(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut xattrs: Vec<_> = xattr::list(path)
        .unwrap()
        .filter(|name| !name.as_bytes().starts_with(b"security.selinux"))
        // XFS's other name for what is listed as system.posix_acl_*.
        .filter(|name| !name.as_bytes().starts_with(b"trusted.SGI_ACL_"))
        .map(|name| (name.clone(), xattr::get(path, &name).unwrap().unwrap_or_default()))
        .collect();
    xattrs.sort();
    xattrs
}

fn content(path: &Path, stat: &fs::Metadata) -> Content {
    let kind = stat.file_type();
    if kind.is_file() {
        // Compiled with optimisation, unlike the standard library's hashes, which would take most of a test's time in an emulated
        // machine.
        Content::Hash(Sha256::digest(fs::read(path).unwrap()))
    } else if kind.is_symlink() {
        Content::Target(fs::read_link(path).unwrap())
    } else if kind.is_char_device() || kind.is_block_device() {
        Content::Device(stat.rdev())
    } else {
        Content::Nothing
    }
}

/// Fails with the first differences, if there are any.
pub fn assert_same(ours: &Path, theirs: &Path, what: &str) {
    let (ours, theirs) = (listing(ours), listing(theirs));
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differences: Vec<String> = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| {
            format!("{}\n  ours   {:?}\n  theirs {:?}", name.display(), ours.get(name), theirs.get(name))
        })
        .collect();
    let first: Vec<&str> = differences.iter().take(SHOWN).map(String::as_str).collect();
    assert!(first.is_empty(), "{what}: {} files differ:\n{}", differences.len(), first.join("\n"));
}

/// A tree with one of everything that an ordinary user can make, and more if it's root.
pub fn make(root: &Path) {
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
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(5 << 20).unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo")));
    run(Command::new("chmod").args(["6751"]).arg(root.join("a/nothing")));
    run(Command::new("chmod").args(["1777"]).arg(root.join("empty")));
    run(Command::new("touch").args(["-h", "-d", "1999-01-02 03:04:05.678901234"]).arg(root.join("link")));
    run(Command::new("touch").args(["-d", "1960-01-02 03:04:05.25"]).arg(root.join("a/file")));
    if is_root() {
        make_what_only_root_can(root);
    }
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.7"]).arg(root.join("a")));
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(root));
}

fn make_what_only_root_can(root: &Path) {
    run(Command::new("mknod").arg(root.join("null")).args(["c", "1", "3"]));
    run(Command::new("mknod").arg(root.join("disk")).args(["b", "259", "70000"]));
    run(Command::new("chown")
        .args(["-h", "1234:3000000"])
        .arg(root.join("dangling"))
        .arg(root.join("a/large")));
    xattr::set(root.join("a/large"), "trusted.odd=%name", b"line\nline\0\xff").unwrap();
    xattr::set(root.join("a/b"), "trusted.of.directory", b"value").unwrap();
    xattr::set(root.join("dangling"), "trusted.of.link", b"value").unwrap();
    // user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::---. New files inherit it, and must not in a copy.
    let acl = "02000000 01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000000ffffffff";
    let acl = hex::decode(acl.replace(' ', "")).unwrap();
    let set = xattr::set(root.join("a/b"), "system.posix_acl_default", &acl);
    // Not every file system of a host has them; those of the test machine do.
    let unsupported = |error: &std::io::Error| error.kind() == std::io::ErrorKind::Unsupported;
    assert!(set.as_ref().err().is_none_or(unsupported), "{set:?}");
    // cap_net_raw+ep.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(root.join("a/large"), "security.capability", &capability).unwrap();
}

/// Packs a tree with GNU tar.
pub fn tar(archive: &Path, tree: &Path, options: &[&str]) {
    run(Command::new("tar").args(options).arg("-cf").arg(archive).arg("-C").arg(tree).arg("."));
}

/// Extracts an archive with GNU tar, into a new directory.
pub fn untar(archive: &Path, tree: &Path) {
    const AS_IT_IS: [&str; 5] =
        ["--same-owner", "--same-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*"];
    fs::create_dir(tree).unwrap();
    run(Command::new("tar").args(AS_IT_IS).arg("-xf").arg(archive).arg("-C").arg(tree));
}

/// Runs another program, which must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

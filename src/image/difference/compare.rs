//! Whether a file is still what it was.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, readlinkat};
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, statx};

use super::Change;
use crate::image::decompress::read_full;
use crate::image::inodes::InodeSet;
use crate::image::metadata::through_descriptor;
use crate::image::resolve::{as_path, open_below};
use crate::image::tar_writer::xattrs;

const BUFFER: usize = 64 << 10;

/// Files that had to be read to know whether they changed: a second walk need not read them again.
#[derive(Default)]
pub(in crate::image) struct Known {
    same: InodeSet,
    modified: InodeSet,
}

/// The two trees.
#[derive(Clone, Copy)]
pub(super) struct Trees<'t> {
    pub(super) before: &'t OwnedFd,
    pub(super) now: &'t OwnedFd,
}

/// What is there, itself and not what it links to. The trees are mounted for us alone, so nobody plants a link on the way.
pub(in crate::image) fn look(root: &OwnedFd, path: &[u8]) -> io::Result<Statx> {
    let path = if path.is_empty() { &b"."[..] } else { path };
    let what = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    Ok(statx(root, as_path(path), AtFlags::SYMLINK_NOFOLLOW, what)?)
}

fn kind(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

pub(in crate::image) fn is_directory(stat: &Statx) -> bool {
    kind(stat) == FileType::Directory
}

/// Whether two are one inode. Its number alone may have been given to another file meanwhile, but not with the same
/// time of birth.
fn same_inode(before: &Statx, now: &Statx) -> bool {
    (before.stx_ino, time(&before.stx_btime)) == (now.stx_ino, time(&now.stx_btime))
}

/// Whether they are one inode, which nobody has touched: of a directory, that it has the same names in it, too.
pub(super) fn untouched(before: &Statx, now: &Statx) -> bool {
    same_inode(before, now) && time(&before.stx_ctime) == time(&now.stx_ctime)
}

fn time(time: &rustix::fs::StatxTimestamp) -> (i64, u32) {
    (time.tv_sec, time.tv_nsec)
}

impl Known {
    /// What became of a file that is there in both trees.
    pub(super) fn compare(
        &mut self,
        trees: Trees<'_>,
        path: &[u8],
        before: &Statx,
        now: &Statx,
    ) -> io::Result<Change> {
        if kind(before) != kind(now) {
            return Ok(Change::Modified);
        }
        if untouched(before, now) {
            return Ok(Change::Same);
        }
        let rights = |stat: &Statx| (stat.stx_mode, stat.stx_uid, stat.stx_gid);
        if rights(before) != rights(now) {
            return Ok(Change::Modified);
        }
        let same_time = time(&before.stx_mtime) == time(&now.stx_mtime);
        if is_directory(now) {
            return Ok(match (same_xattrs(trees, path)?, same_time) {
                (false, _) => Change::Modified,
                (true, false) => Change::Retimed,
                (true, true) => Change::Same,
            });
        }
        let rest = |stat: &Statx| (stat.stx_size, stat.stx_rdev_major, stat.stx_rdev_minor);
        // Which names are one file is part of what a tree is.
        let links = before.stx_nlink > 1 || now.stx_nlink > 1;
        if !same_time || rest(before) != rest(now) || (links && !same_inode(before, now)) {
            return Ok(Change::Modified);
        }
        if self.same.contains(now.stx_ino) {
            return Ok(Change::Same);
        }
        if self.modified.contains(now.stx_ino) {
            return Ok(Change::Modified);
        }
        if same_xattrs(trees, path)? && same_content(trees, path, kind(now))? {
            self.same.insert(now.stx_ino);
            Ok(Change::Same)
        } else {
            self.modified.insert(now.stx_ino);
            Ok(Change::Modified)
        }
    }
}

fn same_xattrs(trees: Trees<'_>, path: &[u8]) -> io::Result<bool> {
    let of = |root: &OwnedFd| {
        let full = through_descriptor(root, path);
        xattrs(xattr::list(&full), |name| xattr::get(&full, name))
    };
    Ok(of(trees.before)? == of(trees.now)?)
}

fn same_content(trees: Trees<'_>, path: &[u8], kind: FileType) -> io::Result<bool> {
    match kind {
        FileType::Symlink => {
            let target = |root: &OwnedFd| readlinkat(root, as_path(path));
            Ok(target(trees.before)?.as_bytes() == target(trees.now)?.as_bytes())
        }
        FileType::RegularFile => {
            let open = |root: &OwnedFd| open_below(root, path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW);
            same_bytes(&mut File::from(open(trees.before)?), &mut File::from(open(trees.now)?))
        }
        _ => Ok(true),
    }
}

fn same_bytes(before: &mut File, now: &mut File) -> io::Result<bool> {
    let (mut one, mut other) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let (length, length_now) = (read_full(before, &mut one)?, read_full(now, &mut other)?);
        if one[..length] != other[..length_now] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

//! The archive of a layer, made anew from how its tree differs from the one below: in the form of the OCI image
//! specification, with a whiteout for what is gone.
//!
//! One whiteout for each file, as the specification recommends, and no opaque directories: then the archive depends on the
//! two trees alone, and an image that is exported, imported and exported again keeps its digests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, readlinkat};
use rustix::fs::{FileType, Statx};
use tar::EntryType;

use super::difference::{Change, Entry, Known, Visitor, is_directory, walk};
use super::inodes::InodeSet;
use super::metadata::through_descriptor;
use super::progress::Progress;
use super::resolve::{as_path, open_below};
use super::tar_writer::{Attributes, Head, TarWriter, segments, xattrs};
use super::whiteout;

/// How a layer differs from the one below, as far as must be known before its archive can be written.
pub struct LayerDifference<'l> {
    before: &'l Path,
    now: &'l Path,
    known: Known,
    survey: Survey,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Bytes in files, as long as they say they are.
    pub bytes: u64,
    /// Sockets, which no archive can hold.
    pub sockets: u64,
}

impl<'l> LayerDifference<'l> {
    /// Looks what differs between two trees.
    pub fn find(before: &'l Path, now: &'l Path) -> io::Result<Self> {
        let (mut known, mut survey) = (Known::default(), Survey::default());
        walk(before, now, &mut known, &mut survey)?;
        Ok(Self { before, now, known, survey })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.survey.changes == 0
    }

    /// A file of which the name would be taken for a whiteout by whoever reads the archive.
    #[must_use]
    pub fn misleading_name(&self) -> Option<&[u8]> {
        self.survey.misleading.as_deref()
    }

    /// How many bytes there are in the files that are to be written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.survey.bytes
    }

    /// Writes the archive.
    pub fn write<W: Write>(&mut self, out: W, progress: &mut dyn Progress) -> io::Result<(W, Written)> {
        let mut writer = LayerWriter {
            out: TarWriter::new(out),
            relinked: &self.survey.relinked,
            links: HashMap::new(),
            written: Written::default(),
            progress,
        };
        walk(self.before, self.now, &mut self.known, &mut writer)?;
        Ok((writer.out.finish()?, writer.written))
    }
}

fn kind(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// A first walk.
#[derive(Default)]
struct Survey {
    changes: u64,
    bytes: u64,
    misleading: Option<Vec<u8>>,
    /// Files with several names of which one changed: all their names must be in the archive. Whoever unpacks it over a
    /// file system of layers can't link to a file of a lower one.
    relinked: InodeSet,
}

impl Visitor for Survey {
    fn counts(&self, entry: &Entry<'_>) -> bool {
        entry.change != Change::Same
    }

    fn visit(&mut self, _: &OwnedFd, entry: &Entry<'_>) -> io::Result<()> {
        self.changes += 1;
        let Some(stat) = entry.stat else { return Ok(()) };
        if whiteout::is_meant_by(entry.path) {
            self.misleading.get_or_insert_with(|| entry.path.to_vec());
        }
        if is_directory(stat) {
            return Ok(());
        }
        let seen = stat.stx_nlink > 1 && self.relinked.contains(stat.stx_ino);
        if stat.stx_nlink > 1 {
            self.relinked.insert(stat.stx_ino);
        }
        if kind(stat) == FileType::RegularFile && !seen {
            self.bytes += stat.stx_size;
        }
        Ok(())
    }
}

/// A second walk, which writes.
struct LayerWriter<'l, W> {
    out: TarWriter<W>,
    relinked: &'l InodeSet,
    /// The first name of each file that has several, and how many are still to come.
    links: HashMap<u64, (Vec<u8>, u32)>,
    written: Written,
    progress: &'l mut dyn Progress,
}

impl<W: Write> Visitor for LayerWriter<'_, W> {
    fn counts(&self, entry: &Entry<'_>) -> bool {
        let relinked =
            |stat: &Statx| stat.stx_nlink > 1 && !is_directory(stat) && self.relinked.contains(stat.stx_ino);
        entry.change != Change::Same || entry.stat.is_some_and(relinked)
    }

    fn visit(&mut self, root: &OwnedFd, entry: &Entry<'_>) -> io::Result<()> {
        let Some(stat) = entry.stat else { return self.whiteout(entry.path) };
        let kind = match kind(stat) {
            FileType::Directory => EntryType::Directory,
            FileType::RegularFile => EntryType::Regular,
            FileType::Symlink => EntryType::Symlink,
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            FileType::Fifo => EntryType::Fifo,
            FileType::Socket | FileType::Unknown => {
                self.written.sockets += 1;
                // What it took the place of is gone all the same.
                return if entry.change == Change::Modified { self.whiteout(entry.path) } else { Ok(()) };
            }
        };
        if kind != EntryType::Directory && stat.stx_nlink > 1 && self.second_name(stat, entry.path)? {
            return Ok(());
        }
        let full = through_descriptor(root, entry.path);
        let xattrs = xattrs(xattr::list(&full), |name| xattr::get(&full, name))?;
        let mut head = Head { path: entry.path, link: b"", kind, attributes: stat.into(), size: 0, xattrs };
        match kind {
            EntryType::Regular => self.file(root, &Head { size: stat.stx_size, ..head }),
            EntryType::Directory => {
                let path = if entry.path.is_empty() { b"./".to_vec() } else { [entry.path, b"/"].concat() };
                head.path = &path;
                self.out.head(&head)
            }
            EntryType::Symlink => {
                let target = readlinkat(root, as_path(entry.path))?;
                head.link = target.as_bytes();
                self.out.head(&head)
            }
            _ => self.out.head(&head),
        }
    }
}

impl<W: Write> LayerWriter<'_, W> {
    fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        self.out.head(&Head {
            path: &whiteout::of(path),
            link: b"",
            kind: EntryType::Regular,
            attributes: Attributes::default(),
            size: 0,
            xattrs: Vec::new(),
        })
    }

    /// Writes a hard link if the file was there already under another name.
    fn second_name(&mut self, stat: &Statx, path: &[u8]) -> io::Result<bool> {
        let Some((first, left)) = self.links.get_mut(&stat.stx_ino) else {
            self.links.insert(stat.stx_ino, (path.to_vec(), stat.stx_nlink - 1));
            return Ok(false);
        };
        let first = first.clone();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.links.remove(&stat.stx_ino);
        }
        let (kind, attributes) = (EntryType::Link, stat.into());
        self.out.head(&Head { path, link: &first, kind, attributes, size: 0, xattrs: Vec::new() })?;
        Ok(true)
    }

    fn file(&mut self, root: &OwnedFd, head: &Head<'_>) -> io::Result<()> {
        let mut file = File::from(open_below(root, head.path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW)?);
        self.written.bytes += head.size;
        let mut wrote = |bytes| self.progress.advance(bytes);
        match segments(&file, head.size)? {
            None => self.out.file(head, &mut file, &mut wrote),
            Some(segments) => self.out.sparse_file(head, &mut file, &segments, &mut wrote),
        }
    }
}

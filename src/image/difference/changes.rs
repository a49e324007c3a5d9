//! The differences as `docker diff` tells them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::{Change, Entry, Known, Visitor, walk};

/// A file that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileChange {
    /// Its path, from the slash on: bytes, which need not be text.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: FileChangeKind,
}

/// What became of a file, as Docker sorts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileChangeKind {
    /// It is another, or something in it is.
    Changed,
    /// It wasn't there.
    Added,
    /// It is gone, with all that was in it.
    Deleted,
}

/// What changed between two trees, sorted by path. As with Docker, a directory counts as changed if something in it did, but
/// not if only its time did, and of a directory that is gone nothing in it is told.
pub fn changes(before: &Path, now: &Path) -> io::Result<Vec<FileChange>> {
    let mut list = List(Vec::new());
    walk(before, now, &mut Known::default(), &mut list)?;
    list.0.sort_unstable();
    Ok(list.0)
}

struct List(Vec<FileChange>);

impl Visitor for List {
    fn counts(&self, entry: &Entry<'_>) -> bool {
        // Nobody can do anything about the root itself.
        !matches!(entry.change, Change::Same | Change::Retimed) && !entry.path.is_empty()
    }

    fn visit(&mut self, _: &OwnedFd, entry: &Entry<'_>) -> io::Result<()> {
        let kind = match entry.change {
            Change::Added => FileChangeKind::Added,
            Change::Deleted => FileChangeKind::Deleted,
            Change::Same | Change::Retimed | Change::Modified => FileChangeKind::Changed,
        };
        if !entry.path.is_empty() {
            self.0.push(FileChange { path: [b"/", entry.path].concat(), kind });
        }
        Ok(())
    }
}

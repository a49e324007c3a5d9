//! How a tree differs from the one that it is a snapshot of.
//!
//! A snapshot has the inodes of its origin, so most files needn't be read to be known as unchanged: the same inode with the
//! same time of change (ctime, which no program can set) is the same file. Whatever else looks the same is compared to
//! the last byte, so that what comes out depends on the two trees alone and not on how one became the other: a layer
//! that was exported and imported again has the same differences, and so the same digest.

mod changes;
mod compare;
mod walk;

use rustix::fs::Statx;

pub use changes::{FileChange, FileChangeKind, changes};
pub(super) use compare::{Known, is_directory};
pub(super) use walk::{Visitor, walk};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Same,
    /// Of a directory only the time: something in it came and went, or came back.
    Retimed,
    /// It is another, or has other attributes or other content.
    Modified,
    /// It wasn't there.
    Added,
    /// It is gone, with all that was in it.
    Deleted,
}

/// A file that a walk comes by.
pub(super) struct Entry<'e> {
    /// Its path below the root; the root's own is empty.
    pub(super) path: &'e [u8],
    pub(super) change: Change,
    /// What it is now; nothing for what is gone.
    pub(super) stat: Option<&'e Statx>,
}

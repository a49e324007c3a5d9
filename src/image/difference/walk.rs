//! Goes through two trees side by side, in the order of names.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::vec;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use rustix::fs::Statx;

use super::compare::{Known, Trees, is_directory, look, untouched};
use super::{Change, Entry};
use crate::image::error::EntryName;
use crate::image::remove::{join, names};
use crate::image::resolve::open_below;

/// Who wants to know what a walk finds.
pub(in crate::image) trait Visitor {
    /// Whether an entry counts. One that doesn't is shown all the same if it is a directory with something in it that does.
    fn counts(&self, entry: &Entry<'_>) -> bool;
    /// An entry that counts, after the directories above it. `root` is that of the tree as it is now.
    fn visit(&mut self, root: &OwnedFd, entry: &Entry<'_>) -> io::Result<()>;
}

/// Shows a visitor how the tree at `now` differs from the one at `before`. In each directory, what is gone comes first.
/// Memory is taken for the names of the directories from the root to where it is, and no more.
pub(in crate::image) fn walk(
    before: &Path,
    now: &Path,
    known: &mut Known,
    visitor: &mut dyn Visitor,
) -> io::Result<()> {
    let open = |path: &Path| -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::open(path, flags, Mode::empty()).map_err(io::Error::from);
        opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let (before, now) = (open(before)?, open(now)?);
    let trees = Trees { before: &before, now: &now };
    Walk { trees, known, visitor, frames: Vec::new() }.run()
}

struct Walk<'w> {
    trees: Trees<'w>,
    known: &'w mut Known,
    visitor: &'w mut dyn Visitor,
    /// The directories from the root to here.
    frames: Vec<Frame>,
}

/// A directory that is being walked.
struct Frame {
    path: Vec<u8>,
    change: Change,
    stat: Statx,
    /// Whether the visitor has seen it.
    shown: bool,
    names: vec::IntoIter<Name>,
}

/// A name in a directory, and in which of the trees it is.
struct Name {
    bytes: Vec<u8>,
    before: bool,
    now: bool,
}

impl Walk<'_> {
    fn run(mut self) -> io::Result<()> {
        self.entry(Vec::new(), true, true)?;
        while let Some(frame) = self.frames.last_mut() {
            match frame.names.next() {
                Some(Name { bytes, before, now }) => {
                    let path = join(&frame.path, &bytes);
                    self.entry(path, before, now)?;
                }
                None => drop(self.frames.pop()),
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: Vec<u8>, before: bool, now: bool) -> io::Result<()> {
        let told = path.clone();
        self.step(path, before, now)
            .map_err(|error| io::Error::new(error.kind(), format!("'/{}': {error}", EntryName(told))))
    }

    fn step(&mut self, path: Vec<u8>, before: bool, now: bool) -> io::Result<()> {
        let before = before.then(|| look(self.trees.before, &path)).transpose()?;
        let now = now.then(|| look(self.trees.now, &path)).transpose()?;
        let change = match (&before, &now) {
            (_, None) => Change::Deleted,
            (None, Some(_)) => Change::Added,
            (Some(before), Some(now)) => self.known.compare(self.trees, &path, before, now)?,
        };
        match now {
            Some(now) if is_directory(&now) => {
                let before = before.filter(is_directory);
                let names = self.names(&path, before.as_ref(), &now)?.into_iter();
                let counts = self.visitor.counts(&Entry { path: &path, change, stat: Some(&now) });
                self.frames.push(Frame { path, change, stat: now, shown: false, names });
                if counts { self.show_directories() } else { Ok(()) }
            }
            now => {
                let entry = Entry { path: &path, change, stat: now.as_ref() };
                if !self.visitor.counts(&entry) {
                    return Ok(());
                }
                self.show_directories()?;
                self.visitor.visit(self.trees.now, &entry)
            }
        }
    }

    /// Shows the directories above what counts, as far as they weren't shown before.
    fn show_directories(&mut self) -> io::Result<()> {
        for frame in self.frames.iter_mut().filter(|frame| !frame.shown) {
            frame.shown = true;
            let entry = Entry { path: &frame.path, change: frame.change, stat: Some(&frame.stat) };
            self.visitor.visit(self.trees.now, &entry)?;
        }
        Ok(())
    }

    /// The names in a directory: those that are gone, then those that are there.
    fn names(&self, path: &[u8], before: Option<&Statx>, now: &Statx) -> io::Result<Vec<Name>> {
        let there = sorted_names(self.trees.now, path)?;
        let was = match before {
            None => Vec::new(),
            Some(before) if untouched(before, now) => there.clone(),
            Some(_) => sorted_names(self.trees.before, path)?,
        };
        let is_in = |names: &[Vec<u8>], name: &Vec<u8>| names.binary_search(name).is_ok();
        let gone = was.iter().filter(|name| !is_in(&there, name));
        let gone = gone.map(|name| Name { bytes: name.clone(), before: true, now: false });
        let present = there.iter();
        let present = present.map(|name| Name { bytes: name.clone(), before: is_in(&was, name), now: true });
        Ok(gone.chain(present).collect())
    }
}

fn sorted_names(root: &OwnedFd, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let path = if path.is_empty() { &b"."[..] } else { path };
    let directory = open_below(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut names: Vec<_> = names(&directory)?.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}

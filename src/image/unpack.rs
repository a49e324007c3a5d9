//! Applies the tar of one layer to a mounted directory.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};

use super::dir_times::DirectoryTimes;
use super::error::{ArchiveError, EntryName, Refusal, UnpackError};
use super::metadata::{apply_named, apply_open, set_times};
use super::remove::{clear, remove};
use super::resolve::{Doing, Place, Problem, Root, as_path, file_type, look, open_below};
use super::sparse::Segment;
use super::tar_reader::{Entry, Kind, TarInput, TarReader};
use super::whiteout::Whiteout;

/// What names like `.wh.passwd` mean in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// A layer of an image: they are whiteouts.
    Image,
    /// A root file system by itself: they are ordinary files, as they are for `tar -x`.
    RootFs,
}

/// How to unpack.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// What the archive is.
    pub kind: LayerKind,
    /// Whether the archive must have its end mark. It must, unless a digest tells that it is complete.
    pub strict_end: bool,
    /// Where a temporary file may go, for the times of very many directories.
    pub spool_dir: PathBuf,
}

impl UnpackOptions {
    /// For an archive of this kind, with nothing known about it.
    #[must_use]
    pub fn new(kind: LayerKind) -> Self {
        Self { kind, strict_end: true, spool_dir: std::env::temp_dir() }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes in its files, as long as they say they are.
    pub bytes: u64,
    /// Whiteouts applied.
    pub whiteouts: u64,
    /// Entries that mean something to aufs only, and were left out.
    pub skipped_entries: u64,
    /// Attributes that were left out: labels of `SELinux`, and access control lists as text.
    pub skipped_xattrs: u64,
}

/// Applies the plain tar in `archive` to the directory `root`, and reads it to its end.
pub fn unpack(archive: impl Read, root: &Path, options: &UnpackOptions) -> Result<Unpacked, UnpackError> {
    unpack_input(Buffered(BufReader::with_capacity(256 << 10, archive)), root, options)
}

struct Buffered<R>(BufReader<R>);

impl<R: Read> Read for Buffered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> io::BufRead for Buffered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

impl<R: Read> TarInput for Buffered<R> {}

pub(super) fn unpack_input<R: TarInput>(
    input: R,
    root: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let mut unpacker = Unpacker {
        reader: TarReader::new(input, options.strict_end),
        root: Root::open(root, options.kind == LayerKind::Image)?,
        kind: options.kind,
        times: DirectoryTimes::new(&options.spool_dir),
        done: Unpacked::default(),
    };
    while let Some(entry) = unpacker.reader.next()? {
        unpacker.done.entries += 1;
        unpacker.entry(&entry).map_err(|failure| match failure {
            Failure::Problem(problem) => problem.at(&entry.name),
            Failure::Archive(error) => error.into(),
            Failure::Times(error) => UnpackError::DirectoryTimes(error),
        })?;
    }
    unpacker.reader.drain()?;
    unpacker.times.apply(&mut unpacker.root).map_err(UnpackError::DirectoryTimes)?;
    Ok(unpacker.done)
}

struct Unpacker<R> {
    reader: TarReader<R>,
    root: Root,
    kind: LayerKind,
    times: DirectoryTimes,
    done: Unpacked,
}

/// What can fail at an entry.
enum Failure {
    Problem(Problem),
    Archive(ArchiveError),
    Times(io::Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Problem(refusal.into())
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl<R: TarInput> Unpacker<R> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        let place = Place::of(&entry.name)?;
        if self.kind == LayerKind::Image
            && let Some(whiteout) = Whiteout::of(&place)?
        {
            return Ok(self.whiteout(&place, &whiteout)?);
        }
        self.done.skipped_xattrs += entry.acl_texts;
        if place.is_root() {
            return self.root_directory(entry);
        }
        let parent = self.root.directory(&place.parent, true)?;
        let Some(parent) = parent else { return Ok(()) };
        match entry.kind {
            Kind::File => self.file(&parent, &place, entry),
            Kind::Directory => self.directory(&parent, &place, entry),
            Kind::HardLink => Ok(self.hard_link(&parent, &place, entry)?),
            Kind::Symlink | Kind::Char | Kind::Block | Kind::Fifo => Ok(self.node(&parent, &place, entry)?),
        }
    }

    fn whiteout(&mut self, place: &Place, whiteout: &Whiteout<'_>) -> Result<(), Problem> {
        if *whiteout == Whiteout::Ignore {
            self.done.skipped_entries += 1;
            return Ok(());
        }
        self.done.whiteouts += 1;
        // Where there is no directory, there is nothing to hide in it.
        let Some(parent) = self.root.directory(&place.parent, false)? else { return Ok(()) };
        self.root.forget_last();
        let keep = self.root.touched.as_ref();
        match whiteout {
            Whiteout::Remove(name) => remove(&*parent, name, keep).doing("remove what it hides"),
            Whiteout::Opaque | Whiteout::Ignore => clear(&parent, keep).doing("remove what it hides"),
        }
    }

    fn root_directory(&mut self, entry: &Entry) -> Result<(), Failure> {
        if entry.kind != Kind::Directory {
            return Err(Refusal::RootNotDirectory.into());
        }
        let root = open_below(self.root.fd(), b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY).doing("open it")?;
        let stat = fstat(&root).doing("look at it")?;
        self.done.skipped_xattrs += apply_open(&File::from(root), &stat, entry)?;
        self.times.push(b"", entry.mtime).map_err(Failure::Times)
    }

    fn file(&mut self, parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<(), Failure> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let name = as_path(&place.name);
        let fd =
            self.make(parent, &place.name, "make it", || openat(parent, name, flags, first_mode(entry)))?;
        let mut file = File::from(fd);
        match &entry.segments {
            None => self.copy(&mut file)?,
            Some(segments) => self.copy_sparse(&file, segments, entry.size)?,
        }
        self.done.bytes += entry.size;
        let stat = fstat(&file).doing("look at it")?;
        self.root.touch(stat.st_ino);
        self.done.skipped_xattrs += apply_open(&file, &stat, entry)?;
        set_times(&file, entry.mtime).doing("set its time")?;
        Ok(())
    }

    /// Copies the entry's data, straight from the reader's buffer.
    fn copy(&mut self, file: &mut File) -> Result<(), Failure> {
        loop {
            let chunk = self.reader.chunk()?;
            if chunk.is_empty() {
                return Ok(());
            }
            file.write_all(chunk).map_err(|error| writing(&error))?;
            let length = chunk.len();
            self.reader.consume(length);
        }
    }

    /// Copies the runs of data to their places; the rest stays a hole.
    #[allow(clippy::disallowed_methods, reason = "no step: a draft that is half filled is reaped as a whole")]
    fn copy_sparse(&mut self, file: &File, segments: &[Segment], size: u64) -> Result<(), Failure> {
        for segment in segments {
            let mut at = segment.offset;
            let mut left = segment.length;
            while left > 0 {
                let chunk = self.reader.chunk()?;
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                file.write_all_at(&chunk[..length], at).map_err(|error| writing(&error))?;
                self.reader.consume(length);
                at += length as u64;
                left -= length as u64;
            }
        }
        file.set_len(size).map_err(|error| writing(&error))?;
        Ok(())
    }

    fn directory(&mut self, parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<(), Failure> {
        let name = as_path(&place.name);
        let mkdir = || mkdirat(parent, name, first_mode(entry));
        match mkdir() {
            Err(Errno::EEXIST) => {
                let there = look(parent, name).doing("look at what is there")?;
                if file_type(&there) != SFlag::S_IFDIR {
                    self.make(parent, &place.name, "make it", mkdir)?;
                }
            }
            done => done.doing("make it")?,
        }
        let fd = open_below(parent, &place.name, OFlag::O_RDONLY | OFlag::O_DIRECTORY).doing("open it")?;
        let directory = File::from(fd);
        let stat = fstat(&directory).doing("look at it")?;
        self.root.touch(stat.st_ino);
        self.done.skipped_xattrs += apply_open(&directory, &stat, entry)?;
        let path = place.path();
        self.times.push(&path, entry.mtime).map_err(Failure::Times)?;
        self.root.remember_last(path, directory.into());
        Ok(())
    }

    /// A symbolic link, a device or a fifo.
    fn node(&mut self, parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<(), Problem> {
        let name = as_path(&place.name);
        let mode = Mode::from_bits_truncate(0o600);
        let node = |kind, device| mknodat(parent, name, kind, mode, device);
        let device = makedev(entry.device.0.into(), entry.device.1.into());
        self.make(parent, &place.name, "make it", || match entry.kind {
            Kind::Symlink => symlinkat(as_path(&entry.link), parent, name),
            Kind::Char => node(SFlag::S_IFCHR, device),
            Kind::Block => node(SFlag::S_IFBLK, device),
            _ => node(SFlag::S_IFIFO, 0),
        })?;
        let symlink = entry.kind == Kind::Symlink;
        if symlink || self.root.touched.is_some() {
            let inode = look(parent, name).doing("look at it")?.st_ino;
            self.root.touch(inode);
            if symlink {
                self.root.planted.insert(inode);
            }
        }
        self.done.skipped_xattrs += apply_named(parent, &place.name, entry)?;
        Ok(())
    }

    fn hard_link(&mut self, parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<(), Problem> {
        let told = || EntryName(entry.link.clone());
        let target = Place::of(&entry.link).map_err(|_| Refusal::LinkOutside(told()))?;
        let directory = self.root.directory(&target.parent, false)?;
        let directory = directory.ok_or_else(|| Refusal::LinkMissing(told()))?;
        if target.is_root() {
            return Err(Refusal::LinkToDirectory(told()).into());
        }
        let (from, to) = (as_path(&target.name), as_path(&place.name));
        let there = match look(&*directory, from) {
            Err(Errno::ENOENT) => return Err(Refusal::LinkMissing(told()).into()),
            there => there.doing("look at the target of the link")?,
        };
        match file_type(&there) {
            SFlag::S_IFDIR => return Err(Refusal::LinkToDirectory(told()).into()),
            // A second name for a link is a link that this archive has made.
            SFlag::S_IFLNK => self.root.planted.insert(there.st_ino),
            _ => {}
        }
        self.root.touch(there.st_ino);
        let link = || linkat(&*directory, from, parent, to, AtFlags::empty());
        match link() {
            Err(Errno::EEXIST) => {
                let old = look(parent, to).doing("look at what is there")?;
                // Both names are the same file already: removing one first could remove the file.
                let same = (old.st_dev, old.st_ino) == (there.st_dev, there.st_ino);
                if same { Ok(()) } else { self.make(parent, &place.name, "link it", link) }
            }
            linked => linked.doing("link it"),
        }
    }

    /// Makes something, in the place of what was there before.
    fn make<T>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        action: &'static str,
        make: impl Fn() -> nix::Result<T>,
    ) -> Result<T, Problem> {
        match make() {
            Err(Errno::EEXIST) => {
                self.root.forget_last();
                remove(parent, name, None).doing("remove what was there before")?;
                make().doing(action)
            }
            done => done.doing(action),
        }
    }
}

/// The mode to make a file with: the final one as far as nobody gains rights by it before the owner is set.
fn first_mode(entry: &Entry) -> Mode {
    Mode::from_bits_truncate(entry.mode & 0o777)
}

fn writing(error: &io::Error) -> Problem {
    Problem::System("write it", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

#[cfg(test)]
mod tests;

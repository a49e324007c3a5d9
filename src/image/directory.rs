//! A directory as a tar stream, so that there is one way into a layer. The same tree always gives the same bytes:
//! names are sorted, and nothing of the host (inode numbers, access times, names of users) goes in.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::vec;

use nix::fcntl::{FcntlArg, OFlag, fcntl, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use tar::EntryType;
use xattr::FileExt;

use super::metadata::through_descriptor;
use super::remove::{join, names};
use super::resolve::{as_path, file_type, look, open_below};
use super::tar_writer::{Head, TarWriter, xattrs};

const BUFFER: usize = 256 << 10;

/// The stream, which a thread writes.
pub(super) struct DirectoryStream {
    pipe: PipeReader,
    writer: Option<JoinHandle<io::Result<()>>>,
}

/// Starts to stream a directory. Sockets can't be kept: they are counted.
pub(super) fn stream(path: &Path, sockets: Arc<AtomicU64>) -> io::Result<DirectoryStream> {
    let root =
        nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let (pipe, out) = io::pipe()?;
    // Fewer switches between the threads; a refusal doesn't matter.
    let _ = fcntl(&out, FcntlArg::F_SETPIPE_SZ(1 << 20));
    let shown = path.to_owned();
    let writer = thread::Builder::new().name("directory-reader".to_owned()).spawn(move || {
        let out = TarWriter::new(BufWriter::with_capacity(BUFFER, out));
        Streamer { out, root, shown, links: HashMap::new(), sockets, frames: Vec::new() }.run()
    })?;
    Ok(DirectoryStream { pipe, writer: Some(writer) })
}

impl Read for DirectoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pipe.read(buffer)?;
        // At the end, the thread tells whether it was the end of the directory.
        if read == 0
            && !buffer.is_empty()
            && let Some(writer) = self.writer.take()
        {
            writer.join().map_err(|_| io::Error::other("the thread that reads the directory has died"))??;
        }
        Ok(read)
    }
}

struct Streamer<W> {
    out: TarWriter<W>,
    root: OwnedFd,
    shown: PathBuf,
    /// The first name of each file that has several, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    sockets: Arc<AtomicU64>,
    /// The directories from the root to here.
    frames: Vec<Frame>,
}

/// A directory that is being streamed. Only the innermost is open, however deep the tree.
struct Frame {
    path: Vec<u8>,
    open: Option<OwnedFd>,
    names: vec::IntoIter<(Vec<u8>, bool)>,
}

impl<W: Write> Streamer<W> {
    fn run(mut self) -> io::Result<()> {
        self.enter(Vec::new())?;
        while let Some(mut frame) = self.frames.pop() {
            let Some((name, _)) = frame.names.next() else { continue };
            let path = join(&frame.path, &name);
            let open = match frame.open.take() {
                Some(open) => open,
                None => self.told(&frame.path, open_directory(&self.root, &frame.path))?,
            };
            let entered = self.child(&open, &name, &path);
            if let Some(path) = entered.map_err(|error| self.tell(&path, &error))? {
                drop(open);
                self.frames.push(frame);
                self.enter(path)?;
            } else {
                frame.open = Some(open);
                self.frames.push(frame);
            }
        }
        self.out.finish().map(drop)
    }

    fn tell(&self, path: &[u8], error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown.join(as_path(path)).display()))
    }

    fn told<T>(&self, path: &[u8], result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| self.tell(path, &error))
    }

    /// Writes a directory's own entry, and makes it the innermost.
    fn enter(&mut self, path: Vec<u8>) -> io::Result<()> {
        let open = self.told(&path, open_directory(&self.root, &path))?;
        let told = self.directory(&open, &path);
        self.told(&path, told)?;
        let mut names = self.told(&path, names(&open).map_err(io::Error::from))?;
        names.sort_unstable();
        self.frames.push(Frame { path, open: Some(open), names: names.into_iter() });
        Ok(())
    }

    fn directory(&mut self, open: &OwnedFd, path: &[u8]) -> io::Result<()> {
        let stat = fstat(open)?;
        let file = File::from(open.try_clone()?);
        let xattrs = xattrs(file.list_xattr(), |name| file.get_xattr(name))?;
        let shown = if path.is_empty() { b"./".to_vec() } else { [path, b"/"].concat() };
        let attributes = (&stat).into();
        let head = Head { path: &shown, link: b"", kind: EntryType::Directory, attributes, size: 0, xattrs };
        self.out.head(&head)
    }

    /// Writes the entry of anything but a directory; of that, returns the path.
    fn child(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let stat = look(directory, as_path(name))?;
        let kind = match file_type(&stat) {
            SFlag::S_IFDIR => return Ok(Some(path.to_vec())),
            SFlag::S_IFSOCK => {
                self.sockets.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            SFlag::S_IFREG => EntryType::Regular,
            SFlag::S_IFLNK => EntryType::Symlink,
            SFlag::S_IFCHR => EntryType::Char,
            SFlag::S_IFBLK => EntryType::Block,
            _ => EntryType::Fifo,
        };
        if stat.st_nlink > 1 && self.second_name(&stat, path)? {
            return Ok(None);
        }
        if kind == EntryType::Regular {
            return self.file(directory, name, path).map(|()| None);
        }
        let link = match kind {
            EntryType::Symlink => readlinkat(directory, as_path(name))?,
            _ => std::ffi::OsString::new(),
        };
        let full = through_descriptor(directory, name);
        let xattrs = xattrs(xattr::list(&full), |name| xattr::get(&full, name))?;
        let attributes = (&stat).into();
        self.out.head(&Head { path, link: link.as_bytes(), kind, attributes, size: 0, xattrs })?;
        Ok(None)
    }

    /// Writes a hard link if the file was there already under another name.
    fn second_name(&mut self, stat: &FileStat, path: &[u8]) -> io::Result<bool> {
        let key = (stat.st_dev, stat.st_ino);
        let Some((first, left)) = self.links.get_mut(&key) else {
            #[allow(clippy::useless_conversion, reason = "the count is narrower on some machines")]
            self.links.insert(key, (path.to_vec(), u64::from(stat.st_nlink) - 1));
            return Ok(false);
        };
        let first = first.clone();
        *left -= 1;
        if *left == 0 {
            self.links.remove(&key);
        }
        let attributes = stat.into();
        let kind = EntryType::Link;
        self.out.head(&Head { path, link: &first, kind, attributes, size: 0, xattrs: Vec::new() })?;
        Ok(true)
    }

    fn file(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<()> {
        // Should a fifo or a device be there by now, opening it must not wait or act.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut file = File::from(open_below(directory, name, flags)?);
        let stat = fstat(&file)?;
        if file_type(&stat) != SFlag::S_IFREG {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let xattrs = xattrs(file.list_xattr(), |name| file.get_xattr(name))?;
        let attributes = (&stat).into();
        let head = Head { path, link: b"", kind: EntryType::Regular, attributes, size, xattrs };
        self.out.file(&head, &mut file, &mut |_| ())
    }
}

fn open_directory(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    Ok(open_below(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)
}

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
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};
use tar::{EntryType, Header};
use xattr::FileExt;

use super::metadata::{SELINUX, through_descriptor};
use super::pax::{encode_name, write_record};
use super::remove::{join, names};
use super::resolve::{as_path, file_type, look, open_below};

const BUFFER: usize = 256 << 10;
/// The largest numbers that fit the octal fields of a header.
const MAX_ID: u32 = 0o7_777_777;
const MAX_NUMBER: u64 = 0o77_777_777_777;

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
        let out = BufWriter::with_capacity(BUFFER, out);
        Streamer {
            out,
            root,
            shown,
            links: HashMap::new(),
            sockets,
            buffer: vec![0; BUFFER],
            frames: Vec::new(),
        }
        .run()
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
    out: W,
    root: OwnedFd,
    shown: PathBuf,
    /// The first name of each file that has several, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    sockets: Arc<AtomicU64>,
    buffer: Vec<u8>,
    /// The directories from the root to here.
    frames: Vec<Frame>,
}

/// A directory that is being streamed. Only the innermost is open, however deep the tree.
struct Frame {
    path: Vec<u8>,
    open: Option<OwnedFd>,
    names: vec::IntoIter<(Vec<u8>, bool)>,
}

/// What goes into an entry's headers.
struct Head<'h> {
    path: &'h [u8],
    link: &'h [u8],
    kind: EntryType,
    stat: &'h FileStat,
    size: u64,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
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
        self.out.write_all(&[0; 1024])?;
        self.out.flush()
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
        self.head(&Head { path: &shown, link: b"", kind: EntryType::Directory, stat: &stat, size: 0, xattrs })
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
        self.head(&Head { path, link: link.as_bytes(), kind, stat: &stat, size: 0, xattrs })?;
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
        self.head(&Head { path, link: &first, kind: EntryType::Link, stat, size: 0, xattrs: Vec::new() })?;
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
        self.head(&Head { path, link: b"", kind: EntryType::Regular, stat: &stat, size, xattrs })?;
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = file.read(&mut self.buffer[..length])?;
            if read == 0 {
                return Err(io::Error::other("it became shorter while it was read"));
            }
            self.out.write_all(&self.buffer[..read])?;
            left -= read as u64;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
        self.out.write_all(&[0; 512][..padding])
    }

    /// Writes an entry's header, after an extended one for what doesn't fit it.
    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        let records = records(head);
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            put_name(&mut header, b"PaxHeaders/entry");
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(records.len() as u64);
            header.set_cksum();
            self.out.write_all(header.as_bytes())?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        let mut header = Header::new_ustar();
        put_name(&mut header, head.path);
        put(&mut header.as_old_mut().linkname, head.link);
        header.set_entry_type(head.kind);
        header.set_mode(head.stat.st_mode & 0o7777);
        header.set_uid(head.stat.st_uid.min(MAX_ID).into());
        header.set_gid(head.stat.st_gid.min(MAX_ID).into());
        header.set_size(head.size.min(MAX_NUMBER));
        header.set_mtime(u64::try_from(head.stat.st_mtime).unwrap_or(0).min(MAX_NUMBER));
        if matches!(head.kind, EntryType::Char | EntryType::Block) {
            let number = |number: u64| u32::try_from(number).map_err(io::Error::other);
            header.set_device_major(number(major(head.stat.st_rdev))?)?;
            header.set_device_minor(number(minor(head.stat.st_rdev))?)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }
}

fn open_directory(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    Ok(open_below(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)
}

fn put_name(header: &mut Header, name: &[u8]) {
    put(&mut header.as_old_mut().name, name);
}

/// As much of a value as its field takes; the rest is in an extended header.
fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// The extended header of what doesn't fit the plain one.
fn records(head: &Head<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    let (secs, nanos) = (head.stat.st_mtime, head.stat.st_mtime_nsec);
    if head.path.len() > 100 {
        write_record(&mut records, b"path", head.path);
    }
    if head.link.len() > 100 {
        write_record(&mut records, b"linkpath", head.link);
    }
    if nanos != 0 || u64::try_from(secs).is_ok_and(|secs| secs > MAX_NUMBER) || secs < 0 {
        let text = match (secs, nanos) {
            (secs, 0) => secs.to_string(),
            (secs @ ..0, nanos) => format!("-{}.{:09}", -(secs + 1), 1_000_000_000 - nanos),
            (secs, nanos) => format!("{secs}.{nanos:09}"),
        };
        write_record(&mut records, b"mtime", text.as_bytes());
    }
    for (key, id) in [(b"uid", head.stat.st_uid), (b"gid", head.stat.st_gid)] {
        if id > MAX_ID {
            write_record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if head.size > MAX_NUMBER {
        write_record(&mut records, b"size", head.size.to_string().as_bytes());
    }
    for (name, value) in &head.xattrs {
        write_record(&mut records, &[b"SCHILY.xattr.", &encode_name(name)[..]].concat(), value);
    }
    records
}

/// The attributes that belong to the file and not to the host, sorted.
fn xattrs(
    list: io::Result<xattr::XAttrs>,
    get: impl Fn(&std::ffi::OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = match list {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
        list => list?,
    };
    let mut xattrs = Vec::new();
    for name in list {
        let bytes = name.as_bytes();
        let kept = [&b"user."[..], b"trusted.", b"security.", b"system.posix_acl_"];
        if bytes != SELINUX
            && kept.iter().any(|prefix| bytes.starts_with(prefix))
            && let Some(value) = get(&name)?
        {
            xattrs.push((bytes.to_vec(), value));
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

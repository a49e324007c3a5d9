//! Writes tar archives in the form that every image builder reads: ustar headers, with POSIX extended headers for what
//! doesn't fit them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, major, minor};
use nix::unistd::{Whence, lseek};
use rustix::fs::Statx;
use tar::{EntryType, Header};

use super::metadata::SELINUX;
use super::pax::{Time, encode_name, write_record};
use super::sparse::{MAX_SEGMENTS, Segment};

const BUFFER: usize = 256 << 10;
const BLOCK: usize = 512;
/// The largest numbers that fit the octal fields of a header.
const MAX_ID: u32 = 0o7_777_777;
const MAX_NUMBER: u64 = 0o77_777_777_777;
/// XFS lists an access control list by this name too, besides the one that every file system has for it.
const XFS_ACL: &[u8] = b"trusted.SGI_ACL_";

/// An archive in the making.
pub(super) struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

/// What is known of a file besides its name and its content.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) device: (u64, u64),
}

/// What goes into an entry's headers.
pub(super) struct Head<'h> {
    pub(super) path: &'h [u8],
    pub(super) link: &'h [u8],
    pub(super) kind: EntryType,
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl From<&FileStat> for Attributes {
    fn from(stat: &FileStat) -> Self {
        Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
            device: (major(stat.st_rdev), minor(stat.st_rdev)),
        }
    }
}

impl From<&Statx> for Attributes {
    fn from(stat: &Statx) -> Self {
        Self {
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mtime: Time { secs: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec },
            device: (stat.stx_rdev_major.into(), stat.stx_rdev_minor.into()),
        }
    }
}

impl<W: Write> TarWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, buffer: vec![0; BUFFER] }
    }

    /// Writes the end mark, and gives back what was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes an entry's header, after an extended one for what doesn't fit it.
    pub(super) fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        self.head_with(head, &records(head))
    }

    /// A file and its content. `wrote` is told how many bytes of it are done.
    pub(super) fn file(
        &mut self,
        head: &Head<'_>,
        file: &mut File,
        wrote: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        self.head(head)?;
        self.content(file, head.size, wrote)?;
        self.pad(head.size)
    }

    /// A file and its runs of data, without the holes between them: the format that GNU tar calls 1.0, which Go's
    /// library reads too, and so every builder of images.
    pub(super) fn sparse_file(
        &mut self,
        head: &Head<'_>,
        file: &mut File,
        segments: &[Segment],
        wrote: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        let map = sparse_map(segments);
        let data: u64 = segments.iter().map(|segment| segment.length).sum();
        let stored = Head {
            path: b"GNUSparseFile.0/entry",
            size: map.len() as u64 + data,
            xattrs: head.xattrs.clone(),
            ..*head
        };
        let mut records = records(&stored);
        for (key, value) in [(&b"GNU.sparse.major"[..], "1"), (b"GNU.sparse.minor", "0")] {
            write_record(&mut records, key, value.as_bytes());
        }
        write_record(&mut records, b"GNU.sparse.name", head.path);
        write_record(&mut records, b"GNU.sparse.realsize", head.size.to_string().as_bytes());
        self.head_with(&stored, &records)?;
        self.out.write_all(&map)?;
        let mut done = 0;
        for segment in segments {
            file.seek(SeekFrom::Start(segment.offset))?;
            wrote(segment.offset.saturating_sub(done));
            self.content(file, segment.length, wrote)?;
            done = segment.offset + segment.length;
        }
        wrote(head.size.saturating_sub(done));
        self.pad(data)
    }

    fn content(&mut self, file: &mut File, size: u64, wrote: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = file.read(&mut self.buffer[..length])?;
            if read == 0 {
                return Err(io::Error::other("it became shorter while it was read"));
            }
            self.out.write_all(&self.buffer[..read])?;
            left -= read as u64;
            wrote(read as u64);
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
        self.out.write_all(&[0; BLOCK][..padding])
    }

    fn head_with(&mut self, head: &Head<'_>, records: &[u8]) -> io::Result<()> {
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            put(&mut header.as_old_mut().name, b"PaxHeaders/entry");
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(records.len() as u64);
            header.set_cksum();
            self.out.write_all(header.as_bytes())?;
            self.out.write_all(records)?;
            self.pad(records.len() as u64)?;
        }
        let Attributes { mode, uid, gid, mtime, device } = head.attributes;
        let mut header = Header::new_ustar();
        put(&mut header.as_old_mut().name, head.path);
        put(&mut header.as_old_mut().linkname, head.link);
        header.set_entry_type(head.kind);
        header.set_mode(mode);
        header.set_uid(uid.min(MAX_ID).into());
        header.set_gid(gid.min(MAX_ID).into());
        header.set_size(head.size.min(MAX_NUMBER));
        header.set_mtime(u64::try_from(mtime.secs).unwrap_or(0).min(MAX_NUMBER));
        if matches!(head.kind, EntryType::Char | EntryType::Block) {
            let number = |number: u64| u32::try_from(number).map_err(io::Error::other);
            header.set_device_major(number(device.0)?)?;
            header.set_device_minor(number(device.1)?)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }
}

/// As much of a value as its field takes; the rest is in an extended header.
fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// The extended header of what doesn't fit the plain one.
fn records(head: &Head<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    let Attributes { uid, gid, mtime: Time { secs, nanos }, .. } = head.attributes;
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
    for (key, id) in [(b"uid", uid), (b"gid", gid)] {
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

/// The map of a sparse file: how many runs, then where each begins and how long it is, in whole blocks.
fn sparse_map(segments: &[Segment]) -> Vec<u8> {
    let numbers = segments.iter().flat_map(|segment| [segment.offset, segment.length]);
    let numbers = std::iter::once(segments.len() as u64).chain(numbers);
    let mut map: Vec<u8> = numbers.flat_map(|number| format!("{number}\n").into_bytes()).collect();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// The runs of data in a file that has holes; none for one that has none worth the trouble.
pub(super) fn segments(file: &File, size: u64) -> io::Result<Option<Vec<Segment>>> {
    let end = i64::try_from(size).map_err(io::Error::other)?;
    let mut segments = Vec::new();
    let mut at = 0;
    while at < end {
        let data = match lseek(file, at, Whence::SeekData) {
            Ok(data) => data.min(end),
            // Nothing but a hole is left.
            Err(Errno::ENXIO) => break,
            // The file system doesn't tell.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if data == end {
            break;
        }
        at = lseek(file, data, Whence::SeekHole)?.min(end);
        segments.push(Segment { offset: data.cast_unsigned(), length: (at - data).cast_unsigned() });
    }
    lseek(file, 0, Whence::SeekSet)?;
    if size == 0 {
        return Ok(None);
    }
    // GNU tar makes a file as long as its last run reaches, whatever its real size; so a hole at the end needs one, too.
    if segments.last().is_none_or(|last| last.offset + last.length < size) {
        segments.push(Segment { offset: size, length: 0 });
    }
    let whole = matches!(segments[..], [Segment { offset: 0, length }] if length == size);
    Ok((!whole && segments.len() <= MAX_SEGMENTS).then_some(segments))
}

/// The attributes that belong to the file and not to the host, sorted.
pub(super) fn xattrs(
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
            && !bytes.starts_with(XFS_ACL)
            && kept.iter().any(|prefix| bytes.starts_with(prefix))
            && let Some(value) = get(&name)?
        {
            xattrs.push((bytes.to_vec(), value));
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

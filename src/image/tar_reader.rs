//! Reads a tar archive entry by entry, in memory that no archive can make grow.
//!
//! The headers themselves are the `tar` crate's. Its iterator isn't used, because it reads long names and extended
//! headers whole however long they claim to be, splits extended headers at newlines (which breaks binary attributes),
//! and takes an archive that was cut off between two entries for a complete one.

use std::io::{self, BufRead};

use tar::{EntryType, Header};

use super::error::{ArchiveError, EntryName};
use super::pax::{Pax, Time};
use super::sparse::{self, Map, Segment};

const BLOCK: u64 = 512;
/// The most a long name or an extended header may take, as in Go's archive/tar, which every image builder uses.
const MAX_EXTENSION: u64 = 1 << 20;

/// Something a tar archive can be read from.
pub(super) trait TarInput: BufRead {
    /// Skips that many bytes, or to the end; how many it skipped.
    fn skip_bytes(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        while left > 0 {
            let available = fill(self)?.len() as u64;
            if available == 0 {
                break;
            }
            let step = available.min(left);
            self.consume(usize::try_from(step).unwrap_or(usize::MAX));
            left -= step;
        }
        Ok(count - left)
    }
}

impl TarInput for &[u8] {}

impl<T: TarInput + ?Sized> TarInput for &mut T {
    fn skip_bytes(&mut self, count: u64) -> io::Result<u64> {
        (**self).skip_bytes(count)
    }
}

/// `fill_buf` that goes on after a signal.
fn fill<R: BufRead + ?Sized>(input: &mut R) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The buffer is full now, so this is without a system call; the loop can't return it because of its lifetime.
    input.fill_buf()
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// One entry, with all that the headers before it say.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: Time,
    pub(super) device: (u32, u32),
    /// The length of the file it makes.
    pub(super) size: u64,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) acl_texts: u64,
    /// The runs of data of a sparse file.
    pub(super) segments: Option<Vec<Segment>>,
}

/// The archive, and how far it was read.
pub(super) struct TarReader<R> {
    input: R,
    position: u64,
    /// What is left of the entry's data, and the padding after it.
    data: u64,
    padding: u64,
    globals: Pax,
    entries: u64,
    /// Whether an archive without an end mark is an error.
    strict: bool,
}

/// What headers before an entry said about it.
#[derive(Default)]
struct Ahead {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: TarInput> TarReader<R> {
    /// With `strict`, an archive must have its end mark. Without, it may end after any entry: for when a digest
    /// tells whether it is complete, as some image builders leave the end mark out.
    pub(super) fn new(input: R, strict: bool) -> Self {
        Self { input, position: 0, data: 0, padding: 0, globals: Pax::default(), entries: 0, strict }
    }

    /// The next entry. What wasn't read of the one before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut ahead = Ahead::default();
        loop {
            self.skip_data()?;
            let start = self.position;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header.as_old().size).and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or_else(|| damaged(start, "the size of an entry is malformed"))?;
            self.set_data(start, size)?;
            match header.entry_type().as_byte() {
                // Solaris wrote X before POSIX chose x.
                b'x' | b'X' => {
                    let pax = ahead.pax.get_or_insert_with(|| self.globals.clone());
                    let data = self.extension(start)?;
                    pax.read(&data).map_err(|why| damaged(start, why))?;
                }
                b'g' => {
                    let data = self.extension(start)?;
                    self.globals.read(&data).map_err(|why| damaged(start, why))?;
                }
                b'L' => ahead.name = Some(c_string(self.extension(start)?)),
                b'K' => ahead.link = Some(c_string(self.extension(start)?)),
                // The volume's label.
                b'V' => {}
                _ => return self.entry(start, &header, size, ahead).map(Some),
            }
        }
    }

    /// The next piece of the entry's data; empty when there is no more.
    pub(super) fn chunk(&mut self) -> Result<&[u8], ArchiveError> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let position = self.position;
        let buffer = fill(&mut self.input)?;
        if buffer.is_empty() {
            return Err(ArchiveError::Truncated { offset: position });
        }
        let length = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..length])
    }

    /// Takes that much of the last [`Self::chunk`].
    pub(super) fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.position += count as u64;
        self.data -= count as u64;
    }

    /// Where the entry's data begin in the uncompressed archive, if none were read yet, and how many there are.
    pub(super) fn data_position(&self) -> (u64, u64) {
        (self.position, self.data)
    }

    /// Reads what follows the archive, since a layer's digest is over all of it.
    pub(super) fn drain(&mut self) -> Result<(), ArchiveError> {
        self.position += self.input.skip_bytes(u64::MAX)?;
        Ok(())
    }

    fn entry(
        &mut self,
        start: u64,
        header: &Header,
        on_tape: u64,
        ahead: Ahead,
    ) -> Result<Entry, ArchiveError> {
        let mut pax = ahead.pax.unwrap_or_else(|| self.globals.clone());
        let old = header.as_old();
        let name = pax.sparse.name.take().or(pax.path.take()).or(ahead.name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.take().or(ahead.link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let field = |bytes: &[u8], what: &str| {
            number(bytes).ok_or_else(|| {
                damaged(start, format!("the {what} of '{}' is malformed", EntryName(name.clone())))
            })
        };
        let id = |bytes: &[u8], what| field(bytes, what).map(|id| u64::try_from(id).unwrap_or(u64::MAX));
        let mut kind = kind(header.entry_type()).ok_or_else(|| ArchiveError::UnknownType {
            entry: EntryName(name.clone()),
            kind: old.linkflag[0].into(),
        })?;
        let on_tape = pax.size.unwrap_or(on_tape);
        // Only files have data, whatever the header says (Go's archive/tar reads it so, and all must agree).
        self.set_data(start, if kind == Kind::File { on_tape } else { 0 })?;
        let mut size = self.data;
        let segments = self.segments(start, header, &pax, &mut size)?;
        if kind == Kind::File && name.ends_with(b"/") {
            // How the oldest archives write a directory.
            kind = Kind::Directory;
        }
        let device = |bytes: &[u8]| match number(bytes).and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(number),
            None if !matches!(kind, Kind::Char | Kind::Block) => Ok(0),
            None => Err(damaged(start, "a device number is malformed")),
        };
        let mode = u32::try_from(field(&old.mode, "mode")? & 0o7777).unwrap_or(0);
        let uid = pax.uid.map_or_else(|| id(&old.uid, "owner"), Ok)?;
        let gid = pax.gid.map_or_else(|| id(&old.gid, "group"), Ok)?;
        let mtime =
            pax.mtime.map_or_else(|| field(&old.mtime, "time").map(|secs| Time { secs, nanos: 0 }), Ok)?;
        // The oldest format has no device numbers; the other two have them at the same place.
        let device = match header.as_ustar().map(|header| (&header.dev_major, &header.dev_minor)) {
            Some((major, minor)) => (device(major)?, device(minor)?),
            None => match header.as_gnu() {
                Some(header) => (device(&header.dev_major)?, device(&header.dev_minor)?),
                None => (0, 0),
            },
        };
        let (xattrs, acl_texts) = (pax.xattrs, pax.acl_texts);
        self.entries += 1;
        Ok(Entry { name, link, kind, mode, uid, gid, mtime, device, size, xattrs, acl_texts, segments })
    }

    /// The runs of data, if this is a sparse file; and its real size.
    fn segments(
        &mut self,
        start: u64,
        header: &Header,
        pax: &Pax,
        size: &mut u64,
    ) -> Result<Option<Vec<Segment>>, ArchiveError> {
        let segments = if header.entry_type() == EntryType::GNUSparse {
            let gnu = header.as_gnu().ok_or_else(|| damaged(start, "a sparse file without GNU's header"))?;
            *size = gnu.real_size().map_err(|_| damaged(start, "the size of a sparse file is malformed"))?;
            let data = self.data;
            let segments = sparse::old_gnu(gnu, |block| self.read_exact(block))?;
            self.set_data(start, data)?;
            segments.map_err(|why| damaged(start, why))?
        } else {
            match pax.sparse.map().map_err(|why| damaged(start, why))? {
                Map::Known(None) => return Ok(None),
                Map::Known(Some(segments)) => segments,
                Map::InData => self.map_in_data(start)?,
            }
        };
        *size = pax.sparse.size.unwrap_or(*size);
        sparse::check(&segments, *size, self.data).map_err(|why| damaged(start, why))?;
        Ok(Some(segments))
    }

    fn map_in_data(&mut self, start: u64) -> Result<Vec<Segment>, ArchiveError> {
        let (segments, used) = sparse::in_data(&mut self.input)?.map_err(|why| damaged(start, why))?;
        self.position += used;
        self.data = self
            .data
            .checked_sub(used)
            .ok_or_else(|| damaged(start, "the map of a sparse file is longer than its data"))?;
        Ok(segments)
    }

    /// The next header, or none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let start = self.position;
        let mut header = Header::new_old();
        let read = self.read_some(header.as_mut_bytes())?;
        if read < BLOCK {
            // Nothing at all, where an end mark may be left out, is the only end between two blocks.
            let ended = read == 0 && !self.strict;
            return if ended { Ok(None) } else { Err(self.cut_off()) };
        }
        if is_zero(header.as_bytes()) {
            return self.end_mark();
        }
        if !checksum_fits(&header) {
            return Err(if start == 0 {
                ArchiveError::NotTar
            } else {
                damaged(start, "the checksum of a header is wrong")
            });
        }
        Ok(Some(header))
    }

    /// The second of the two zero blocks.
    fn end_mark(&mut self) -> Result<Option<Header>, ArchiveError> {
        let start = self.position;
        let mut block = Header::new_old();
        let read = self.read_some(block.as_mut_bytes())?;
        match read {
            BLOCK if is_zero(block.as_bytes()) => Ok(None),
            BLOCK => Err(damaged(start, "there is something after the first half of the end mark")),
            0 if !self.strict => Ok(None),
            _ => Err(self.cut_off()),
        }
    }

    fn cut_off(&self) -> ArchiveError {
        // A few bytes that aren't a header's are no beginning of an archive.
        let nothing = self.position < BLOCK && self.entries == 0;
        if nothing { ArchiveError::NotTar } else { ArchiveError::Truncated { offset: self.position } }
    }

    /// The data of a header that describes another.
    fn extension(&mut self, start: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.data > MAX_EXTENSION {
            return Err(damaged(start, format!("an extended header of {} bytes: too long", self.data)));
        }
        let mut data = vec![0; usize::try_from(self.data).unwrap_or_default()];
        self.read_exact(&mut data)?;
        self.data = 0;
        Ok(data)
    }

    fn set_data(&mut self, start: u64, size: u64) -> Result<(), ArchiveError> {
        let end =
            size.checked_next_multiple_of(BLOCK).filter(|end| self.position.checked_add(*end).is_some());
        let end = end.ok_or_else(|| damaged(start, "the size of an entry is beyond all files"))?;
        self.data = size;
        self.padding = end - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), ArchiveError> {
        let (data, padding) = (self.data, self.padding);
        let skipped = self.input.skip_bytes(data + padding)?;
        self.position += skipped;
        (self.data, self.padding) = (0, 0);
        // An archiver that was never told to finish (umoci 0.4 writes such layers) leaves out the last padding
        // together with the end mark; Go's archive/tar, which all its kin read with, takes that for the end.
        let complete = if self.strict { data + padding } else { data };
        if skipped >= complete { Ok(()) } else { Err(ArchiveError::Truncated { offset: self.position }) }
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let wanted = buffer.len() as u64;
        let read = self.read_some(buffer)?;
        if read == wanted { Ok(()) } else { Err(ArchiveError::Truncated { offset: self.position }) }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<u64, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let available = fill(&mut self.input)?;
            let step = available.len().min(buffer.len() - filled);
            if step == 0 {
                break;
            }
            buffer[filled..filled + step].copy_from_slice(&available[..step]);
            self.input.consume(step);
            filled += step;
        }
        self.position += filled as u64;
        Ok(filled as u64)
    }
}

fn damaged(offset: u64, why: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged { offset, why: why.into() }
}

fn kind(kind: EntryType) -> Option<Kind> {
    Some(match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Char => Kind::Char,
        EntryType::Block => Kind::Block,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        _ => return None,
    })
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// The sum of a header's bytes, its own field taken as spaces. Some old programs summed signed bytes.
fn checksum_fits(header: &Header) -> bool {
    let Some(expected) = number(&header.as_old().cksum) else { return false };
    let bytes = || {
        header.as_bytes().iter().enumerate().map(|(at, &b)| if (148..156).contains(&at) { b' ' } else { b })
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    expected == unsigned || expected == signed
}

/// A number of a header: octal digits, or the base-256 that GNU tar writes for what is too large or negative.
fn number(field: &[u8]) -> Option<i64> {
    match field {
        [0x80, rest @ ..] => rest.iter().try_fold(0_i64, |n, &b| n.checked_mul(256)?.checked_add(b.into())),
        [0xff, rest @ ..] => rest.iter().try_fold(-1_i64, |n, &b| n.checked_mul(256)?.checked_add(b.into())),
        field => {
            let text = field.split(|&b| b == 0).next()?.trim_ascii();
            // An empty field counts as zero, as for every other reader.
            text.iter().try_fold(0_i64, |n, &b| {
                let digit = (b'0'..=b'7').contains(&b).then(|| i64::from(b - b'0'))?;
                n.checked_mul(8)?.checked_add(digit)
            })
        }
    }
}

/// What comes before the first zero byte.
fn c_string(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(data: &[u8]) -> Result<Vec<String>, ArchiveError> {
        let mut reader = TarReader::new(data, true);
        let mut names = Vec::new();
        while let Some(entry) = reader.next()? {
            names.push(String::from_utf8(entry.name).unwrap());
        }
        reader.drain()?;
        Ok(names)
    }

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [("one", &[1; 700][..]), ("two", &[2; 10])] {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_cut_off_anywhere_is_never_taken_for_a_whole_one() {
        let data = archive();
        assert_eq!(names(&data).unwrap(), ["one", "two"]);
        for length in 0..data.len() {
            let error = names(&data[..length]).expect_err("cut off");
            assert!(
                matches!(error, ArchiveError::Truncated { .. } | ArchiveError::NotTar),
                "{length}: {error}"
            );
        }
    }

    #[test]
    fn an_archive_whose_digest_is_known_may_lack_its_end_mark() {
        let data = archive();
        let mut reader = TarReader::new(&data[..data.len() - 1024], false);
        assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_some());
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn an_archive_whose_digest_is_known_may_lack_its_last_padding_but_none_of_its_data() {
        let data = archive();
        // The last entry's data begin a block before the end mark.
        let last = data.len() - 1024 - 512;
        let after_two = |length| {
            let mut reader = TarReader::new(&data[..length], false);
            assert!(reader.next().unwrap().is_some());
            let size = reader.next().unwrap().expect("the last").size;
            (usize::try_from(size).unwrap(), reader.next().map(|entry| entry.is_none()))
        };
        let (size, _) = after_two(data.len());
        assert!(matches!(after_two(last + size).1, Ok(true)));
        assert!(matches!(after_two(last + size - 1).1, Err(ArchiveError::Truncated { .. })));
    }

    #[test]
    fn a_long_name_of_gigabytes_is_refused_before_it_is_read() {
        for kind in
            [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader]
        {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(8 << 30);
            header.set_cksum();
            let error = names(header.as_bytes()).expect_err("too long");
            assert!(error.to_string().contains("too long"), "{error}");
        }
    }

    #[test]
    fn numbers_too_large_for_their_field_are_exact() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"12345689"), None);
        assert_eq!(number(&[0x80, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), None);
    }

    #[test]
    fn a_file_that_is_no_archive_is_called_that() {
        for data in [&b"#!/bin/sh\n"[..], &[7; 2000], b""] {
            assert!(matches!(names(data), Err(ArchiveError::NotTar)));
        }
    }

    proptest! {
        #[test]
        fn no_damage_makes_the_reader_panic(at in 0..2048_usize, byte: u8, more in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut data = archive();
            data[at] = byte;
            let _ = names(&data);
            data.truncate(at);
            data.extend(more);
            let _ = names(&data);
        }
    }

    #[test]
    fn a_size_in_an_extended_header_is_what_counts() {
        let mut records = Vec::new();
        super::super::pax::write_record(&mut records, b"size", b"3");
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(records.len() as u64);
        header.set_cksum();
        let mut data = header.as_bytes().to_vec();
        data.extend(&records);
        data.resize(1024, 0);
        let mut header = Header::new_ustar();
        header.set_path("f").unwrap();
        header.set_size(0);
        header.set_cksum();
        data.extend(header.as_bytes());
        data.extend(b"abc");
        data.resize(2048 + 1024, 0);
        let mut reader = TarReader::new(&data[..], true);
        assert_eq!(reader.next().unwrap().map(|entry| entry.size), Some(3));
        assert_eq!(reader.chunk().unwrap(), b"abc");
        assert!(reader.next().unwrap().is_none());
    }
}

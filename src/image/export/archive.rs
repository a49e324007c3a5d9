//! The tar around an image. A blob is called by its digest, which is known when it was written, so its header is written
//! after it, into the place that was left for it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tar::{EntryType, Header};

use crate::files::set_length;
use crate::image::digest::{Digest, HashWriter};

const BUFFER: usize = 256 << 10;
/// Tar's.
const BLOCK: usize = 512;

/// A blob in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// An archive in the making.
pub(super) struct OciArchive<'f> {
    file: &'f File,
    /// How long it is by now.
    at: u64,
    blobs: HashSet<Digest>,
}

/// What a blob is written to.
pub(super) type BlobWriter<'f> = HashWriter<BufWriter<&'f File>>;

impl<'f> OciArchive<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, at: 0, blobs: HashSet::new() }
    }

    /// A file of this name.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.file.write_all_at(content, self.at + BLOCK as u64)?;
        self.close(name, content.len() as u64)
    }

    /// A blob that is in memory.
    pub(super) fn document(&mut self, content: &[u8]) -> io::Result<Blob> {
        self.blob(|blob| blob.write_all(content)).map(|(blob, ())| blob)
    }

    /// A blob that is written as it goes.
    pub(super) fn blob<T>(
        &mut self,
        write: impl FnOnce(&mut BlobWriter<'f>) -> io::Result<T>,
    ) -> io::Result<(Blob, T)> {
        self.file.seek(SeekFrom::Start(self.at + BLOCK as u64))?;
        let mut writer = HashWriter::new(BufWriter::with_capacity(BUFFER, self.file));
        let value = write(&mut writer)?;
        let (mut out, digest, size) = writer.finish();
        out.flush()?;
        // Two layers may be the same; what comes next is written over the second.
        if self.blobs.insert(digest) {
            self.close(&format!("blobs/sha256/{}", digest.hex()), size)?;
        }
        Ok((Blob { digest, size }, value))
    }

    /// Writes the end mark; how long the archive is.
    pub(super) fn finish(self) -> io::Result<u64> {
        self.file.write_all_at(&[0; 1024], self.at)?;
        // What was written of a blob that was there already reaches further, maybe.
        set_length(self.file, Path::new("the archive"), self.at + 1024)?;
        Ok(self.at + 1024)
    }

    /// Puts the header before content that was written, and the padding after it.
    fn close(&mut self, name: &str, size: u64) -> io::Result<()> {
        // GNU's headers have room for more than 8 GiB.
        let mut header = Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.file.write_all_at(header.as_bytes(), self.at)?;
        let end = self.at + BLOCK as u64 + size;
        self.at = end.next_multiple_of(BLOCK as u64);
        let padding = usize::try_from(self.at - end).unwrap_or(0);
        self.file.write_all_at(&[0; BLOCK][..padding], end)
    }
}

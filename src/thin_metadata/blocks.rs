//! The blocks of a metadata device or file.
//!
//! dm-bufio, by which the kernel reads and writes a pool's metadata, goes past the page cache of the device that it lies
//! on, so what is cached there may be old: a device is read with O_DIRECT. What a loop device writes to its file does go
//! through the file's cache, or makes it forget what it had, so a file is read as any other.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::{Damage, MetadataError};
use crate::units::MetaBlocks;

/// Bytes of a block (kernel `THIN_METADATA_BLOCK_SIZE`).
pub(super) const SIZE: usize = 4096;

/// Metadata that can be read by blocks.
pub trait Blocks: Send + Sync {
    /// How many there are.
    fn count(&self) -> MetaBlocks;

    /// Fills the buffer, which holds whole blocks, with those from this one on.
    fn read(&self, first: MetaBlocks, into: &mut [u8]) -> io::Result<()>;
}

/// A device or a file.
#[derive(Debug)]
pub(super) struct FileBlocks {
    file: File,
    count: MetaBlocks,
}

impl FileBlocks {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let direct = path.metadata()?.file_type().is_block_device();
        let flags = if direct { nix::libc::O_DIRECT } else { 0 };
        let mut file = File::options().read(true).custom_flags(flags).open(path)?;
        let count = MetaBlocks(file.seek(SeekFrom::End(0))? / SIZE as u64);
        Ok(Self { file, count })
    }
}

impl Blocks for FileBlocks {
    fn count(&self) -> MetaBlocks {
        self.count
    }

    fn read(&self, first: MetaBlocks, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, first.bytes().0)
    }
}

/// Room for blocks that lies where O_DIRECT can read to.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    pub(super) fn of_blocks(blocks: usize) -> Self {
        let length = blocks * SIZE;
        let bytes = vec![0; length + SIZE];
        // A `Vec` that isn't grown stays where it is.
        let start = bytes.as_ptr().align_offset(SIZE).min(SIZE);
        Self { bytes, start, length }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }

    /// The first block.
    pub(super) fn block(&self) -> &[u8; SIZE] {
        const NONE: &[u8; SIZE] = &[0; SIZE];
        self.bytes().first_chunk().unwrap_or(NONE)
    }

    /// Reads a block into the first one's place.
    pub(super) fn read(&mut self, blocks: &dyn Blocks, block: MetaBlocks) -> Result<(), MetadataError> {
        if block >= blocks.count() {
            return Err(Damage::Beyond { blocks: blocks.count() }.of(block));
        }
        let read = blocks.read(block, &mut self.bytes_mut()[..SIZE]);
        read.map_err(|source| MetadataError::Read { block, source })
    }
}

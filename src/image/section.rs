//! A part of a file, read at its own position, so that many can be open at a time.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::tar_reader::TarInput;

/// A part of a file.
#[derive(Debug, Clone)]
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    /// All of it.
    pub(super) fn whole(file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), at: 0, end })
    }

    /// A part of this part, or none if it isn't inside.
    pub(super) fn part(&self, offset: u64, size: u64) -> Option<Self> {
        let at = self.at.checked_add(offset)?;
        let end = at.checked_add(size).filter(|&end| end <= self.end)?;
        Some(Self { file: Arc::clone(&self.file), at, end })
    }

    pub(super) fn size(&self) -> u64 {
        self.end - self.at
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.size()).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A section with a small buffer, that skips without reading: for headers far apart.
pub(super) struct Headers {
    section: Section,
    buffer: Vec<u8>,
    filled: usize,
    used: usize,
}

impl Headers {
    pub(super) fn new(section: Section) -> Self {
        Self { section, buffer: vec![0; 4096], filled: 0, used: 0 }
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.filled {
            (self.used, self.filled) = (0, self.section.read(&mut self.buffer)?);
        }
        Ok(&self.buffer[self.used..self.filled])
    }

    fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.filled);
    }
}

impl TarInput for Headers {
    fn skip_bytes(&mut self, count: u64) -> io::Result<u64> {
        let buffered = (self.filled - self.used) as u64;
        if count <= buffered {
            self.consume(usize::try_from(count).unwrap_or(usize::MAX));
            return Ok(count);
        }
        self.used = self.filled;
        let step = (count - buffered).min(self.section.size());
        self.section.at += step;
        Ok(buffered + step)
    }
}

//! The times of directories, which can only be set when nothing more goes into them: at the end.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nix::fcntl::OFlag;
use tempfile::SpooledTempFile;

use super::metadata::set_times;
use super::pax::Time;
use super::resolve::{Root, open_below};

/// So much stays in memory; what is more goes to a temporary file.
const IN_MEMORY: usize = 2 << 20;

/// The directories that an archive has named, with their times, in the order it named them.
pub(super) struct DirectoryTimes {
    records: BufWriter<SpooledTempFile>,
}

impl DirectoryTimes {
    pub(super) fn new(spool: &Path) -> Self {
        Self { records: BufWriter::new(tempfile::spooled_tempfile_in(IN_MEMORY, spool)) }
    }

    pub(super) fn push(&mut self, path: &[u8], time: Time) -> io::Result<()> {
        self.records.write_all(&(path.len() as u64).to_le_bytes())?;
        self.records.write_all(&time.secs.to_le_bytes())?;
        self.records.write_all(&time.nanos.to_le_bytes())?;
        self.records.write_all(path)
    }

    /// Sets the times of those that are still directories. A later time for the same directory counts.
    pub(super) fn apply(self, root: &mut Root) -> io::Result<()> {
        let mut records = self.records.into_inner().map_err(io::IntoInnerError::into_error)?;
        records.seek(SeekFrom::Start(0))?;
        let mut records = BufReader::new(records);
        let mut path = Vec::new();
        while let Some(time) = next(&mut records, &mut path)? {
            // One that was replaced by a later entry, even by a link, has no time to set.
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let directory = match open_below(root.fd(), if path.is_empty() { b"." } else { &path }, flags) {
                Ok(fd) => Some(fd),
                Err(_) => match root.directory(&path, false) {
                    Ok(Some(fd)) => open_below(&*fd, b".", flags).ok(),
                    _ => None,
                },
            };
            if let Some(directory) = directory {
                set_times(&File::from(directory), time)?;
            }
        }
        Ok(())
    }
}

/// The next record's time, and its path in `path`.
fn next(records: &mut impl Read, path: &mut Vec<u8>) -> io::Result<Option<Time>> {
    let mut length = [0; 8];
    match records.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (mut secs, mut nanos) = ([0; 8], [0; 4]);
    records.read_exact(&mut secs)?;
    records.read_exact(&mut nanos)?;
    path.resize(usize::try_from(u64::from_le_bytes(length)).unwrap_or(0), 0);
    records.read_exact(path)?;
    Ok(Some(Time { secs: i64::from_le_bytes(secs), nanos: u32::from_le_bytes(nanos) }))
}

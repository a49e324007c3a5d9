//! A copy of what is on a device, before something else is written over it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::files;
use crate::pool::destroy::remove_if_there;
use crate::pool::{PoolError, io_error};

/// Read at once.
const PIECE: usize = 1 << 20;
/// Read at once where a larger piece can't be: what can't be read either is zeros in the copy.
const BLOCK: usize = 4096;

/// Copies all of it, compressed, and makes that durable. It has its name only when it is whole.
pub(super) fn save(device: &Path, draft: &Path, to: &Path) -> Result<(), PoolError> {
    let saved = compress(device, draft)
        .and_then(|()| files::rename_new(draft, to).map_err(|errno| io_error("name", to)(errno.into())));
    if let Err(cause) = saved {
        return Err(cause.after_cleaning_up(remove_if_there(draft)));
    }
    let directory = to.parent().unwrap_or(Path::new("/"));
    files::sync_directory(directory).map_err(io_error("sync", directory))
}

fn compress(device: &Path, to: &Path) -> Result<(), PoolError> {
    let file = files::create(to).map_err(io_error("create", to))?;
    let mut encoder =
        zstd::Encoder::new(&file, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(io_error("write", to))?;
    let unreadable = copy(device, &mut encoder)?;
    if unreadable > 0 {
        tracing::warn!(device = %device.display(), blocks = unreadable, "could not be read: they are zeros in the copy");
    }
    encoder.finish().map_err(io_error("write", to))?;
    files::sync(&file, to).map_err(io_error("sync", to))
}

/// How many blocks could not be read.
fn copy(device: &Path, to: &mut impl Write) -> Result<u64, PoolError> {
    let failed = || io_error("copy", device);
    let mut from = File::open(device).map_err(failed())?;
    let length = from.seek(SeekFrom::End(0)).map_err(failed())?;
    let (mut at, mut unreadable) = (0, 0);
    let mut buffer = vec![0; PIECE];
    while at < length {
        let piece = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let buffer = &mut buffer[..piece];
        if read_at(&mut from, at, buffer).is_err() {
            for (index, block) in buffer.chunks_mut(BLOCK).enumerate() {
                if read_at(&mut from, at + (index * BLOCK) as u64, block).is_err() {
                    block.fill(0);
                    unreadable += 1;
                }
            }
        }
        to.write_all(buffer).map_err(failed())?;
        at += piece as u64;
    }
    Ok(unreadable)
}

fn read_at(from: &mut File, at: u64, into: &mut [u8]) -> io::Result<()> {
    from.seek(SeekFrom::Start(at))?;
    from.read_exact(into)
}

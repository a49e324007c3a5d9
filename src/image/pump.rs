//! Reads, decompresses and hashes a layer's blob in a thread of its own, so that the disk, the decompressor and the
//! file system work at the same time. A fixed number of buffers goes round between the two threads.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::decompress::{Compression, MAGIC, decompress, read_full};
use super::digest::{Digest, Hasher};
use super::progress::Progress;
use super::tar_reader::TarInput;

const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 8;

/// What a blob turned out to be, once all of it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    /// The digest of the blob as it is stored.
    pub(super) blob: Digest,
    pub(super) blob_size: u64,
    /// The digest of the plain tar.
    pub(super) diff: Digest,
}

enum Message {
    /// A buffer, how much of it is filled, and how many bytes of the blob were read so far.
    Data(Vec<u8>, usize, u64),
    End(Totals),
    Failed(io::Error),
}

/// The plain tar in a blob, to be read by one thread while another prepares it.
pub(super) struct Pump<'p> {
    full: Receiver<Message>,
    empty: SyncSender<Vec<u8>>,
    buffer: Vec<u8>,
    filled: usize,
    used: usize,
    consumed: u64,
    totals: Option<Totals>,
    progress: &'p mut dyn Progress,
}

impl<'p> Pump<'p> {
    /// Starts to read. The digest of the blob is only made if `hash_blob`: it costs as much as the other one.
    pub(super) fn start(
        blob: Box<dyn Read + Send>,
        hash_blob: bool,
        progress: &'p mut dyn Progress,
    ) -> io::Result<Self> {
        let (full_in, full) = sync_channel(BUFFERS);
        let (empty, empty_out) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            let _ = empty.send(vec![0; BUFFER]);
        }
        // The thread isn't joined: it may wait for a pipe that never says more. It ends at the next buffer.
        thread::Builder::new().name("layer-reader".to_owned()).spawn(move || {
            let last = match pump(blob, hash_blob, &full_in, &empty_out) {
                Ok(Some(totals)) => Message::End(totals),
                Ok(None) => return,
                Err(error) => Message::Failed(error),
            };
            let _ = full_in.send(last);
        })?;
        Ok(Self { full, empty, buffer: Vec::new(), filled: 0, used: 0, consumed: 0, totals: None, progress })
    }

    /// What all of it was; none before its end.
    pub(super) fn totals(&self) -> Option<Totals> {
        self.totals
    }

    fn refill(&mut self) -> io::Result<()> {
        let old = std::mem::take(&mut self.buffer);
        if !old.is_empty() {
            let _ = self.empty.send(old);
        }
        (self.filled, self.used) = (0, 0);
        let consumed = match self.full.recv() {
            Ok(Message::Data(buffer, filled, consumed)) => {
                (self.buffer, self.filled) = (buffer, filled);
                consumed
            }
            Ok(Message::End(totals)) => {
                self.totals = Some(totals);
                totals.blob_size
            }
            Ok(Message::Failed(error)) => return Err(error),
            Err(_) => return Err(io::Error::other("the thread that reads it has died")),
        };
        self.progress.advance(consumed.saturating_sub(self.consumed));
        self.consumed = consumed;
        Ok(())
    }
}

impl BufRead for Pump<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.filled && self.totals.is_none() {
            self.refill()?;
        }
        Ok(&self.buffer[self.used..self.filled])
    }

    fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.filled);
    }
}

impl Read for Pump<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl TarInput for Pump<'_> {}

/// The thread's work; none if nobody wants the result any more.
fn pump(
    mut blob: Box<dyn Read + Send>,
    hash_blob: bool,
    full: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<Option<Totals>> {
    let mut head = [0; MAGIC];
    let length = read_full(&mut *blob, &mut head)?;
    let compression = Compression::of(&head[..length]);
    let blob = io::Cursor::new(head).take(length as u64).chain(blob);
    // The blob of a plain tar is the tar: one digest does for both.
    let hasher = (hash_blob && compression != Compression::Plain).then(Hasher::default);
    let tally = Arc::new(Mutex::new(Tally { inner: Box::new(blob), count: 0, hasher }));
    let mut plain: Box<dyn Read + Send> = if compression == Compression::Plain {
        Box::new(Shared(Arc::clone(&tally)))
    } else {
        decompress(compression, BufReader::with_capacity(BUFFER, Shared(Arc::clone(&tally))))?
    };
    let mut diff = Hasher::default();
    loop {
        let Ok(mut buffer) = empty.recv() else { return Ok(None) };
        let filled = read_full(&mut *plain, &mut buffer)?;
        if filled == 0 {
            break;
        }
        diff.update(&buffer[..filled]);
        let count = lock(&tally).count;
        if full.send(Message::Data(buffer, filled, count)).is_err() {
            return Ok(None);
        }
    }
    // What may follow the compressed data is part of the blob too.
    let mut rest = vec![0; BUFFER];
    while Shared(Arc::clone(&tally)).read(&mut rest)? > 0 {}
    let tally =
        std::mem::replace(&mut *lock(&tally), Tally { inner: Box::new(io::empty()), count: 0, hasher: None });
    let diff = diff.finish();
    Ok(Some(Totals { blob: tally.hasher.map_or(diff, Hasher::finish), blob_size: tally.count, diff }))
}

/// Counts and hashes what goes through it.
struct Tally {
    inner: Box<dyn Read + Send>,
    count: u64,
    hasher: Option<Hasher>,
}

/// The tally, shared with a decompressor that won't give it back.
struct Shared(Arc<Mutex<Tally>>);

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tally = lock(&self.0);
        let read = tally.inner.read(buffer)?;
        tally.count += read as u64;
        if let Some(hasher) = &mut tally.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

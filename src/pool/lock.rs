//! Locks between processes: a file, flock(2), and the name of who holds it.
//!
//! The kernel drops them when the process dies, however it dies, so none is ever left behind. It also keeps those who wait in
//! a queue, and wakes the next one when a lock is let go: nobody has to ask again and again, which would take the processor
//! from the one who works.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use crate::files;

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: Flock<File>,
}

/// Why a lock could not be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Its file can't be used.
    #[error("the lock {path} can't be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else held it for too long.
    #[error("waited {waited:?} for {holder}, which holds the lock {path}; try again when it is done")]
    Held {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
        /// Who holds it.
        holder: String,
    },
}

impl LockError {
    /// Whether the directory of the lock has gone.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Lock {
    /// Takes the lock for oneself, waiting for it at most this long.
    pub fn exclusive(path: &Path, timeout: Duration) -> Result<Self, LockError> {
        Self::wait(path, How::Alone, timeout)
    }

    /// Takes the lock together with others who share it.
    pub fn shared(path: &Path, timeout: Duration) -> Result<Self, LockError> {
        Self::wait(path, How::Together, timeout)
    }

    /// Takes the lock if nobody has it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, LockError> {
        Self::within(path, How::Alone, Duration::ZERO)
    }

    /// The lock, if its file is there and nobody has it, for what takes a moment: who waits meanwhile isn't told for whom.
    pub(super) fn for_a_moment(path: &Path) -> Option<Flock<File>> {
        Flock::lock(File::open(path).ok()?, FlockArg::LockExclusiveNonblock).ok()
    }

    /// Whether somebody has the lock for himself. Nothing is written; who tries for the lock in this very moment may find it
    /// taken.
    pub(super) fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
    }

    /// Removes the lock's file and lets go. Who waits for it notices, and takes a new one.
    pub fn remove(self) -> Result<(), LockError> {
        files::remove(&self.path).map_err(|source| LockError::File { path: self.path.clone(), source })
    }

    fn wait(path: &Path, how: How, timeout: Duration) -> Result<Self, LockError> {
        // Whom a test has let die waits for nobody: it would be for himself.
        let patience = if steps::is_dead() { Duration::ZERO } else { timeout };
        Self::within(path, how, patience)?.ok_or_else(|| LockError::Held {
            path: path.to_owned(),
            waited: timeout,
            holder: holder(path),
        })
    }

    /// `None` if somebody else has it all that time.
    fn within(path: &Path, how: How, patience: Duration) -> Result<Option<Self>, LockError> {
        let failed = |source: io::Error| LockError::File { path: path.to_owned(), source };
        let deadline = Instant::now() + patience;
        loop {
            let file = files::open_or_create(path).map_err(failed)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(locked) = lock_within(file, how, left).map_err(failed)? else { return Ok(None) };
            // The file may have been removed by its last holder between open and lock.
            let ours = locked.metadata().map_err(failed)?;
            if !matches!(path.metadata(), Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino())) {
                continue;
            }
            let mut lock = Self { path: path.to_owned(), file: locked };
            if how == How::Alone {
                lock.sign();
            }
            return Ok(Some(lock));
        }
    }

    /// Writes down who holds it, for who waits. Only a courtesy, so a failure doesn't matter.
    #[allow(clippy::disallowed_methods, reason = "no step: nothing depends on what is written here")]
    fn sign(&mut self) {
        let command: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let signature = format!("process {} ({})", std::process::id(), command.join(" "));
        let _ = self
            .file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(signature.as_bytes()));
    }
}

/// With whom a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Alone,
    Together,
}

impl How {
    fn at_once(self) -> FlockArg {
        match self {
            Self::Alone => FlockArg::LockExclusiveNonblock,
            Self::Together => FlockArg::LockSharedNonblock,
        }
    }

    fn queued(self) -> FlockArg {
        match self {
            Self::Alone => FlockArg::LockExclusive,
            Self::Together => FlockArg::LockShared,
        }
    }
}

/// Locks an open file; `None` if somebody else has it all that time.
///
/// flock(2) can't wait with a bound, and a signal to break it off would belong to the process, not to a library. So it waits
/// in a thread of its own, and we for that. A thread that we no longer wait for stays in the queue: when its turn comes, it
/// finds that nobody wants the lock, and lets go of it at once. There is one for each time that a wait came to nothing, for as
/// long as the holder holds it.
fn lock_within(file: File, how: How, patience: Duration) -> io::Result<Option<Flock<File>>> {
    let file = match lock(file, how.at_once()) {
        Err((file, Errno::EWOULDBLOCK)) if !patience.is_zero() => file,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        locked => return locked.map(Some).map_err(|(_, errno)| errno.into()),
    };
    // Without room: what is sent is taken, or comes back and is dropped, which lets go of the lock.
    let (sender, receiver) = sync_channel(0);
    thread::Builder::new().name("lock".to_owned()).spawn(move || sender.send(lock(file, how.queued())))?;
    match receiver.recv_timeout(patience) {
        Ok(locked) => locked.map(Some).map_err(|(_, errno)| errno.into()),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the thread that waits for it has died")),
    }
}

/// Locks, whatever signals come.
fn lock(mut file: File, how: FlockArg) -> Result<Flock<File>, (File, Errno)> {
    loop {
        match Flock::lock(file, how) {
            Err((same, Errno::EINTR)) => file = same,
            locked => return locked,
        }
    }
}

/// Who signed the lock last.
fn holder(path: &Path) -> String {
    let mut signature = String::new();
    let read = File::open(path).and_then(|file| file.take(1024).read_to_string(&mut signature));
    if read.is_err() || signature.is_empty() { "another process".to_owned() } else { signature }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_vain_is_told_for_whom() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("lock");
        let held = Lock::exclusive(&path, Duration::ZERO).expect("free");
        let error = Lock::exclusive(&path, Duration::from_millis(20)).expect_err("held").to_string();
        drop(held);
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn who_gave_up_keeps_the_lock_from_nobody() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("lock");
        let held = Lock::exclusive(&path, Duration::ZERO).expect("free");
        for _ in 0..3 {
            Lock::exclusive(&path, Duration::from_millis(1)).expect_err("held");
            Lock::shared(&path, Duration::from_millis(1)).expect_err("held");
        }
        drop(held);
        drop(Lock::exclusive(&path, Duration::from_secs(30)).expect("had"));
    }

    #[test]
    fn all_who_wait_get_it_one_after_the_other() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        let alone = || {
            let lock = Lock::exclusive(&path, Duration::from_secs(60)).expect("had");
            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "not alone");
            thread::yield_now();
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            drop(lock);
        };
        let held = Lock::exclusive(&path, Duration::ZERO).expect("free");
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..20).map(|_| scope.spawn(alone)).collect();
            drop(held);
            for one in waiting {
                one.join().expect("alone");
            }
        });
    }

    #[test]
    fn a_lock_on_a_removed_file_is_no_lock() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("lock");
        let held = Lock::exclusive(&path, Duration::ZERO).expect("free");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::exclusive(&path, Duration::from_secs(30)));
            held.remove().expect("removed");
            let lock = waiting.join().expect("no panic").expect("had");
            assert!(path.exists());
            assert!(Lock::try_exclusive(&path).expect("tried").is_none());
            drop(lock);
        });
    }

    #[test]
    fn sharing_keeps_the_exclusive_out() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("lock");
        let one = Lock::shared(&path, Duration::ZERO).expect("free");
        let two = Lock::shared(&path, Duration::ZERO).expect("shared");
        assert!(Lock::try_exclusive(&path).expect("tried").is_none());
        drop((one, two));
        assert!(Lock::try_exclusive(&path).expect("tried").is_some());
    }
}

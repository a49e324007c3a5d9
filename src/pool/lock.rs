//! Locks between processes: a file, flock(2), and the name of who holds it.
//!
//! The kernel drops them when the process dies, however it dies, so none is ever left behind.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use crate::files;

/// Between two tries. flock can't wait with a bound, and a signal to break it off would belong to the process,
/// not to a library.
const PAUSE: Duration = Duration::from_millis(5);

/// It gets longer up to this: many who wait must not take the processor from the one who works.
const LONGEST_PAUSE: Duration = Duration::from_millis(80);

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
        Self::wait(path, FlockArg::LockExclusiveNonblock, timeout)
    }

    /// Takes the lock together with others who share it.
    pub fn shared(path: &Path, timeout: Duration) -> Result<Self, LockError> {
        Self::wait(path, FlockArg::LockSharedNonblock, timeout)
    }

    /// Takes the lock if nobody has it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, LockError> {
        Self::attempt(path, FlockArg::LockExclusiveNonblock)
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

    fn wait(path: &Path, how: FlockArg, timeout: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + timeout;
        let mut pause = PAUSE;
        loop {
            if let Some(lock) = Self::attempt(path, how)? {
                return Ok(lock);
            }
            // Whom a test has let die waits for nobody: it would be for himself.
            if Instant::now() >= deadline || steps::is_dead() {
                return Err(LockError::Held { path: path.to_owned(), waited: timeout, holder: holder(path) });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn attempt(path: &Path, how: FlockArg) -> Result<Option<Self>, LockError> {
        let failed = |source: io::Error| LockError::File { path: path.to_owned(), source };
        loop {
            let file = files::open_or_create(path).map_err(failed)?;
            let locked = match Flock::lock(file, how) {
                Ok(locked) => locked,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                // A signal.
                Err((_, Errno::EINTR)) => continue,
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            // The file may have been removed by its last holder between open and lock.
            let ours = locked.metadata().map_err(failed)?;
            if !matches!(path.metadata(), Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino())) {
                continue;
            }
            let mut lock = Self { path: path.to_owned(), file: locked };
            if matches!(how, FlockArg::LockExclusiveNonblock) {
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
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        Lock::exclusive(&path, Duration::ZERO).expect("free again");
    }

    #[test]
    fn a_lock_on_a_removed_file_is_no_lock() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("lock");
        let held = Lock::exclusive(&path, Duration::ZERO).expect("free");
        std::thread::scope(|scope| {
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

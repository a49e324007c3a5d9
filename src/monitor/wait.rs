//! Sleeping until something happens.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::libc::{SIGINT, SIGTERM};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The signals that ask a process to end, read instead of obeyed. They are handled, not blocked: whatever a monitor starts would
/// inherit that, and could no longer be asked to end either.
pub(super) struct Stop(UnixStream);

/// What ended a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// A signal that asks us to end.
    ToStop,
    /// Anything else: an event, or the time.
    ToLook,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self(read))
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until there is something to hear, or the time is up.
pub(super) fn until(events: &impl AsFd, stop: &impl AsFd, wait: Option<Duration>) -> io::Result<Woken> {
    // A time that can't be said is as good as none.
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(events, PollFlags::IN)];
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) if !fds[0].revents().is_empty() => Ok(Woken::ToStop),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Woken::ToLook),
        Err(errno) => Err(errno.into()),
    }
}

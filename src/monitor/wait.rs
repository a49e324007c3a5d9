//! Sleeping until something happens.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The signals that ask a process to end, read instead of obeyed.
pub(super) struct Stop(SignalFd);

/// What ended a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// A signal that asks us to end.
    ToStop,
    /// Anything else: an event, or the time.
    ToLook,
}

impl Stop {
    pub(super) fn new() -> Result<Self, Errno> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        signals.thread_block()?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until there is something to hear, or the time is up.
pub(super) fn until(events: &impl AsFd, stop: &impl AsFd, wait: Option<Duration>) -> Result<Woken, Errno> {
    // A time that can't be said is as good as none.
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(events, PollFlags::IN)];
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) if !fds[0].revents().is_empty() => Ok(Woken::ToStop),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Woken::ToLook),
        Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
    }
}

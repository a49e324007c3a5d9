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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[test]
    fn a_signal_is_heard_and_no_command_that_is_started_is_deaf_to_it() {
        let stop = Stop::new().expect("listening");
        let (events, _silent) = UnixStream::pair().expect("a pair");
        assert_eq!(until(&events, &stop, Some(Duration::ZERO)).expect("slept"), Woken::ToLook);
        raise(Signal::SIGTERM).expect("raised");
        assert_eq!(until(&events, &stop, Some(Duration::from_secs(60))).expect("slept"), Woken::ToStop);
        let limit = Duration::from_secs(60);
        let told = lvm::run(Command::new("grep").args(["SigBlk", "/proc/self/status"]), limit).expect("run");
        let told = String::from_utf8(told).expect("text");
        let mask = told.rsplit(['\t', ' ']).next().expect("a mask").trim();
        let mask = u64::from_str_radix(mask, 16).expect("hexadecimal");
        assert_eq!(mask & (1 << (SIGTERM - 1) | 1 << (SIGINT - 1)), 0, "{told}");
    }
}

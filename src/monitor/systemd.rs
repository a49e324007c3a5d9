//! What a service of systemd's tells its manager: sd_notify(3), which is a datagram to the socket that it was given.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The manager, if there is one that wants to hear of us.
pub(super) struct Systemd {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we live; none: not at all.
    interval: Option<Duration>,
    last: Option<Instant>,
}

impl Systemd {
    /// What the environment says.
    pub(super) fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let to = variable("NOTIFY_SOCKET").and_then(|path| match connect(&path) {
            Ok(to) => Some(to),
            Err(error) => {
                tracing::warn!(socket = ?path, %error, "the manager of services can't be told anything");
                None
            }
        });
        // The variables are inherited by whatever a service starts; the watchdog's is for one process.
        let is_for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice as often as it would take it for dead.
        let interval =
            number("WATCHDOG_USEC").filter(|_| is_for_us).map(|usec| Duration::from_micros(usec / 2));
        Self { interval: interval.filter(|_| to.is_some()), to, last: None }
    }

    /// Says that we are ready, and later on that we live, where that is due. Gives the time until it will be again.
    pub(super) fn alive(&mut self, now: Instant) -> Option<Duration> {
        match (self.last, self.interval) {
            (None, _) => {
                self.say("READY=1\nSTATUS=watching");
                self.last = Some(now);
            }
            (Some(last), Some(interval)) if now.saturating_duration_since(last) >= interval => {
                self.say("WATCHDOG=1");
                self.last = Some(now);
            }
            _ => {}
        }
        let since = now.saturating_duration_since(self.last?);
        Some(self.interval?.saturating_sub(since))
    }

    /// Says that we are about to end.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, what: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(what.as_bytes(), to)
        {
            tracing::warn!(%error, "the manager of services was not told '{what}'");
        }
    }
}

/// A path, or a name in the abstract namespace, which is written with an @ in front.
fn connect(path: &OsStr) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let to = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that doesn't read must not hold up a growth.
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening() -> (tempfile::TempDir, UnixDatagram, Systemd) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_nonblocking(true).expect("set");
        let to = Some(connect(path.as_os_str()).expect("connected"));
        (directory, socket, Systemd { to, interval: Some(Duration::from_secs(60)), last: None })
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn a_manager_hears_that_we_are_ready_once_and_that_we_live_before_it_doubts_it() {
        let (_directory, socket, mut systemd) = listening();
        let begin = Instant::now();
        assert_eq!(systemd.alive(begin), Some(Duration::from_secs(60)));
        assert!(heard(&socket).expect("something").starts_with("READY=1"));
        assert_eq!(systemd.alive(begin + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(heard(&socket), None, "said more often than it has to be");
        assert_eq!(systemd.alive(begin + Duration::from_secs(60)), Some(Duration::from_secs(60)));
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn without_a_manager_nothing_is_due() {
        let mut systemd = Systemd { to: None, interval: None, last: None };
        assert_eq!(systemd.alive(Instant::now()), None);
        assert!(connect(OsStr::new("@thinpool-test")).is_ok(), "an abstract name");
    }
}

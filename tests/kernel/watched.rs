//! A monitor that runs beside a test.

use std::fs::{File, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Bench, GUARD, happens, ok};

/// `thinpool monitor` of a bench's pool. It ends with the test.
pub struct Monitor {
    child: Child,
    said: PathBuf,
}

impl Monitor {
    /// Starts it, and waits until it says that it is ready.
    pub fn of(bench: &Bench) -> Self {
        Self::with(bench, &[])
    }

    /// The same with these flags.
    pub fn with(bench: &Bench, flags: &[&str]) -> Self {
        let (monitor, manager) = Self::listened_to(bench, flags, &[]);
        manager.set_read_timeout(Some(GUARD)).expect("set");
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).unwrap_or_else(|error| panic!("{error}: {}", monitor.said()));
        assert!(heard[..length].starts_with(b"READY=1"), "{:?}", &heard[..length]);
        monitor
    }

    /// Starts it with these flags and variables. What it tells its manager of services comes out of the socket.
    pub fn listened_to(bench: &Bench, flags: &[&str], variables: &[(&str, &str)]) -> (Self, UnixDatagram) {
        let socket = bench.beside("notify");
        drop(std::fs::remove_file(&socket));
        let manager = UnixDatagram::bind(&socket).expect("bound");
        let notify = ("NOTIFY_SOCKET", socket.to_str().expect("UTF-8"));
        (Self::start(bench, flags, &[variables, &[notify]].concat()), manager)
    }

    /// Starts it with these flags and variables. It backs nothing up that wasn't asked for: other tests would meet that at
    /// some moment or other.
    pub fn start(bench: &Bench, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let said = bench.beside("monitor.log");
        let log = File::options().create(true).append(true).open(&said).expect("a file");
        let backups = ["--metadata-backup-changes", "0"];
        let backups = if flags.contains(&backups[0]) { &[][..] } else { &backups };
        let mut command = bench.command([&["monitor"], backups, flags].concat());
        // As under systemd, where each line has its priority.
        let file = log.metadata().expect("a file");
        command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().expect("starts"), said }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that the monitors of this bench have said.
    pub fn said(&self) -> String {
        read_to_string(&self.said).expect("read")
    }

    pub fn says(&self, what: &str) {
        self.says_times(what, 1);
    }

    /// Waits until it has said so that many times.
    pub fn says_times(&self, what: &str, times: usize) {
        let has_said = || self.said().matches(what).count() >= times;
        assert!(happens(has_said), "waited {GUARD:?} for '{what}', {times} times: {}", self.said());
    }

    /// How it ends when it is left alone: its exit code, or none if it was killed.
    pub fn ends(mut self) -> Option<i32> {
        let mut status = None;
        happens(|| {
            status = self.child.try_wait().expect("waits");
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("it doesn't end: {}", self.said())).code()
    }

    /// Asks it to end.
    pub fn asked_to_end(self) -> Option<i32> {
        ok(Command::new("kill").args(["-TERM", &self.id().to_string()]));
        self.ends()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

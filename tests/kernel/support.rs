//! A pool of its own for every test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

/// A pool's name and directory. What a test leaves of it is removed, whatever it was.
pub struct Bench {
    pub name: String,
    pub directory: TempDir,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    /// A name and a directory, and no pool yet.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { name, directory: tempfile::tempdir().expect("a directory") }
    }

    /// A small pool with an ext4 base, which is made in no time.
    pub fn with_pool() -> Self {
        let bench = Self::new();
        bench.ok(SMALL);
        bench
    }

    /// `/var/lib/thinpool` of this test.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The pool's own directory.
    pub fn state(&self) -> PathBuf {
        self.root().join(&self.name)
    }

    /// The command with this test's pool and directory.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(thinpool());
        command.arg("--pool").arg(&self.name).arg("--root").arg(self.root()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        self.command(arguments).output().expect("thinpool runs").into()
    }

    /// Runs the command, which must succeed, and gives what it printed.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// Runs the command, which must fail with this code, and gives its error.
    pub fn fails<S: AsRef<OsStr>>(&self, code: i32, arguments: impl IntoIterator<Item = S>) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.starts_with("thinpool: ") || said.err.starts_with("error: "), "{said:?}");
        said.err
    }

    /// The status as JSON, whatever its exit code.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(["status", "--json"]).out).expect("JSON")
    }

    /// The device-mapper devices of this test.
    pub fn devices(&self) -> Vec<String> {
        let all = run(Command::new("dmsetup").args(["info", "-c", "--noheadings", "-o", "name"])).out;
        all.lines()
            .map(str::trim)
            .filter(|name| name.starts_with(&format!("{}-", self.name)))
            .map(str::to_owned)
            .collect()
    }

    fn unmount(&self) {
        let here = self.directory.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours =
            |line: &&str| line.contains(&here) || line.contains(&format!("/dev/mapper/{}-", self.name));
        for mount in mounts.lines().filter(ours).filter_map(|line| line.split(' ').nth(1)) {
            let _ = Command::new("umount").arg(mount).output();
        }
    }

    /// The files of this test that loop devices are attached to.
    pub fn attached(&self) -> Vec<String> {
        let all = run(Command::new("losetup").args(["-ln", "-O", "BACK-FILE"])).out;
        let here = self.directory.path().display().to_string();
        all.lines().map(str::trim).filter(|file| file.starts_with(&here)).map(str::to_owned).collect()
    }
}

/// What a small pool is set up with.
pub const SMALL: [&str; 9] =
    ["setup", "--loop-data-size", "2G", "--loop-metadata-size", "16M", "--base-size", "512M", "--fs", "ext4"];

impl Drop for Bench {
    /// By other tools than the one under test, since that may be what is broken.
    fn drop(&mut self) {
        self.unmount();
        let (pools, thins): (Vec<String>, Vec<String>) =
            self.devices().into_iter().partition(|name| name.ends_with("-pool"));
        for device in thins.iter().chain(&pools) {
            let _ = Command::new("dmsetup").args(["remove", "--retry", device]).output();
        }
        for file in self.attached() {
            let _ = Command::new("losetup").args(["-d", &file]).output();
        }
        // What lay under the loop files.
        self.unmount();
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs another command.
pub fn run(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).output().expect("the command runs").into()
}

/// Runs another command, which must succeed.
pub fn ok(command: &mut Command) -> String {
    let said = run(command);
    assert_eq!(said.code, 0, "{command:?}: {said:?}");
    said.out
}

/// The binary under test: what cargo built, or, in the machine, what stands beside this test.
fn thinpool() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_thinpool"));
    if built.exists() { built.to_owned() } else { PathBuf::from("thinpool") }
}

//! What tests of a pool's life do to it from outside: wait, kill, look, break.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Bench, GUARD, Said, ok, run};

/// Waits for what is about to happen.
pub fn wait_for(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + GUARD;
    while !happened() {
        assert!(Instant::now() < deadline, "{what}: not within {GUARD:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Bench {
    /// The name of the pool's device.
    pub fn pool(&self) -> String {
        format!("{}-pool", self.name)
    }

    /// The loop file with the data.
    pub fn data(&self) -> PathBuf {
        self.state().join("data")
    }

    /// The loop file with the metadata.
    pub fn metadata(&self) -> PathBuf {
        self.state().join("metadata")
    }

    /// Whether the kernel has a device of this name, asked without a process.
    pub fn has_node(&self, rest: &str) -> bool {
        Path::new("/dev/mapper").join(format!("{}-{rest}", self.name)).symlink_metadata().is_ok()
    }

    /// Runs the command, which must not hang.
    pub fn promptly<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        let command = self.command(arguments);
        let (mut guarded, guard) = (Command::new("timeout"), GUARD.as_secs().to_string());
        guarded.args(["--signal=KILL", &guard]).arg(command.get_program()).args(command.get_args());
        let said = run(&mut guarded);
        assert!(said.code != 137 && said.code != -1, "killed after {GUARD:?}: {command:?}");
        said
    }

    /// The status as JSON with its exit code; it must not hang.
    pub fn health(&self) -> (i32, Value) {
        let said = self.promptly(["status", "--json"]);
        (said.code, serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}")))
    }

    /// Imports an image `small` with one file in it.
    pub fn import_small(&self) {
        let source = self.directory.path().join("rootfs");
        std::fs::create_dir(&source).expect("made");
        std::fs::write(source.join("greeting"), "from the image").expect("written");
        self.ok([OsStr::new("image"), OsStr::new("import"), OsStr::new("small"), source.as_os_str()]);
    }

    /// Makes a container `box` of `small` and mounts it. Where.
    pub fn with_container(&self) -> PathBuf {
        self.import_small();
        self.ok(["container", "create", "small", "--name", "box"]);
        self.mount()
    }

    /// Mounts `box`. Where.
    pub fn mount(&self) -> PathBuf {
        PathBuf::from(self.ok(["container", "mount", "box"]).trim_end())
    }

    /// One clean pool: its node, its two files attached, nothing else.
    pub fn assert_one_pool(&self) {
        assert_eq!(self.devices(), [self.pool()]);
        wait_for("two loop devices", || self.attached().len() == 2);
        assert_eq!(self.health().0, 0);
    }

    /// Nothing of the pool anywhere.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.devices(), [""; 0]);
        // udev's probes may hold a loop device for a moment.
        wait_for("every loop device to go", || self.attached().is_empty());
        assert!(!self.state().exists(), "{:?}", listing(&self.state()));
    }

    /// A small file system for the pool's files. In memory, where direct I/O can't be had.
    pub fn small_host(&self, size: &str) -> PathBuf {
        let at = self.directory.path().join("host");
        std::fs::create_dir(&at).expect("made");
        let size = format!("size={size}");
        ok(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&at));
        at
    }

    /// What a reboot does: the kernel forgets the pool.
    pub fn reboot(&self) {
        for device in self.devices().iter().filter(|name| !name.ends_with("-pool")) {
            ok(Command::new("dmsetup").args(["remove", "--retry", device]));
        }
        ok(Command::new("dmsetup").args(["remove", "--retry", &self.pool()]));
        wait_for("every loop device to go", || self.attached().is_empty());
    }
}

/// Starts a command whose output is kept.
pub fn spawn(command: &mut Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("starts")
}

/// How a started command ended.
pub fn end(child: Child) -> Said {
    let output: Output = child.wait_with_output().expect("ends");
    output.into()
}

/// What a directory holds, however deep.
pub fn listing(directory: &Path) -> Vec<String> {
    run(Command::new("find").arg(directory).arg("-mindepth").arg("1"))
        .out
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Unmounts what is about to be nobody's any more: a loop device lets go of its file a moment after its last user has gone.
pub fn unmount(at: &Path) {
    wait_for("the last user to go", || run(Command::new("umount").arg(at)).code == 0);
}

/// A file's first bytes: enough to see whether anybody wrote to the metadata.
pub fn beginning(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(file).expect("opens").take(16 << 20).read_to_end(&mut bytes).expect("reads");
    bytes
}

/// Writes into a file's middle.
pub fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(file).expect("opens");
    file.seek(SeekFrom::Start(at)).expect("seeks");
    file.write_all(bytes).expect("writes");
    file.sync_all().expect("syncs");
}

/// A table for `dmsetup`, loaded in place of another.
pub fn reload(device: &str, table: &str) {
    ok(Command::new("dmsetup").args(["load", device, "--table", table]));
    ok(Command::new("dmsetup").args(["suspend", "--noflush", device]));
    ok(Command::new("dmsetup").args(["resume", device]));
}

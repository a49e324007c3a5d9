//! A machine that is switched on and off again, with the same disks each time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex};

use tempfile::TempDir;

/// A machine, as its disks are: everything else begins anew with each boot.
pub struct Machine {
    directory: TempDir,
}

/// A disk beside the one the machine boots from, by its serial number.
#[derive(Debug, Clone, Copy)]
pub enum Disk {
    /// There from the start. The kernel finds these in the order they are given in.
    At(&'static str),
    /// The same, on NVMe.
    Nvme(&'static str),
    /// The same, on SCSI.
    Scsi(&'static str),
    /// Plugged in so many seconds after the machine was switched on.
    Late(&'static str, u32),
    /// Plugged in when the script writes `plug in` and its serial number to `/dev/kmsg`.
    WhenAsked(&'static str),
}

/// What came of a boot.
#[derive(Debug)]
pub struct Boot {
    /// The exit code of the script; 125 when the machine ended first.
    pub code: i32,
    /// What the script printed.
    pub out: String,
    /// The console: kernel, journal, and the last of the shutdown.
    pub console: String,
}

impl Machine {
    /// A machine that was never switched on.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    /// Adds an empty disk.
    pub fn add_disk(&self, serial: &str, size: u64) {
        std::fs::File::create(self.disk(serial)).and_then(|disk| disk.set_len(size)).expect("a disk");
    }

    /// Boots, and runs a script when the boot is over. The machine shuts down in order when the script ends.
    pub fn boot(&self, disks: &[Disk], script: &str) -> Boot {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let (console, file) =
            (self.directory.path().join("console"), self.directory.path().join("script.sh"));
        std::fs::write(&file, format!(". ./guest.sh\n{script}")).expect("a file");
        let mut command = Command::new(tests.join("vm/run"));
        command.arg("--disk").arg(self.directory.path().join("root"));
        command.arg("--console").arg(&console).args(["--timeout", "600"]);
        for disk in disks {
            match disk {
                Disk::At(serial) => command.arg("--keep-disk").arg(self.disk(serial)),
                Disk::Nvme(serial) => command.arg("--nvme-disk").arg(self.disk(serial)),
                Disk::Scsi(serial) => command.arg("--scsi-disk").arg(self.disk(serial)),
                Disk::Late(serial, seconds) => {
                    command.arg("--late-disk").arg(format!("{}:{seconds}", self.disk(serial).display()))
                }
                Disk::WhenAsked(serial) => {
                    command.arg("--late-disk").arg(format!("{}:asked", self.disk(serial).display()))
                }
            };
        }
        command.arg(env!("CARGO_BIN_EXE_thinpool")).arg(tests.join("../configs/systemd"));
        command.arg(tests.join("boot/guest.sh")).arg(&file).args(["--", "bash", "script.sh"]);
        let output = {
            let _slot = Slot::take();
            command.stdin(Stdio::null()).output().expect("the machine starts")
        };
        Boot {
            code: output.status.code().unwrap_or(-1),
            out: [output.stdout, output.stderr]
                .map(|said| String::from_utf8_lossy(&said).into_owned())
                .concat(),
            console: String::from_utf8_lossy(&std::fs::read(console).unwrap_or_default()).into_owned(),
        }
    }

    /// The same, with a script that succeeds and a shutdown that has nothing left to force.
    pub fn boot_well(&self, disks: &[Disk], script: &str) -> Boot {
        let boot = self.boot(disks, script);
        assert_eq!(boot.code, 0, "{}\n--- console ---\n{}", boot.out, boot.console);
        boot.assert_shut_down_in_order();
        boot
    }

    /// The same, with a script that succeeds, and a power cut as its last act.
    pub fn boot_and_cut_power(&self, disks: &[Disk], script: &str) {
        // The console, since what goes by a pipe may not have come through when the power goes.
        let end = "echo all was well >/dev/kmsg\necho b >/proc/sysrq-trigger\nsleep 60";
        let boot = self.boot(disks, &format!("{script}\n{end}"));
        assert!(boot.code == 125 && boot.console.contains("all was well"), "{}", boot.out);
    }

    fn disk(&self, serial: &str) -> PathBuf {
        self.directory.path().join(serial)
    }
}

impl Boot {
    fn assert_shut_down_in_order(&self) {
        let console = &self.console;
        let wrong = ["ordering cycle", "Failed unmounting", "Failed to", "busy", "Timed out", "timed out"];
        let of_shutdown = console.find("Stopped target graphical.target").expect("a shutdown");
        let found: Vec<_> = console[of_shutdown..]
            .lines()
            .filter(|line| wrong.iter().any(|wrong| line.contains(wrong)))
            .collect();
        assert!(found.is_empty(), "the shutdown was not in order: {found:#?}\n{console}");
        // Said by the last process there is, once nothing is left.
        let end = "All filesystems, swaps, loop devices, MD devices and DM devices detached.";
        assert!(console.contains(end), "the shutdown came to no good end:\n{console}");
        let by_systemd = |line: &&str| line.contains("systemd-shutdown") && line.contains("Detaching DM");
        let forced: Vec<_> =
            console.lines().filter(by_systemd).filter(|line| !line.ends_with("devices.")).collect();
        assert!(forced.is_empty(), "devices were left for the last process to take away: {forced:#?}");
    }
}

/// The right to run a machine: on two processors, more than two would only wait for each other.
struct Slot;

static SLOTS: (Mutex<u32>, Condvar) = (Mutex::new(2), Condvar::new());

impl Slot {
    fn take() -> Self {
        let free = SLOTS.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let free = SLOTS.1.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(std::sync::PoisonError::into_inner) -= 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *SLOTS.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        SLOTS.1.notify_one();
    }
}

//! What the checks look at: this host, or a directory that a test makes look like one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::lvm::{Lv, Lvm, LvmError, Vg};
use nix::errno::Errno;

use super::Finding;
use crate::dm::{self, DeviceMapper, Kernel, UdevSync, Versions};

/// How long a command may take: the slowest, LVM, reads the labels of all disks.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// Where pools are.
#[derive(Debug, Clone)]
pub struct Pools {
    /// The directory of all pools.
    pub root: PathBuf,
    /// The directory for the loop files of a pool.
    pub loop_files: PathBuf,
}

/// A machine.
pub struct Machine {
    /// What stands for `/`.
    root: PathBuf,
    /// Where commands are looked for.
    path: Vec<PathBuf>,
    /// What the kernel's device-mapper says of itself.
    pub(super) device_mapper: Result<Versions, dm::Error>,
    /// Whether udev answers.
    pub(super) udev: UdevSync,
    /// Where pools are.
    pub(super) pools: Pools,
    /// The release of the running kernel.
    pub(super) kernel: String,
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Whether it is root who asks.
    pub(super) root_asks: bool,
    /// How many processes wait for a semaphore.
    pub(super) waiters: fn(i32) -> Result<u32, Errno>,
    /// LVM's volumes.
    pub(super) volumes: fn() -> Result<Vec<Lv>, LvmError>,
    /// LVM's volume groups.
    pub(super) groups: fn() -> Result<Vec<Vg>, LvmError>,
}

impl Machine {
    /// The machine that this runs on.
    #[must_use]
    pub fn this(pools: Pools) -> Self {
        // Nothing is made, so udev is never waited for.
        let device_mapper = Kernel::open(Duration::ZERO).and_then(|kernel| kernel.versions());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        Self {
            root: PathBuf::from("/"),
            path: std::env::split_paths(&path).filter(|folder| folder.is_absolute()).chain(sbin).collect(),
            device_mapper,
            udev: UdevSync::detect(),
            pools,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            root_asks: nix::unistd::geteuid().is_root(),
            waiters: dm::cookie_waiters,
            volumes: || Lvm::find()?.with_time_limit(COMMAND_LIMIT).lvs(),
            groups: || Lvm::find()?.with_time_limit(COMMAND_LIMIT).vgs(),
        }
    }

    /// An absolute path on this machine.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(self.path(path))
    }

    /// Whether one of some directories has a file of this name, as udev and systemd look for their files.
    pub(super) fn any_has(&self, directories: &[&str], name: &str) -> bool {
        directories.iter().any(|directory| self.path(directory).join(name).exists())
    }

    /// The pools that are set up, by name.
    pub(super) fn pool_names(&self) -> io::Result<BTreeSet<String>> {
        let entries = match std::fs::read_dir(&self.pools.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let entry = entry?;
            if entry.path().join("catalog.db").exists() {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// Where a program is.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(program)).find(|path| path.is_file())
    }

    /// What a command refused to tell, for whatever reason it has if it is root who asks.
    pub(super) fn refused(&self, what: &str, error: &str) -> Finding {
        if self.root_asks {
            Finding::warning(format!("{what} could not be looked at: {error}"), "see to what it says")
        } else {
            Finding::unseen(what, error)
        }
    }
}

/// What a program prints, its messages included, in English. An error is for people.
pub(super) fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("/bin/sh");
    // Some print their version as a message.
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(program).args(arguments);
    command.env("LC_ALL", "C").current_dir("/");
    match ::lvm::run(&mut command, COMMAND_LIMIT) {
        Ok(output) => Ok(String::from_utf8_lossy(&output).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
impl Machine {
    /// A machine in a directory.
    pub(super) fn in_directory(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            path: vec![root.join("usr/sbin")],
            device_mapper: Err(dm::Error::Control { errno: nix::errno::Errno::ENOENT }),
            udev: UdevSync::NoDaemon,
            pools: Pools {
                root: root.join("var/lib/thinpool"),
                loop_files: root.join("var/lib/thinpool/thinpool"),
            },
            kernel: "6.1.0-test".to_owned(),
            now: 2_000_000_000,
            root_asks: true,
            waiters: |_| Ok(0),
            volumes: || Ok(Vec::new()),
            groups: || Ok(Vec::new()),
        }
    }
}

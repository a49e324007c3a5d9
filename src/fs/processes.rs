//! Processes that use a device: its file system, or the device itself.
//!
//! All is read from /proc, and nothing is asked of any file system: one on a network that doesn't answer would hold us up.
//! Even /proc can, when a process is stuck in the kernel; so the look is taken by a thread, and has a time limit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::mounts::{Mount, mount_id_in, parse_table};
use crate::dm::DeviceNumber;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its program.
    pub command: String,
}

/// How a process uses a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// It has the device itself open, as a virtual machine does.
    Device,
    /// It has a file in it open.
    File,
    /// It runs a program of it, or has a file of it mapped.
    Mapping,
    /// It works in a directory of it.
    Directory,
    /// Its root directory is in it.
    Root,
}

/// A process that uses a device, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Which.
    #[serde(flatten)]
    pub process: Process,
    /// How.
    pub uses: BTreeSet<Use>,
}

impl Process {
    pub(super) fn named(pid: u32) -> Self {
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Self { pid, command: command.trim_end().to_owned() }
    }
}

/// `process 123 (qemu)`
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// What the process does, in words that follow its name.
impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "has the device open",
            Self::File => "has a file in it open",
            Self::Mapping => "has a file in it mapped",
            Self::Directory => "works in a directory of it",
            Self::Root => "has its root directory in it",
        })
    }
}

/// The numbers of all processes.
pub(super) fn all_processes() -> io::Result<impl Iterator<Item = u32>> {
    Ok(std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// The processes that use a device, as far as they are found in this time.
pub(super) fn users_of(device: DeviceNumber, patience: Duration) -> Vec<User> {
    let (sender, found) = channel();
    std::thread::spawn(move || look(device, &sender));
    let deadline = Instant::now() + patience;
    let mut users = Vec::new();
    loop {
        match found.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(user) => users.push(user),
            Err(RecvTimeoutError::Disconnected) => return users,
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(waited = ?patience, "/proc doesn't answer: not every process was looked at");
                return users;
            }
        }
    }
}

fn look(device: DeviceNumber, found: &Sender<User>) {
    let own = std::process::id();
    let processes: Vec<u32> =
        all_processes().into_iter().flatten().filter(|process| *process != own).collect();
    let mounts = Mounts::all(&processes);
    for pid in processes {
        let uses = mounts.uses(pid, device);
        // Who doesn't wait any more needs no answer.
        if !uses.is_empty() && found.send(User { process: Process::named(pid), uses }).is_err() {
            return;
        }
    }
}

/// The mounts of all namespaces, by the namespace and by their numbers.
struct Mounts {
    by_namespace: BTreeMap<PathBuf, Vec<Mount>>,
    devices: BTreeMap<u64, DeviceNumber>,
}

impl Mounts {
    fn all(processes: &[u32]) -> Self {
        let mut by_namespace: BTreeMap<PathBuf, Vec<Mount>> = BTreeMap::new();
        for process in processes {
            let Some(namespace) = namespace_of(*process) else { continue };
            // A process with a root of its own sees only a part: the longest table is the whole one.
            let table = std::fs::read(format!("/proc/{process}/mountinfo")).unwrap_or_default();
            let table = parse_table(&table);
            let known = by_namespace.entry(namespace).or_default();
            if table.len() > known.len() {
                *known = table;
            }
        }
        let devices = by_namespace.values().flatten().map(|mount| (mount.id, mount.device)).collect();
        Self { by_namespace, devices }
    }

    fn uses(&self, process: u32, device: DeviceNumber) -> BTreeSet<Use> {
        let proc = PathBuf::from(format!("/proc/{process}"));
        let mut uses: BTreeSet<Use> = self.open_files(&proc, device).collect();
        let directories = [("cwd", Use::Directory), ("root", Use::Root)];
        uses.extend(
            directories
                .into_iter()
                .filter(|(link, _)| self.leads_into(process, &proc.join(link), device))
                .map(|(_, usage)| usage),
        );
        let maps = std::fs::read(proc.join("maps")).unwrap_or_default();
        uses.extend(maps_a_file_of(&maps, device).then_some(Use::Mapping));
        uses
    }

    fn open_files(&self, proc: &Path, device: DeviceNumber) -> impl Iterator<Item = Use> {
        let open = std::fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        open.filter_map(move |file| {
            let link = file.path();
            let info = proc.join("fdinfo").join(file.file_name());
            match mount_id_in(&std::fs::read_to_string(info).ok()?).and_then(|id| self.devices.get(&id)) {
                Some(of) if *of == device => Some(Use::File),
                // Nodes are on this machine, so to look at one never takes long.
                Some(_) if std::fs::read_link(&link).is_ok_and(|to| to.starts_with("/dev")) => {
                    DeviceNumber::of(&link).is_ok_and(|node| node == device).then_some(Use::Device)
                }
                Some(_) => None,
                // In no table: taken away by a lazy unmount, and kept by who has it open.
                None => is_on(&link, device).then_some(Use::File),
            }
        })
    }

    /// By names alone: the deepest mount on the way is the one it leads into.
    fn leads_into(&self, process: u32, link: &Path, device: DeviceNumber) -> bool {
        let (Some(namespace), Ok(to)) = (namespace_of(process), std::fs::read_link(link)) else {
            return false;
        };
        let on_the_way =
            self.by_namespace.get(&namespace).into_iter().flatten().filter(|mount| to.starts_with(&mount.at));
        // The newest of those at one place lies on top.
        on_the_way
            .max_by_key(|mount| (mount.at.components().count(), mount.id))
            .is_some_and(|mount| mount.device == device)
    }
}

fn namespace_of(process: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok()
}

/// Whether an open file is on a device, without asking its file system anew.
fn is_on(file: &Path, device: DeviceNumber) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let found = statx(CWD, file, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS);
    found.is_ok_and(|found| DeviceNumber { major: found.stx_dev_major, minor: found.stx_dev_minor } == device)
}

/// Whether a file of a device is mapped, by lines `START-END rwxp OFFSET MAJOR:MINOR INODE PATH` (proc(5)), the device in
/// hexadecimal digits.
fn maps_a_file_of(maps: &[u8], device: DeviceNumber) -> bool {
    let wanted = format!("{:02x}:{:02x}", device.major, device.minor);
    let of = |line: &[u8]| line.split(|byte| *byte == b' ').nth(3).is_some_and(|of| of == wanted.as_bytes());
    maps.split(|byte| *byte == b'\n').any(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_known_by_the_device_it_is_on() {
        let maps = b"7f10-7f20 r--p 00000000 fd:03 131 /lib/libc.so\n7f30-7f40 rw-p 00000000 00:00 0\n";
        assert!(maps_a_file_of(maps, DeviceNumber { major: 253, minor: 3 }));
        assert!(!maps_a_file_of(maps, DeviceNumber { major: 253, minor: 4 }));
        assert!(!maps_a_file_of(b"fd:03", DeviceNumber { major: 253, minor: 3 }));
    }

    #[test]
    fn every_process_that_is_there_has_a_number_and_a_name() {
        let own = std::process::id();
        assert!(all_processes().expect("listed").any(|process| process == own));
        assert!(!Process::named(own).command.is_empty());
    }
}

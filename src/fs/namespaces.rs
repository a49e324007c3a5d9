//! Mounts in other mount namespaces: a copy of ours that came with a new namespace keeps the device busy for as long as
//! that lives, whatever is unmounted here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::journal;
use super::mounts::{Mount, MountTableError, mount_id_seen_by, parse_table};
use super::processes::{Process, all_processes};
use super::shield;
use crate::dm::DeviceNumber;

/// How often the namespaces are gone through: one can be made, with a copy of the mount, while we look at the others.
const PASSES: usize = 3;

/// Mounts that another namespace has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Some of the processes that live in it.
    pub processes: Vec<Process>,
    /// Where it has the device mounted.
    pub mounts: Vec<Mount>,
    /// Why it could not be entered, or a mount in it not be unmounted.
    pub refused: Option<String>,
}

/// A mount namespace that is not ours, with the processes in it.
struct Namespace {
    processes: Vec<u32>,
}

/// The mounts of a device in all namespaces but ours that a process lives in.
pub(super) fn mounts_elsewhere(device: DeviceNumber) -> Result<Vec<Elsewhere>, MountTableError> {
    Ok(others()?.iter().filter_map(|namespace| namespace.look_for(device)).collect())
}

/// Unmounts a device, and its shields, in all namespaces but ours. What is left, and why, is given back.
pub(super) fn unmount_elsewhere(
    device: DeviceNumber,
    whose: &str,
) -> Result<Vec<Elsewhere>, MountTableError> {
    let mut refusals = Vec::new();
    for _ in 0..PASSES {
        let found: Vec<(Namespace, Elsewhere)> = others()?
            .into_iter()
            .filter_map(|namespace| namespace.look_for(device).map(|found| (namespace, found)))
            .collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        refusals = found
            .into_iter()
            .filter_map(|(namespace, found)| {
                let refused = namespace.unmount(device, whose).err()?.to_string();
                Some(Elsewhere { refused: Some(refused), ..found })
            })
            .collect();
    }
    if refusals.is_empty() { mounts_elsewhere(device) } else { Ok(refusals) }
}

/// All mount namespaces but ours. A process that ends while we look is none.
fn others() -> Result<Vec<Namespace>, MountTableError> {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt"));
    let failed = |source| MountTableError { path: "/proc/self/ns/mnt".into(), source };
    let ours = of("self").map_err(failed)?;
    let mut found: BTreeMap<PathBuf, Vec<u32>> = BTreeMap::new();
    for process in all_processes().map_err(failed)? {
        if let Ok(namespace) = of(&process.to_string())
            && namespace != ours
        {
            found.entry(namespace).or_default().push(process);
        }
    }
    Ok(found.into_values().map(|processes| Namespace { processes }).collect())
}

impl Namespace {
    fn look_for(&self, device: DeviceNumber) -> Option<Elsewhere> {
        let (table, refused) = match self.enter(|table, _| table) {
            Ok(table) => (table, None),
            // Not to be entered, but perhaps one of its processes can be looked over the shoulder.
            Err(error) => (self.seen_by_its_processes(), Some(error.to_string())),
        };
        let mounts: Vec<Mount> = table.into_iter().filter(|mount| mount.device == device).collect();
        let processes = || self.processes.iter().map(|pid| Process::named(*pid)).collect();
        (!mounts.is_empty()).then(|| Elsewhere { processes: processes(), mounts, refused })
    }

    fn seen_by_its_processes(&self) -> Vec<Mount> {
        let tables = self.processes.iter().map(|process| std::fs::read(format!("/proc/{process}/mountinfo")));
        tables.flatten().map(|table| parse_table(&table)).next().unwrap_or_default()
    }

    /// The newest first: one may lie on another, and a shield lies under its mount.
    fn unmount(&self, device: DeviceNumber, whose: &str) -> io::Result<()> {
        self.enter(|table, itself| {
            let ours = |mount: &&Mount| mount.device == device || shield::is_one(mount, whose);
            let (mut covered, mut unmounted) = (false, false);
            for mount in table.iter().rev().filter(ours) {
                // What lies under another is looked at again in the next pass, or is gone with it by then.
                if mount_id_seen_by(itself, &mount.at).is_ok_and(|on_top| on_top == mount.id) {
                    if mount.device == device && !mount.file_system_read_only {
                        journal::flush(&mount.at);
                    }
                    unmount(&mount.at)?;
                    unmounted = true;
                } else {
                    covered |= mount.device == device;
                }
            }
            if covered && !unmounted {
                return Err(io::Error::other("something else is mounted over it"));
            }
            Ok(())
        })?
    }

    /// Does something inside, given the whole table of its mounts. In a thread of its own: who enters a mount namespace must
    /// share root and working directory with no other thread (setns(2)), and doesn't come back.
    fn enter<T: Send>(&self, work: impl FnOnce(Vec<Mount>, &File) -> T + Send) -> io::Result<T> {
        let mut namespace = Err(io::ErrorKind::NotFound.into());
        for process in &self.processes {
            namespace = File::open(format!("/proc/{process}/ns/mnt"));
            if namespace.is_ok() {
                break;
            }
        }
        let namespace = namespace?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // Our /proc, which the namespace may not have; from inside it shows the namespace from its root on, where
                // the table of a process in it shows no more than what lies under that one's own root.
                let itself = File::open("/proc/thread-self")?;
                unshare(CloneFlags::CLONE_FS)?;
                setns(&namespace, CloneFlags::CLONE_NEWNS)?;
                Ok(work(table_of(&itself)?, &itself))
            });
            inside.join().unwrap_or_else(|_| Err(io::Error::other("the thread that entered it failed")))
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn unmount(at: &Path) -> nix::Result<()> {
    steps::around(format_args!("unmount {} elsewhere", at.display()), || {
        umount2(at, MntFlags::UMOUNT_NOFOLLOW)
    })
}

/// The mounts that a task sees now, by its directory in /proc.
fn table_of(task: &File) -> io::Result<Vec<Mount>> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let table = rustix::fs::openat(task, Path::new("mountinfo"), flags, rustix::fs::Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(table).read_to_end(&mut bytes)?;
    Ok(parse_table(&bytes))
}

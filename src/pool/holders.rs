//! Who keeps a device busy, as far as that can be seen from here.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Pool, PoolError};
use crate::backing::block::Obstacle;
use crate::dm;
use crate::fs::{Elsewhere, User};

/// How many processes of one kind are named; who wants to see all can ask for them.
const NAMED: usize = 5;

/// Everybody who keeps a device busy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Holders {
    /// Where it is mounted in our own namespace.
    pub mounts: Vec<PathBuf>,
    /// Mount namespaces that have it mounted.
    #[serde(serialize_with = "as_json")]
    pub namespaces: Vec<Elsewhere>,
    /// Processes that use it or its file system.
    pub processes: Vec<User>,
    /// Devices that are made of it, and swap.
    pub devices: Vec<String>,
}

impl Holders {
    /// Whether nobody was found. The kernel itself may hold a device, and so may a namespace without a process.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_nothing_but_processes() && self.processes.is_empty()
    }

    /// Whether it can only be one of udev's probes, which are over in a moment, and may be gone before they are seen. udev
    /// probes in its workers (`blkid` is built in); they had udevd's own name before systemd gave them one.
    pub(super) fn is_probe(&self) -> bool {
        let of_udev =
            |user: &User| matches!(&*user.process.command, "(udev-worker)" | "systemd-udevd" | "udevd");
        self.is_nothing_but_processes() && self.processes.iter().all(of_udev)
    }

    fn is_nothing_but_processes(&self) -> bool {
        self.mounts.is_empty() && self.namespaces.is_empty() && self.devices.is_empty()
    }
}

/// A clause for each, joined by semicolons: `mounted at /mnt; process 12 (vim) has a file in it open`.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: Vec<String> =
            self.mounts.iter().map(|at| format!("mounted at {}", at.display())).collect();
        told.extend(self.namespaces.iter().map(told_of_namespace));
        told.extend(self.processes.iter().take(NAMED).map(|user| {
            let uses: Vec<String> = user.uses.iter().map(ToString::to_string).collect();
            format!("{} {}", user.process, uses.join(" and "))
        }));
        if self.processes.len() > NAMED {
            told.push(format!("{} more processes use it", self.processes.len() - NAMED));
        }
        told.extend(self.devices.iter().map(|by| format!("held by {by}")));
        f.write_str(&told.join("; "))
    }
}

fn told_of_namespace(namespace: &Elsewhere) -> String {
    let at: Vec<String> = namespace.mounts.iter().map(|mount| mount.at.display().to_string()).collect();
    let mut processes: Vec<String> =
        namespace.processes.iter().take(NAMED).map(ToString::to_string).collect();
    if namespace.processes.len() > NAMED {
        processes.push(format!("{} more", namespace.processes.len() - NAMED));
    }
    let why = namespace.refused.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!("mounted at {} in the mount namespace of {}{why}", at.join(", "), processes.join(", "))
}

/// Namespaces for programs.
fn as_json<S: serde::Serializer>(namespaces: &[Elsewhere], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Namespace<'a> {
        mounted_at: Vec<&'a PathBuf>,
        processes: &'a [crate::fs::Process],
    }
    serializer.collect_seq(namespaces.iter().map(|namespace| Namespace {
        mounted_at: namespace.mounts.iter().map(|mount| &mount.at).collect(),
        processes: &namespace.processes,
    }))
}

impl Pool<'_> {
    /// Everybody who keeps an active device busy. It is for people, so what can't be found out is left out.
    pub(super) fn holders(&self, info: &dm::Info) -> Holders {
        let devices = self.host.blocks.look(&info.device.kernel_node());
        let users = devices.and_then(|device| self.host.blocks.users(&device)).unwrap_or_default();
        let device = |obstacle| match obstacle {
            Obstacle::Held { by, .. } => Some(by),
            Obstacle::Swap { .. } => Some("the kernel, as swap".to_owned()),
            _ => None,
        };
        let mounts = self.host.fs.mounts(info.device).unwrap_or_default();
        Holders {
            mounts: mounts.into_iter().map(|mount| mount.at).collect(),
            namespaces: self.host.fs.mounts_elsewhere(info.device).unwrap_or_default(),
            processes: self.host.fs.users(info.device),
            devices: users.into_iter().filter_map(device).collect(),
        }
    }

    /// That a device is in use, and by whom.
    pub(super) fn in_use(&self, info: &dm::Info) -> PoolError {
        let by = self.holders(info);
        PoolError::InUse { device: info.name.clone(), open_count: info.open_count, by: Box::new(by) }
    }

    /// An error with what was left out of it while it was only a reason to try again: who uses the device.
    pub(super) fn explained(&self, error: PoolError) -> PoolError {
        match error {
            PoolError::InUse { device, .. } => match self.host.dm.find(&device) {
                Ok(Some(info)) => self.in_use(&info),
                _ => PoolError::InUse { device, open_count: 0, by: Box::default() },
            },
            error => error,
        }
    }
}

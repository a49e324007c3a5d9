//! What can be wrong with a pool, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::backing::Part;
use crate::units::{Bytes, DockerSize, PoolName, TransactionId};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// It works, and won't for ever.
    Warning,
    /// Something doesn't work, or data is in danger.
    Critical,
}

impl Severity {
    /// As the start of a line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "Note",
            Self::Warning => "Warning",
            Self::Critical => "Critical",
        }
    }
}

/// Why metadata was not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchecked {
    /// The checker isn't installed.
    NoTool,
    /// Somebody wanted no check.
    Skipped,
    /// The check had not come to its end in time.
    OutOfTime {
        /// How long it had.
        limit: Duration,
    },
}

/// Something that is wrong with a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such pool.
    Absent,
    /// A setup was begun and didn't end.
    HalfSetUp,
    /// The pool is not active.
    Inactive,
    /// No block is left for data.
    OutOfDataSpace,
    /// Few blocks are left for data.
    DataNearlyFull {
        /// What is free.
        free: Bytes,
        /// All there is.
        total: Bytes,
        /// Whether that is too little for a new image or container.
        refuses_new: bool,
    },
    /// No block is left for metadata.
    OutOfMetadataSpace,
    /// Few blocks are left for metadata.
    MetadataNearlyFull {
        /// What is free.
        free: Bytes,
        /// All there is.
        total: Bytes,
    },
    /// The kernel lets nothing be written.
    ReadOnly,
    /// The kernel wants the metadata checked.
    NeedsCheck,
    /// The kernel gave the pool up.
    Failed,
    /// Catalog and pool don't belong to the same moment, or not together at all.
    TransactionMismatch {
        /// The catalog's transaction id.
        expected: TransactionId,
        /// The pool's.
        found: TransactionId,
    },
    /// The metadata's superblock is not one.
    SuperblockDamaged {
        /// Whether it is all zeros, which the kernel would take for a new pool.
        all_zero: bool,
    },
    /// A loop file is not there.
    LoopFileMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A loop file was cut short.
    LoopFileShort {
        /// Which.
        path: PathBuf,
        /// How long it was made.
        expected: Bytes,
        /// How long it is.
        found: Bytes,
    },
    /// A block device under the pool is not there.
    DeviceMissing {
        /// Whether it is the one with the data or with the metadata.
        part: Part,
        /// What it was called at setup.
        name: PathBuf,
        /// What it is known by.
        identity: String,
    },
    /// A block device under the pool is smaller than it was.
    DeviceShort {
        /// Whether it is the one with the data or with the metadata.
        part: Part,
        /// What it was called at setup.
        name: PathBuf,
        /// How large it was.
        expected: Bytes,
        /// How large it is.
        found: Bytes,
    },
    /// What the pool lies on is larger than the pool takes.
    DeviceLarger {
        /// Whether it is under the data or under the metadata.
        part: Part,
        /// The file or the device.
        path: PathBuf,
        /// How large it is.
        has: Bytes,
        /// How much of it the pool takes.
        takes: Bytes,
    },
    /// A growth was begun and is not known to have come to its end.
    GrowthUnfinished,
    /// The thin pool that somebody else made is not active.
    ThinPoolMissing {
        /// Its name.
        name: String,
    },
    /// The metadata was found to be damaged when the pool was last to be activated.
    MetadataDamaged {
        /// What the checker said.
        said: String,
    },
    /// The metadata counts blocks as used that nobody uses.
    MetadataLeaks,
    /// Few ids are left for devices.
    IdsScarce {
        /// How many are in use.
        used: u64,
        /// How many there are.
        limit: u64,
    },
    /// Few snapshots can still be made in the pool's life.
    SnapshotsScarce {
        /// How many were made, at most.
        made: u64,
        /// How many can be.
        limit: u64,
    },
    /// The metadata could not be checked when the pool was activated.
    NotChecked {
        /// Whether the pool had not been put to rest in order.
        after_crash: bool,
        /// Why not.
        why: Unchecked,
    },
    /// Somebody suspended the pool: whatever is written or read waits.
    Suspended,
    /// The file system under a loop file is nearly full.
    HostNearlyFull {
        /// The loop file.
        path: PathBuf,
        /// What is free there.
        available: Bytes,
    },
    /// The file system under a loop file couldn't be asked for its room.
    HostRoomUnknown {
        /// The loop file.
        path: PathBuf,
    },
    /// The loop file may grow by more than there is room for.
    Overcommitted {
        /// The loop file.
        path: PathBuf,
        /// What is free in the pool.
        free: Bytes,
        /// What is free in the file system under it.
        available: Bytes,
    },
    /// Catalog or kernel couldn't be asked.
    StatusUnreadable {
        /// Why.
        why: String,
    },
    /// The pool is active, and nobody watches over it.
    NotMonitored,
    /// The pool lies on loop files.
    Loopback,
}

impl Problem {
    /// Whether it says no more than that the pool isn't active.
    pub(super) fn is_inactivity(&self) -> bool {
        matches!(self, Self::Inactive | Self::ThinPoolMissing { .. })
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Absent
            | Self::Loopback
            | Self::NotMonitored
            | Self::Overcommitted { .. }
            | Self::DeviceLarger { .. }
            | Self::NotChecked { after_crash: false, .. } => Severity::Note,
            Self::Inactive
            | Self::DataNearlyFull { .. }
            | Self::MetadataNearlyFull { .. }
            | Self::ThinPoolMissing { .. }
            | Self::GrowthUnfinished
            | Self::MetadataLeaks
            | Self::IdsScarce { .. }
            | Self::SnapshotsScarce { .. }
            | Self::NotChecked { after_crash: true, .. }
            | Self::HostRoomUnknown { .. } => Severity::Warning,
            Self::HostNearlyFull { available, .. } if available.0 > 0 => Severity::Warning,
            Self::HalfSetUp
            | Self::OutOfDataSpace
            | Self::OutOfMetadataSpace
            | Self::ReadOnly
            | Self::NeedsCheck
            | Self::Failed
            | Self::TransactionMismatch { .. }
            | Self::SuperblockDamaged { .. }
            | Self::LoopFileMissing { .. }
            | Self::LoopFileShort { .. }
            | Self::DeviceMissing { .. }
            | Self::DeviceShort { .. }
            | Self::MetadataDamaged { .. }
            | Self::Suspended
            | Self::HostNearlyFull { .. }
            | Self::StatusUnreadable { .. } => Severity::Critical,
        }
    }

    /// Its name for programs, which never changes.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::HalfSetUp => "half_set_up",
            Self::Inactive => "inactive",
            Self::OutOfDataSpace => "out_of_data_space",
            Self::DataNearlyFull { .. } => "data_nearly_full",
            Self::OutOfMetadataSpace => "out_of_metadata_space",
            Self::MetadataNearlyFull { .. } => "metadata_nearly_full",
            Self::ReadOnly => "read_only",
            Self::NeedsCheck => "needs_check",
            Self::Failed => "failed",
            Self::TransactionMismatch { .. } => "transaction_mismatch",
            Self::SuperblockDamaged { .. } => "superblock_damaged",
            Self::LoopFileMissing { .. } => "loop_file_missing",
            Self::LoopFileShort { .. } => "loop_file_short",
            Self::DeviceMissing { .. } => "device_missing",
            Self::DeviceShort { .. } => "device_short",
            Self::DeviceLarger { .. } => "device_larger",
            Self::GrowthUnfinished => "growth_unfinished",
            Self::ThinPoolMissing { .. } => "thin_pool_missing",
            Self::MetadataDamaged { .. } => "metadata_damaged",
            Self::MetadataLeaks => "metadata_leaks",
            Self::IdsScarce { .. } => "ids_scarce",
            Self::SnapshotsScarce { .. } => "snapshots_scarce",
            Self::NotChecked { .. } => "metadata_not_checked",
            Self::Suspended => "suspended",
            Self::HostNearlyFull { .. } => "host_nearly_full",
            Self::HostRoomUnknown { .. } => "host_room_unknown",
            Self::Overcommitted { .. } => "overcommitted",
            Self::StatusUnreadable { .. } => "status_unreadable",
            Self::NotMonitored => "not_monitored",
            Self::Loopback => "loopback",
        }
    }

    /// What is wrong and what to do next, for the person who has to do it.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "a list of sentences, one after the other")]
    pub fn sentence(&self, pool: &PoolName) -> String {
        let run = |command: &str| command_for(pool, command);
        let size = |bytes: &Bytes| DockerSize(*bytes).to_string();
        let (setup, activate, deactivate) = (run("setup"), run("activate"), run("deactivate"));
        let repair = run("repair");
        let (remove_container, remove_image) = (run("container remove"), run("image remove"));
        match self {
            Self::Absent => format!("There is no pool {pool}. `{setup}` makes one."),
            Self::HalfSetUp => format!(
                "A setup or a destroy of this pool is at work, or was interrupted. Run `{setup}` to have a pool, or `{}` to \
                 have none.",
                run("destroy")
            ),
            Self::Inactive => format!("The pool is set up but not active. `{activate}` starts it."),
            Self::OutOfDataSpace => format!(
                "The pool has no free block for data: writes to new blocks wait or fail. Free some with \
                 `{remove_container}` and `{remove_image}`; removing still works."
            ),
            Self::DataNearlyFull { free, total, refuses_new } => format!(
                "Only {} of {} for data is free{}. Free some with `{remove_container}` and `{remove_image}`.",
                size(free),
                size(total),
                if *refuses_new {
                    ", less than the minimum: new images and containers are refused"
                } else {
                    ""
                },
            ),
            Self::OutOfMetadataSpace => format!(
                "The pool has no free block for metadata, so the kernel made it read-only and nothing can be \
                 removed either. Give it more metadata with `{}`, which works while it is active; then remove what you can \
                 with `{remove_container}` and `{remove_image}`.",
                run("extend")
            ),
            Self::MetadataNearlyFull { free, total } => format!(
                "Only {} of {} for metadata is free; when it is full, not even removing works. Remove what you \
                 can now with `{remove_container}` and `{remove_image}`.",
                size(free),
                size(total),
            ),
            Self::ReadOnly => format!(
                "The kernel made the pool read-only after an error; the kernel's log (`dmesg`) has the reason. \
                 Stop the containers, `{deactivate}`, have `{repair}` look at the metadata, then `{activate}`."
            ),
            Self::NeedsCheck => format!(
                "The kernel wants the pool's metadata checked and writes nothing until then. Stop the containers, \
                 `{deactivate}`, have `{repair}` check all of it and mend what is wrong, then `{activate}`."
            ),
            Self::Failed => format!(
                "The kernel gave the pool up: nothing can be read or written. `dmesg` has the reason, most often \
                 the disk under it. Stop the containers, `{deactivate}`, have `{repair}` look at the metadata, then `{activate}`. \
                 Don't destroy the pool: the data is most likely intact."
            ),
            Self::TransactionMismatch { expected, found } => format!(
                "Catalog and pool don't belong together: the catalog expects transaction id {expected}, the pool \
                 has {found}. One of them was restored from an older copy or belongs to another pool. Nothing is \
                 changed until they agree: put back the pair that was saved together, then `{activate}`; or let `{}` show what differs, \
                 and `{}` bring them together.",
                run("check"),
                run("repair"),
            ),
            Self::SuperblockDamaged { all_zero: true } => format!(
                "The pool's metadata begins with zeros: it was wiped or \
                 replaced. Activating it would make the kernel format an empty pool over it, so that is refused. \
                 `{repair}` tells what can be saved, of what is left of it or of a backup, and asks before it does."
            ),
            Self::SuperblockDamaged { all_zero: false } => format!(
                "The superblock of the pool's metadata is damaged, so the pool isn't activated. `{repair}` tells what can be \
                 saved and asks before it does; then `{activate}`."
            ),
            Self::LoopFileMissing { path } => format!(
                "The loop file {} is missing. Mount the file system it lies on, or put the file back, then \
                 `{activate}`.",
                path.display()
            ),
            Self::LoopFileShort { path, expected, found } => format!(
                "The loop file {} is {} long and was made {} long: what lay behind is lost. Stop the containers, \
                 `{deactivate}`, and put back a copy of both loop files, then `{activate}`.",
                path.display(),
                size(found),
                size(expected),
            ),
            Self::DeviceMissing { part, name, identity } => format!(
                "The device with the pool's {part} is missing: it was {} and is known by its {identity}. Plug it in \
                 (`lsblk` shows what is there, `lvs` the volumes), then `{activate}`, which makes a volume active by itself.",
                name.display()
            ),
            Self::DeviceShort { part, name, expected, found } => format!(
                "The device with the pool's {part}, {}, has {} and had {} when the pool was set up: what lay behind is out of \
                 reach. Bring it back to its size, then `{activate}`.",
                name.display(),
                size(found),
                size(expected),
            ),
            Self::DeviceLarger { part, path, has, takes } => format!(
                "{} has {}, of which the pool takes {} for its {part}. `{}` takes the rest, if that is what it is for.",
                path.display(),
                size(has),
                size(takes),
                run("extend")
            ),
            Self::GrowthUnfinished => format!(
                "A process that was making the pool larger was interrupted. `{}` finishes it, as does the next activation, and \
                 whoever watches over the pool.",
                run("extend")
            ),
            Self::ThinPoolMissing { name } => format!(
                "The thin pool {name} isn't active, and it is for whoever made it to activate it (an LVM pool: `vgchange \
                 -ay`)."
            ),
            Self::MetadataDamaged { said } => format!(
                "The pool's metadata is damaged ({said}), so the pool isn't activated. `{repair}` tells what would be lost, and asks; \
                 it keeps the damaged metadata. `{activate} --no-check` loads it as it is."
            ),
            Self::IdsScarce { used, limit } => format!(
                "{used} of the {limit} ids that a pool has for its devices are in use; without a free one, no image is imported \
                 and no container made. Remove what you can with `{remove_container}` and `{remove_image}`."
            ),
            Self::SnapshotsScarce { made, limit } => format!(
                "Up to {made} of the {limit} snapshots were made that a pool can have in its life (`{}` counts them): more are \
                 refused, as the kernel would mix up blocks. Set up a new pool and move to it what is needed; removing helps not.",
                run("check")
            ),
            Self::MetadataLeaks => format!(
                "The pool's metadata counts blocks as used that nobody uses: nothing is lost but their room. Stop the \
                 containers, `{deactivate}`, and `{repair}` to have it back."
            ),
            Self::NotChecked { after_crash, why } => {
                not_checked(*after_crash, *why, [&deactivate, &repair, &activate])
            }
            Self::Suspended => format!(
                "The pool is suspended: whatever reads or writes in it waits. Should nobody be at work on it, \
                 `{activate}` resumes it."
            ),
            Self::HostNearlyFull { path, available } => format!(
                "The file system under {} has only {} left; when it is full, writes into the pool fail. Free room \
                 there, or in the pool with `{remove_container}` and `{remove_image}`.",
                path.display(),
                size(available),
            ),
            Self::HostRoomUnknown { path } => format!(
                "The room left under {} couldn't be read, so the space available may be less than shown. Check \
                 that its file system is mounted (`df {}`).",
                path.display(),
                path.display(),
            ),
            Self::Overcommitted { path, free, available } => format!(
                "The pool may still grow by {}, but the file system under {} has {} left: that is what counts.",
                size(free),
                path.display(),
                size(available),
            ),
            Self::StatusUnreadable { why } => format!(
                "The status couldn't be read: {why}. Run `{}` again as root; what it can't read it doesn't call \
                 healthy.",
                run("status")
            ),
            Self::NotMonitored => format!(
                "Nobody watches over the pool, so it doesn't grow by itself when it is nearly full. `{}` does that, and a pool \
                 that comes back at boot has a unit for it: `systemctl enable --now thinpool-monitor@{pool}`.",
                run("monitor")
            ),
            Self::Loopback => {
                "The pool lies on loop files: good for trying and for small machines, slower than \
                 a block device."
                    .to_owned()
            }
        }
    }
}

fn not_checked(after_crash: bool, why: Unchecked, commands: [&str; 3]) -> String {
    let [deactivate, repair, activate] = commands;
    let what = match why {
        Unchecked::NoTool => {
            "was not checked when the pool was activated, because thin_check isn't installed (Debian: apt-get install \
             thin-provisioning-tools)"
                .to_owned()
        }
        Unchecked::Skipped => "was not checked when the pool was activated, because of --no-check".to_owned(),
        Unchecked::OutOfTime { limit } => {
            format!("was not checked to the end when the pool was activated: {} s were not enough", limit.as_secs())
        }
    };
    let crash = if after_crash { ", after a shutdown that was not in order" } else { "" };
    format!(
        "The pool's metadata {what}{crash}. The kernel checks each block that it reads, so the pool can be used; to be sure, \
         `{deactivate}`, have `{repair}` look at it, then `{activate}`."
    )
}

/// A command of ours for this pool, as it can be copied.
fn command_for(pool: &PoolName, command: &str) -> String {
    if pool.as_str() == PoolName::DEFAULT {
        format!("thinpool {command}")
    } else {
        format!("thinpool --pool {pool} {command}")
    }
}

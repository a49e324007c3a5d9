//! What a benchmark in the test machine says to the report on the host: one line of JSON a record, by way of its output.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done.
pub mod job {
    /// A copy is made; whether it has a device is not asked.
    pub const SNAPSHOT: &str = "snapshot";
    /// A copy that is there gets its device.
    pub const ACTIVATE: &str = "activation";
    /// Both.
    pub const DEVICE: &str = "snapshot and device";
    /// A copy is made, mounted, and has its first byte on the disk.
    pub const WRITE: &str = "snapshot, mount and first byte";
    /// A copy and its device go.
    pub const REMOVE: &str = "removal";
    /// Nothing: what asking costs.
    pub const IDLE: &str = "idle call";
    /// What anybody pays: `/bin/true`.
    pub const PROCESS: &str = "process start";
    /// What anybody pays who keeps books: two pages on the disk.
    pub const SYNC: &str = "fdatasync";
    /// A hundred copies.
    pub const HUNDRED: &str = "a hundred snapshots";
    /// A list of the containers.
    pub const READ: &str = "list by the library";
    /// One more copy, in a pool that is there.
    pub const CREATE_AMONG: &str = "creation in a pool of";
    /// One fewer.
    pub const REMOVE_AMONG: &str = "removal in a pool of";
    /// The command `status`.
    pub const STATUS: &str = "status of a pool of";
    /// The command `container list`.
    pub const LIST: &str = "container list in a pool of";
    /// A pool gets its device, with the check of its metadata.
    pub const ACTIVATE_POOL: &str = "activation of a pool of";
    /// A page goes to a block that has to be copied first.
    pub const FIRST_WRITE: &str = "first write to a shared block";
    /// A page goes to a block of the device's own.
    pub const WRITE_AGAIN: &str = "second write to it";
    /// The command `dmsetup status`.
    pub const DMSETUP_STATUS: &str = "dmsetup status of a pool of";
    /// An archive becomes files on the disk.
    pub const IMPORT: &str = "import of an archive, to the disk";
    /// What ten changed files in a tree are found by.
    pub const DIFFERENCE: &str = "ten changed files found";
    /// The command `usage`.
    pub const USAGE: &str = "usage of a pool of";
    /// `thin_ls`, with the same columns, of a metadata snapshot that is there already.
    pub const THIN_LS: &str = "thin_ls of a pool of";
}

/// What is counted, once.
pub mod count {
    /// The most memory that an import had at once.
    pub const IMPORT_PEAK: &str = "peak memory of an import (VmHWM)";
    /// What a monitor at rest has of memory to itself.
    pub const MONITOR_OWN: &str = "memory of the monitor's own (RssAnon)";
    /// The same with what it has of files: the program and its libraries.
    pub const MONITOR_ALL: &str = "memory of the monitor (VmRSS)";
    /// For how long a monitor had a processor.
    pub const MONITOR_TIME: &str = "processor time of the monitor in an idle minute";
    /// How often it had one.
    pub const MONITOR_WAKES: &str = "times that the monitor ran in an idle minute";
    /// What the kernel has used of the metadata.
    pub const METADATA: &str = "metadata in use";
    /// What each device takes of it, most of which nobody has written to.
    pub const METADATA_EACH: &str = "metadata for each device, as it was made";
    /// What a snapshot takes of it that was written to in fourteen places.
    pub const METADATA_WRITTEN: &str = "metadata for each device, with fourteen places written to";
}

/// By what it is done, where a target names it.
pub mod way {
    /// The kernel's own ioctls.
    pub const FLOOR: &str = "bare ioctls";
    /// thinpool's calls for device-mapper, without a catalog.
    pub const LAYER: &str = "thinpool, its device-mapper layer";
    /// thinpool in a process that has the pool open.
    pub const LIBRARY: &str = "thinpool, library";
    /// thinpool by a new process for each step.
    pub const COMMAND: &str = "thinpool, command";
    /// dmsetup, which waits for udev.
    pub const DMSETUP: &str = "dmsetup";
    /// LVM.
    pub const LVM: &str = "LVM";
    /// containerd's devmapper snapshotter.
    pub const CONTAINERD: &str = "containerd";
    /// Docker's devicemapper driver.
    pub const DOCKER: &str = "Docker";
    /// A snapshot of a subvolume.
    pub const BTRFS: &str = "btrfs";
    /// An overlay.
    pub const OVERLAY: &str = "overlay";
    /// A whole copy.
    pub const COPY: &str = "cp -a";
    /// The machine itself.
    pub const MACHINE: &str = "the machine";
    /// One after the other.
    pub const IN_A_ROW: &str = "one after the other";
    /// All together.
    pub const AT_ONCE: &str = "all at once";
    /// While nobody else does anything.
    pub const ALONE: &str = "alone";
    /// The longest while a hundred copies are made.
    pub const MEANWHILE: &str = "the longest while a hundred are made";
    /// The same for somebody who never waits for a processor.
    pub const UNSTARVED: &str = "the same, with a processor whenever it wants one";
    /// GNU tar, and an unmount.
    pub const TAR: &str = "tar -x";
    /// GNU diff.
    pub const DIFF: &str = "diff -rq";
    /// The whole tree.
    pub const WHOLE: &str = "the whole archive";
    /// A quarter of it.
    pub const QUARTER: &str = "a quarter of it";

    /// In a pool with blocks of so many KiB.
    pub fn of_blocks(kib: u64) -> String {
        format!("{kib} KiB blocks")
    }

    /// In a pool of so many devices.
    pub fn of_size(devices: u32) -> String {
        format!("{devices} devices")
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// The machine, and the version of everything that took part.
    Machine {
        /// What it is.
        what: String,
        /// Its version, or its size.
        is: String,
    },
    /// How long something took, each time that it was done.
    Times {
        /// What was done.
        job: String,
        /// By what.
        way: String,
        /// How long, in nanoseconds.
        times: Vec<u64>,
    },
    /// Something that is counted, not timed.
    Count {
        /// What is counted.
        what: String,
        /// Of what.
        of: String,
        /// How many.
        is: u64,
        /// Of which unit.
        unit: Unit,
    },
    /// Something that couldn't take part.
    Absent {
        /// By what it was to be done.
        way: String,
        /// Why it wasn't.
        why: String,
    },
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
    /// Times that something happened.
    Times,
}

impl Record {
    /// The machine, or a program's version.
    pub fn machine(what: &str, is: &str) -> Self {
        Self::Machine { what: what.to_owned(), is: is.to_owned() }
    }

    /// What was measured.
    pub fn times(job: &str, way: &str, times: &[Duration]) -> Self {
        let nanoseconds = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self::Times {
            job: job.to_owned(),
            way: way.to_owned(),
            times: times.iter().map(nanoseconds).collect(),
        }
    }

    /// What was counted.
    pub fn count(what: &str, of: &str, is: u64, unit: Unit) -> Self {
        Self::Count { what: what.to_owned(), of: of.to_owned(), is, unit }
    }

    /// What couldn't take part, and why.
    pub fn absent(way: &str, why: String) -> Self {
        Self::Absent { way: way.to_owned(), why }
    }

    /// Hands it over.
    pub fn emit(&self) {
        println!("{}", serde_json::to_string(self).unwrap_or_default());
    }

    /// Reads a line, if it is one of ours.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim_end()).ok()
    }
}

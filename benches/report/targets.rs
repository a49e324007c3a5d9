//! What is to be reached, each a ratio of two things that were measured in the same run.

use crate::figures::Figures;
use crate::record::count::IMPORT_PEAK;
use crate::record::job::{
    ACTIVATE, ACTIVATE_POOL, CREATE_AMONG, DEVICE, DMSETUP_STATUS, HUNDRED, IMPORT, PROCESS, READ,
    REMOVE_AMONG, SNAPSHOT, STATUS, SYNC, WRITE,
};
use crate::record::way::{
    ALONE, AT_ONCE, COMMAND, CONTAINERD, COPY, DMSETUP, DOCKER, FLOOR, IN_A_ROW, LAYER, LIBRARY, LVM,
    MACHINE, QUARTER, TAR, UNSTARVED, WHOLE, of_size,
};

/// One of them.
pub struct Target {
    /// As the project counts them.
    pub number: u32,
    /// What is divided by what.
    pub says: &'static str,
    pub bound: Bound,
    ratio: fn(&Figures) -> Option<f64>,
}

/// Where the ratio is to be.
#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(bound) => ratio <= bound,
            Self::AtLeast(bound) => ratio >= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
        }
    }
}

impl Target {
    /// The ratio; `None` when one of the two wasn't measured.
    pub fn ratio(&self, figures: &Figures) -> Option<f64> {
        (self.ratio)(figures)
    }
}

const fn target(number: u32, says: &'static str, bound: Bound, ratio: fn(&Figures) -> Option<f64>) -> Target {
    Target { number, says, bound, ratio }
}

/// How many times as long as the command's creation somebody's takes.
fn slower_than_ours(figures: &Figures, job: &str, way: &str) -> Option<f64> {
    Some(figures.median(job, way)? / figures.median(SNAPSHOT, COMMAND)?)
}

/// How many times as long a job takes where there are many devices.
fn growth(figures: &Figures, job: &str) -> Option<f64> {
    Some(figures.median(job, &of_size(10_000))? / figures.median(job, &of_size(10))?)
}

/// All targets.
pub const TARGETS: [Target; 20] = [
    target(1, "library: snapshot / (bare create_snap + fdatasync)", Bound::AtMost(1.5), |of| {
        Some(of.median(SNAPSHOT, LIBRARY)? / (of.median(SNAPSHOT, FLOOR)? + of.median(SYNC, MACHINE)?))
    }),
    target(2, "library: device for our own mount / bare create, load, resume", Bound::AtMost(1.2), |of| {
        Some(of.median(ACTIVATE, LAYER)? / of.median(ACTIVATE, FLOOR)?)
    }),
    target(3, "`lvcreate -s` / command: create", Bound::AtLeast(10.0), |of| {
        slower_than_ours(of, DEVICE, LVM)
    }),
    target(3, "`dmsetup message`, `create` / command: create", Bound::AtLeast(4.0), |of| {
        slower_than_ours(of, DEVICE, DMSETUP)
    }),
    target(3, "`ctr snapshots prepare` / command: create", Bound::AtLeast(5.0), |of| {
        slower_than_ours(of, SNAPSHOT, CONTAINERD)
    }),
    target(3, "`docker create` / command: create", Bound::AtLeast(8.0), |of| {
        slower_than_ours(of, SNAPSHOT, DOCKER)
    }),
    target(3, "command: create / (`/bin/true` + 2 × library: create)", Bound::AtMost(1.0), |of| {
        let bound = of.median(PROCESS, MACHINE)? + 2.0 * of.median(SNAPSHOT, LIBRARY)?;
        Some(of.median(SNAPSHOT, COMMAND)? / bound)
    }),
    target(4, "`docker create` / command: create, mount, first byte", Bound::AtLeast(3.0), |of| {
        Some(of.median(SNAPSHOT, DOCKER)? / of.median(WRITE, COMMAND)?)
    }),
    target(4, "`cp -a` / command: create, mount, first byte", Bound::AtLeast(20.0), |of| {
        Some(of.median(SNAPSHOT, COPY)? / of.median(WRITE, COMMAND)?)
    }),
    target(5, "a hundred at once / one after the other", Bound::AtMost(1.1), |of| {
        Some(of.median(HUNDRED, AT_ONCE)? / of.median(HUNDRED, IN_A_ROW)?)
    }),
    target(
        5,
        "longest read meanwhile, never short of a processor / (read alone + one creation)",
        Bound::AtMost(1.0),
        |of| {
            let creation = of.median(HUNDRED, IN_A_ROW)? / 100.0;
            Some(of.median(READ, UNSTARVED)? / (of.median(READ, ALONE)? + creation))
        },
    ),
    target(6, "creation, at 10,000 devices / at 10", Bound::AtMost(1.2), |of| growth(of, CREATE_AMONG)),
    target(6, "removal, at 10,000 devices / at 10", Bound::AtMost(1.2), |of| growth(of, REMOVE_AMONG)),
    target(6, "`status`, at 10,000 devices / at 10", Bound::AtMost(1.2), |of| growth(of, STATUS)),
    target(6, "activation, at 10,000 devices / at 10", Bound::AtMost(1.2), |of| growth(of, ACTIVATE_POOL)),
    target(7, "`tar -x` and unmount / command: import", Bound::AtLeast(0.9), |of| {
        Some(of.median(IMPORT, TAR)? / of.median(IMPORT, COMMAND)?)
    }),
    target(7, "an import's peak memory, program and buffers included / 32 MiB", Bound::AtMost(1.0), |of| {
        Some(of.count(IMPORT_PEAK, WHOLE)? / f64::from(32 << 20))
    }),
    target(7, "the same / that with a quarter of the archive", Bound::AtMost(1.1), |of| {
        Some(of.count(IMPORT_PEAK, WHOLE)? / of.count(IMPORT_PEAK, QUARTER)?)
    }),
    target(8, "`thinpool status` / `dmsetup status`", Bound::AtMost(1.0), |of| {
        Some(of.median(STATUS, &of_size(10))? / of.median(DMSETUP_STATUS, &of_size(10))?)
    }),
    target(8, "the release build / 8 MiB", Bound::AtMost(1.0), |of| {
        #[allow(clippy::cast_precision_loss, reason = "bytes of some MiB fit a float")]
        of.binary.map(|size| size as f64 / f64::from(8 << 20))
    }),
];

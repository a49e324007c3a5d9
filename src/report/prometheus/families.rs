//! Every metric of a pool: its name, its help, and where in the status it is found.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use super::sample::{Sample, one, states};
use crate::catalog::MetadataCheck;
use crate::dm::NoSpacePolicy;
use crate::pool::status::{
    Discard, Fate, Figures, HostSupport, Known, LiesOn, LoopFile, Mode, Severity, Space, State, Status,
    Verdict,
};
use crate::thin_tools::Outcome;
use crate::units::{Bytes, MetaBlocks};

/// A metric: the samples of one name.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: fn(&Status) -> Vec<Sample>,
}

const fn family(name: &'static str, help: &'static str, samples: fn(&Status) -> Vec<Sample>) -> Family {
    Family { name, help, samples }
}

/// All of them, in the order in which they are told.
pub(super) const FAMILIES: &[Family] = &[
    family("thinpool_pool_info", "What the pool is.", |s| of_catalog(s, info)),
    family("thinpool_pool_state", "How far the pool is set up: 1 for the state that holds.", |s| {
        states("state", &STATES, Some(&s.state))
    }),
    family("thinpool_pool_health", "The pool's health in one word: 1 for the one that holds.", |s| {
        states("health", &VERDICTS, Some(&s.verdict()))
    }),
    family("thinpool_pool_mode", "What the pool can still do: 1 for the mode that holds.", |s| {
        states("mode", &MODES, s.live.as_ref().map(|live| &live.mode))
    }),
    family("thinpool_pool_problems", "How much was found, by severity.", problems_by_severity),
    family("thinpool_pool_problem", "What was found, and how often; no series for what was not.", problems),
    family("thinpool_pool_data_used_bytes", "Data blocks in use.", |s| data(s, |space| space.used)),
    family("thinpool_pool_data_size_bytes", "All data blocks.", |s| data(s, |space| space.total)),
    family(
        "thinpool_pool_data_available_bytes",
        "What can still be written, limited by the file system under a loop file.",
        |s| data(s, |space| space.available),
    ),
    family("thinpool_pool_metadata_used_bytes", "Metadata blocks in use.", |s| {
        metadata(s, |space| space.used)
    }),
    family("thinpool_pool_metadata_size_bytes", "All metadata blocks.", |s| metadata(s, |space| space.total)),
    family(
        "thinpool_pool_metadata_available_bytes",
        "Metadata blocks that are free, limited by the file system under a loop file.",
        |s| metadata(s, |space| space.available),
    ),
    family(
        "thinpool_pool_data_fill_rate_bytes_per_second",
        "How fast data has filled in the last hour; below 0 if it has become less.",
        |s| one(s.trend().map(|trend| trend.data)),
    ),
    family(
        "thinpool_pool_data_until_full_seconds",
        "After how long available data is used up at that rate; no series if it isn't filling.",
        |s| one(s.time_until_full().map(|time| time.as_secs())),
    ),
    family(
        "thinpool_pool_metadata_fill_rate_bytes_per_second",
        "How fast metadata has filled in the last hour; below 0 if it has become less.",
        |s| one(s.trend().map(|trend| trend.metadata)),
    ),
    family(
        "thinpool_pool_metadata_until_full_seconds",
        "After how long available metadata is used up at that rate; no series if it isn't filling.",
        |s| one(s.time_until_metadata_full().map(|time| time.as_secs())),
    ),
    family("thinpool_pool_monitored", "Whether a process watches over the pool.", |s| {
        s.live.iter().map(|live| Sample::new(live.monitored)).collect()
    }),
    family(
        "thinpool_pool_minimum_free_bytes",
        "No new image or container is made when less data is free.",
        |s| one(s.minimum_free_space()),
    ),
    family("thinpool_pool_minimum_free_ratio", "The same as a share of the pool; 0 is off.", |s| {
        of_catalog(s, |known| vec![Sample::new(f64::from(known.min_free_space.get()) / 100.0)])
    }),
    family(
        "thinpool_pool_data_low_water_bytes",
        "The kernel raises an event when this much data or less is free.",
        data_low_water,
    ),
    family(
        "thinpool_pool_metadata_low_water_bytes",
        "The kernel raises an event when this much metadata or less is free.",
        |s| one(s.figures().and_then(|figures| figures.metadata_low_water).map(MetaBlocks::bytes)),
    ),
    family("thinpool_pool_needs_check", "Whether the kernel wants the metadata checked.", |s| {
        of_kernel(s, |figures| vec![Sample::new(figures.needs_check)])
    }),
    family(
        "thinpool_pool_when_full",
        "What a write does when no block is free: 1 for the policy that holds.",
        |s| states("policy", &POLICIES, s.figures().map(|figures| &figures.no_space)),
    ),
    family("thinpool_pool_discard", "What happens to discards: 1 for the policy that holds.", |s| {
        states("policy", &DISCARDS, s.figures().map(|figures| &figures.discard))
    }),
    family("thinpool_pool_metadata_snapshot_held", "Whether a metadata snapshot is held.", |s| {
        of_kernel(s, |figures| vec![Sample::new(figures.held_root.is_some())])
    }),
    family(
        "thinpool_pool_transaction_id",
        "The number that joins catalog and pool, according to each of the two.",
        transaction_ids,
    ),
    family("thinpool_pool_devices", "The pool's thin devices, by kind.", |s| of_catalog(s, devices)),
    family("thinpool_pool_waiting_devices", "Devices that wait for their last user, by their fate.", |s| {
        of_catalog(s, waiting)
    }),
    family("thinpool_pool_block_size_bytes", "The size of a data block.", |s| {
        of_catalog(s, |known| vec![Sample::new(known.block_size.bytes())])
    }),
    family("thinpool_pool_base_size_bytes", "The size of the base device.", |s| {
        of_catalog(s, |known| vec![Sample::new(known.base_size)])
    }),
    family("thinpool_pool_set_up_timestamp_seconds", "When the pool was set up.", |s| {
        of_catalog(s, |known| one(known.set_up.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())))
    }),
    family("thinpool_pool_loop_file_size_bytes", "How long a loop file is.", |s| {
        loop_files(s, |file| file.size)
    }),
    family("thinpool_pool_loop_file_allocated_bytes", "How much room a loop file takes.", |s| {
        loop_files(s, |file| file.allocated)
    }),
    family(
        "thinpool_pool_loop_file_host_size_bytes",
        "The size of the file system that a loop file lies on.",
        |s| loop_files(s, |file| file.file_system_size),
    ),
    family(
        "thinpool_pool_loop_file_host_available_bytes",
        "What is free in the file system that a loop file lies on.",
        |s| loop_files(s, |file| file.file_system_available),
    ),
    family(
        "thinpool_pool_metadata_check_outcome",
        "What the last check of the metadata at an activation found: 1 for the outcome that holds.",
        |s| of_check(s, |check| states("outcome", &OUTCOMES, Some(&outcome(&check.checked.outcome)))),
    ),
    family("thinpool_pool_metadata_check_timestamp_seconds", "When that check was.", |s| {
        of_check(s, |check| vec![Sample::new(check.at.unsigned_abs())])
    }),
    family("thinpool_pool_metadata_check_duration_seconds", "How long that check took.", |s| {
        of_check(s, |check| vec![Sample::new(check.checked.took.as_secs_f64())])
    }),
];

// The words are those of the JSON; a test insists.

pub(super) const STATES: [(State, &str); 4] = [
    (State::Absent, "absent"),
    (State::HalfSetUp, "half_set_up"),
    (State::Inactive, "inactive"),
    (State::Active, "active"),
];

pub(super) const VERDICTS: [(Verdict, &str); 5] = [
    (Verdict::Healthy, "healthy"),
    (Verdict::Degraded, "degraded"),
    (Verdict::Failed, "failed"),
    (Verdict::NotActive, "not_active"),
    (Verdict::Absent, "absent"),
];

pub(super) const MODES: [(Mode, &str); 5] = [
    (Mode::ReadWrite, "read_write"),
    (Mode::OutOfDataSpace, "out_of_data_space"),
    (Mode::ReadOnly, "read_only"),
    (Mode::Fail, "fail"),
    (Mode::Error, "error"),
];

pub(super) const SEVERITIES: [(Severity, &str); 3] =
    [(Severity::Critical, "critical"), (Severity::Warning, "warning"), (Severity::Note, "note")];

pub(super) const POLICIES: [(NoSpacePolicy, &str); 2] =
    [(NoSpacePolicy::Queue, "queue"), (NoSpacePolicy::Error, "error")];

pub(super) const DISCARDS: [(Discard, &str); 3] =
    [(Discard::Passdown, "passdown"), (Discard::NoPassdown, "no_passdown"), (Discard::Ignored, "ignored")];

/// What comes of a check has more to it than a word, so the words stand for themselves.
const OUTCOMES: [(&str, &str); 6] = [
    ("sound", "sound"),
    ("leaks", "leaks"),
    ("damaged", "damaged"),
    ("unfinished", "unfinished"),
    ("no_tool", "no_tool"),
    ("skipped", "skipped"),
];

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sound => "sound",
        Outcome::Leaks => "leaks",
        Outcome::Damaged { .. } => "damaged",
        Outcome::Unfinished { .. } => "unfinished",
        Outcome::NoTool => "no_tool",
        Outcome::Skipped => "skipped",
    }
}

/// The machine's versions. What it doesn't have is an empty label, which is none to Prometheus.
pub(super) fn host_info(host: &HostSupport) -> Sample {
    Sample::new(true)
        .label("library_version", host.library_version.as_str())
        .label("kernel_driver", host.kernel_driver.clone().unwrap_or_default())
        .label("thin_pool_target", host.thin_pool_target.clone().unwrap_or_default())
        .label("udev_sync", host.udev_sync.to_string())
}

fn of_catalog(status: &Status, samples: fn(&Known) -> Vec<Sample>) -> Vec<Sample> {
    status.known.as_ref().map(samples).unwrap_or_default()
}

fn of_kernel(status: &Status, samples: fn(&Figures) -> Vec<Sample>) -> Vec<Sample> {
    status.figures().map(samples).unwrap_or_default()
}

fn of_check(status: &Status, samples: fn(&MetadataCheck) -> Vec<Sample>) -> Vec<Sample> {
    let check = status.known.as_ref().and_then(|known| known.metadata_check.as_ref());
    check.map(samples).unwrap_or_default()
}

fn data(status: &Status, which: fn(Space) -> Bytes) -> Vec<Sample> {
    one(status.data_space().map(which))
}

fn metadata(status: &Status, which: fn(Space) -> Bytes) -> Vec<Sample> {
    one(status.metadata_space().map(which))
}

fn data_low_water(status: &Status) -> Vec<Sample> {
    let block_size = status.known.as_ref().map(|known| known.block_size);
    one(status.figures().zip(block_size).map(|(figures, size)| figures.low_water.bytes(size)))
}

fn info(known: &Known) -> Vec<Sample> {
    let lies_on = match known.lies_on {
        LiesOn::LoopFiles => "loop_files",
        LiesOn::BlockDevices { .. } => "block_devices",
        LiesOn::ThinPool { .. } => "thin_pool",
    };
    let info = Sample::new(true)
        .label("device_mapper_name", known.dm_name.as_str())
        .label("uuid", known.uuid.as_str())
        .label("file_system", known.file_system.to_string())
        .label("lies_on", lies_on);
    vec![info]
}

fn problems_by_severity(status: &Status) -> Vec<Sample> {
    let count = |severity| status.problems.iter().filter(|found| found.severity() == severity).count();
    SEVERITIES
        .iter()
        .map(|(severity, word)| Sample::new(count(*severity) as u64).label("severity", *word))
        .collect()
}

/// What was found of each kind: the same may be wrong with data and with metadata.
fn problems(status: &Status) -> Vec<Sample> {
    let mut found = BTreeMap::new();
    for problem in &status.problems {
        *found.entry((problem.key(), word(problem.severity()))).or_insert(0_u64) += 1;
    }
    found
        .into_iter()
        .map(|((key, severity), times)| Sample::new(times).label("problem", key).label("severity", severity))
        .collect()
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn transaction_ids(status: &Status) -> Vec<Sample> {
    let catalog = status.known.as_ref().map(|known| (known.transaction_id, "catalog"));
    let kernel = status.figures().map(|figures| (figures.transaction_id, "kernel"));
    catalog.into_iter().chain(kernel).map(|(id, who)| Sample::new(id).label("according_to", who)).collect()
}

fn devices(known: &Known) -> Vec<Sample> {
    let counts = known.devices;
    [("base", counts.base), ("image", counts.images), ("container", counts.containers)]
        .map(|(kind, count)| Sample::new(count).label("kind", kind))
        .into()
}

fn waiting(known: &Known) -> Vec<Sample> {
    let removed = known.waiting.iter().filter(|device| device.to_be == Fate::Removed).count() as u64;
    [("deleted", known.deferred_deleted), ("removed", removed)]
        .map(|(fate, count)| Sample::new(count).label("to_be", fate))
        .into()
}

fn loop_files(status: &Status, which: fn(&LoopFile) -> Option<Bytes>) -> Vec<Sample> {
    let Some(files) = status.known.as_ref().and_then(|known| known.loop_files.as_ref()) else {
        return Vec::new();
    };
    let parts = [("data", &files.data), ("metadata", &files.metadata)];
    let sample = |(part, file)| which(file).map(|value| Sample::new(value).label("part", part));
    parts.into_iter().filter_map(sample).collect()
}

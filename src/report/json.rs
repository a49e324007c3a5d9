//! The status for programs. The names never change and are explained in `docs/json.md`; every size is in bytes.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::catalog::MetadataCheck;
use crate::dm::NoSpacePolicy;
use crate::fs::FileSystem;
use crate::pool::Trend;
use crate::pool::status::{
    DeviceCounts, Discard, Figures, HostSupport, Known, LiesOn, Live, LoopFile, Mode, Problem, Space, State,
    Status, Verdict, Waiting,
};
use crate::thin_tools::{Depth, Outcome};
use crate::units::{BlockSize, Bytes, PoolName, Rate, TransactionId};

/// The status as `thinpool status --json` prints it. A part that nobody could read is `null`.
#[derive(Debug, Serialize)]
pub struct StatusJson<'a> {
    pool: &'a PoolName,
    state: State,
    health: Verdict,
    problems: Vec<ProblemJson<'a>>,
    catalog: Option<Catalog<'a>>,
    kernel: Option<Kernel<'a>>,
    host: &'a HostSupport,
}

#[derive(Debug, Serialize)]
struct Catalog<'a> {
    device_mapper_name: &'a str,
    uuid: &'a str,
    set_up_at: u64,
    block_size: BlockSize,
    base_size: Bytes,
    file_system: FileSystem,
    lies_on: &'a LiesOn,
    data_loop_file: Option<&'a LoopFile>,
    metadata_loop_file: Option<&'a LoopFile>,
    minimum_free_percent: u8,
    transaction_id: TransactionId,
    devices: DeviceCounts,
    deferred_deleted_devices: u64,
    waiting_devices: &'a [Waiting],
    deferred_removal: bool,
    deferred_deletion: bool,
    metadata_check: Option<CheckJson<'a>>,
}

#[derive(Debug, Serialize)]
struct CheckJson<'a> {
    at: i64,
    after_clean_shutdown: bool,
    depth: Depth,
    outcome: &'static str,
    said: Option<&'a str>,
    seconds: f64,
}

impl<'a> From<&'a MetadataCheck> for CheckJson<'a> {
    fn from(check: &'a MetadataCheck) -> Self {
        let (outcome, said) = match &check.checked.outcome {
            Outcome::Sound => ("sound", None),
            Outcome::Leaks => ("leaks", None),
            Outcome::Damaged { said } => ("damaged", Some(said.as_str())),
            Outcome::Unfinished { .. } => ("unfinished", None),
            Outcome::NoTool => ("no_tool", None),
            Outcome::Skipped => ("skipped", None),
        };
        Self {
            at: check.at,
            after_clean_shutdown: check.clean,
            depth: check.checked.depth,
            outcome,
            said,
            seconds: check.checked.took.as_secs_f64(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Kernel<'a> {
    mode: Mode,
    data_device: Option<&'a PathBuf>,
    metadata_device: Option<&'a PathBuf>,
    data: Option<Space>,
    metadata: Option<Space>,
    minimum_free_space: Option<Bytes>,
    low_water_mark: Option<Bytes>,
    metadata_low_water_mark: Option<Bytes>,
    needs_check: Option<bool>,
    transaction_id: Option<TransactionId>,
    when_full: Option<NoSpacePolicy>,
    discard: Option<Discard>,
    held_metadata_root: Option<u64>,
    monitored: bool,
    forecast: Option<Forecast>,
}

#[derive(Debug, Serialize)]
struct Forecast {
    over_seconds: u64,
    data: PartForecast,
    metadata: PartForecast,
}

#[derive(Debug, Serialize)]
struct PartForecast {
    bytes_per_second: i64,
    seconds_until_full: Option<u64>,
}

#[derive(Debug)]
struct ProblemJson<'a> {
    problem: &'a Problem,
    pool: &'a PoolName,
}

impl Serialize for ProblemJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("key", self.problem.key())?;
        map.serialize_entry("severity", &self.problem.severity())?;
        map.serialize_entry("sentence", &self.problem.sentence(self.pool))?;
        if let Problem::TransactionMismatch { expected, found } = self.problem {
            map.serialize_entry("expected", expected)?;
            map.serialize_entry("found", found)?;
        }
        map.end()
    }
}

impl<'a> From<&'a Known> for Catalog<'a> {
    fn from(known: &'a Known) -> Self {
        let files = known.loop_files.as_ref();
        Self {
            device_mapper_name: &known.dm_name,
            uuid: &known.uuid,
            set_up_at: unix_seconds(known.set_up),
            block_size: known.block_size,
            base_size: known.base_size,
            file_system: known.file_system,
            lies_on: &known.lies_on,
            data_loop_file: files.map(|files| &files.data),
            metadata_loop_file: files.map(|files| &files.metadata),
            minimum_free_percent: known.min_free_space.get(),
            transaction_id: known.transaction_id,
            devices: known.devices,
            deferred_deleted_devices: known.deferred_deleted,
            waiting_devices: &known.waiting,
            deferred_removal: known.deferred_removal,
            deferred_deletion: known.deferred_deletion,
            metadata_check: known.metadata_check.as_ref().map(CheckJson::from),
        }
    }
}

/// A clock before 1970 is a broken clock: it counts as 1970.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn kernel<'a>(status: &'a Status, live: &'a Live) -> Kernel<'a> {
    let figures: Option<&Figures> = live.figures.as_ref();
    let block_size = status.known.as_ref().map(|known| known.block_size);
    Kernel {
        mode: live.mode,
        data_device: live.data_device.as_ref(),
        metadata_device: live.metadata_device.as_ref(),
        data: status.data_space(),
        metadata: status.metadata_space(),
        minimum_free_space: status.minimum_free_space(),
        low_water_mark: figures.zip(block_size).map(|(f, block_size)| f.low_water.bytes(block_size)),
        metadata_low_water_mark: figures
            .and_then(|f| f.metadata_low_water)
            .map(crate::units::MetaBlocks::bytes),
        needs_check: figures.map(|f| f.needs_check),
        transaction_id: figures.map(|f| f.transaction_id),
        when_full: figures.map(|f| f.no_space),
        discard: figures.map(|f| f.discard),
        held_metadata_root: figures.and_then(|f| f.held_root),
        monitored: live.monitored,
        forecast: live.trend.map(|trend| forecast(status, trend)),
    }
}

fn forecast(status: &Status, trend: Trend) -> Forecast {
    let part = |rate: Rate, time: Option<Duration>| PartForecast {
        bytes_per_second: rate.bytes_per_second(),
        seconds_until_full: time.map(|time| time.as_secs()),
    };
    Forecast {
        over_seconds: trend.over.as_secs(),
        data: part(trend.data, status.time_until_full()),
        metadata: part(trend.metadata, status.time_until_metadata_full()),
    }
}

impl<'a> From<&'a Status> for StatusJson<'a> {
    fn from(status: &'a Status) -> Self {
        let pool = &status.pool;
        Self {
            pool,
            state: status.state,
            health: status.verdict(),
            problems: status.problems.iter().map(|problem| ProblemJson { problem, pool }).collect(),
            catalog: status.known.as_ref().map(Catalog::from),
            kernel: status.live.as_ref().map(|live| kernel(status, live)),
            host: &status.host,
        }
    }
}

/// The status as JSON, indented, with a newline at its end. It fails only where a path is not UTF-8, which JSON
/// can't hold.
pub fn json(status: &Status) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&StatusJson::from(status)).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::testing::{every_status, inactive, looped};
    use super::*;

    fn value(status: &Status) -> Value {
        serde_json::from_str(&json(status).expect("serialises")).expect("is JSON")
    }

    /// Every key with those above it: `kernel.data.used`.
    fn keys(value: &Value, above: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
                    keys(inner, &path, found);
                    found.insert(path);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{above}[]"), found)),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_explained_in_the_documentation() {
        let mut all = BTreeSet::new();
        for status in every_status() {
            keys(&value(&status), "", &mut all);
        }
        let docs = include_str!("../../docs/json.md");
        for key in all {
            assert!(docs.contains(&format!("| `{key}` |")), "{key} is not in docs/json.md");
        }
    }

    #[test]
    fn sizes_are_in_bytes_and_what_is_unknown_is_null() {
        let active = value(&looped());
        assert_eq!(active["catalog"]["base_size"], 10_737_418_240_u64);
        assert_eq!(active["kernel"]["data"]["total"], 107_374_182_400_u64);
        assert_eq!(active["kernel"]["minimum_free_space"], 10_737_418_240_u64);
        assert_eq!(active["kernel"]["mode"], "read_write");
        assert_eq!(active["health"], "healthy");
        let inactive = value(&inactive());
        assert_eq!(inactive["kernel"], Value::Null);
        assert_eq!(inactive["health"], "not_active");
        assert_eq!(inactive["problems"][0]["key"], "inactive");
    }
}

//! What scrapers, dashboards and alerts rely on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::json;
use super::super::testing::{absent, every_status, half_set_up, inactive, looped, with_figures};
use super::families::{DISCARDS, FAMILIES, MODES, POLICIES, SEVERITIES, STATES, VERDICTS};
use super::*;
use crate::pool::status::Mode;
use crate::units::PoolName;

const DASHBOARD: &str = include_str!("../../../configs/grafana/thinpool.json");
const ALERTS: &str = include_str!("../../../configs/prometheus/thinpool-alerts.yml");
const DOCS: &str = include_str!("../../../docs/metrics.md");

fn failed() -> Status {
    let mut status = looped();
    if let Some(live) = &mut status.live {
        (live.mode, live.figures) = (Mode::Fail, None);
    }
    Status { problems: Vec::new(), ..status }.assessed()
}

/// Pools in every state, each of a name of its own.
fn many() -> Vec<Status> {
    let mut statuses = every_status();
    statuses.extend([looped(), failed()]);
    for (number, status) in statuses.iter_mut().enumerate() {
        status.pool = format!("pool{number}").parse::<PoolName>().expect("a name");
    }
    statuses
}

/// The names of all metrics there are.
fn metrics() -> BTreeSet<&'static str> {
    FAMILIES.iter().map(|family| family.name).chain([BUILD_INFO, HOST_INFO]).collect()
}

/// The names of ours in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("thinpool_")).collect()
}

fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name)).collect()
}

#[test]
fn numbers_are_those_of_the_status_in_base_units() {
    let text = prometheus(&[looped()]);
    for line in [
        "thinpool_pool_data_used_bytes{pool=\"thinpool\"} 2357198848",
        "thinpool_pool_data_size_bytes{pool=\"thinpool\"} 107374182400",
        "thinpool_pool_data_available_bytes{pool=\"thinpool\"} 33910000000",
        "thinpool_pool_metadata_used_bytes{pool=\"thinpool\"} 2412544",
        "thinpool_pool_minimum_free_bytes{pool=\"thinpool\"} 10737418240",
        "thinpool_pool_minimum_free_ratio{pool=\"thinpool\"} 0.1",
        "thinpool_pool_mode{pool=\"thinpool\",mode=\"read_write\"} 1",
        "thinpool_pool_mode{pool=\"thinpool\",mode=\"fail\"} 0",
        "thinpool_pool_needs_check{pool=\"thinpool\"} 0",
        "thinpool_pool_transaction_id{pool=\"thinpool\",according_to=\"kernel\"} 7",
        "thinpool_pool_devices{pool=\"thinpool\",kind=\"image\"} 3",
        "thinpool_pool_waiting_devices{pool=\"thinpool\",to_be=\"deleted\"} 1",
        "thinpool_pool_set_up_timestamp_seconds{pool=\"thinpool\"} 1700000000",
        "thinpool_pool_loop_file_allocated_bytes{pool=\"thinpool\",part=\"data\"} 2360000000",
        "thinpool_pool_metadata_check_duration_seconds{pool=\"thinpool\"} 0.12",
        "thinpool_pool_problems{pool=\"thinpool\",severity=\"critical\"} 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_pool_that_tells_no_numbers_has_none_rather_than_zeros() {
    let of_the_kernel = [
        "thinpool_pool_data_used_bytes",
        "thinpool_pool_data_available_bytes",
        "thinpool_pool_metadata_size_bytes",
        "thinpool_pool_needs_check",
        "thinpool_pool_when_full",
    ];
    for status in [inactive(), absent(), half_set_up(), failed()] {
        let text = prometheus(std::slice::from_ref(&status));
        for name in of_the_kernel {
            assert_eq!(lines(&text, name), [""; 0], "{:?}", status.state);
        }
        assert_eq!(lines(&text, "thinpool_pool_state").len(), STATES.len());
        assert_eq!(lines(&text, "thinpool_pool_health").len(), VERDICTS.len());
    }
    let text = prometheus(&[failed()]);
    assert!(text.contains("thinpool_pool_mode{pool=\"thinpool\",mode=\"fail\"} 1"), "{text}");
    assert!(text.contains("problem=\"failed\",severity=\"critical\"} 1"), "{text}");
    assert_eq!(lines(&prometheus(&[inactive()]), "thinpool_pool_mode"), [""; 0]);
}

#[test]
fn no_series_is_told_twice_and_each_has_its_help_before_it() {
    let text = prometheus(&many());
    let mut series = BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            family = of.trim_end_matches(" gauge");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(name.split('{').next(), Some(family), "{line}");
            assert!(series.insert(name), "told twice: {name}");
        }
    }
    assert_eq!(text.matches("# HELP ").count(), metrics().len(), "every metric is told of some status");
}

/// Words, and what the JSON has for what they stand for.
fn all<T: serde::Serialize>(words: &[(T, &'static str)]) -> Vec<(Value, &'static str)> {
    words.iter().map(|(value, word)| (serde_json::to_value(value).expect("JSON"), *word)).collect()
}

#[test]
fn words_are_those_of_the_json() {
    let word = |value: Value| value.as_str().expect("a word").to_owned();
    let sets = [all(&STATES), all(&VERDICTS), all(&MODES), all(&SEVERITIES), all(&POLICIES), all(&DISCARDS)];
    for (value, told) in sets.into_iter().flatten() {
        assert_eq!(word(value), told);
    }
    // What the JSON calls the outcome of a check is a state here.
    let mut status = looped();
    with_figures(&mut status, |figures| figures.needs_check = true);
    let told: Value = serde_json::from_str(&json(&status).expect("JSON")).expect("JSON");
    let outcome = word(told["catalog"]["metadata_check"]["outcome"].clone());
    assert!(prometheus(&[status]).contains(&format!("outcome=\"{outcome}\"}} 1")));
}

#[test]
fn every_metric_is_in_the_documentation_and_no_other() {
    let rows = DOCS.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    assert_eq!(rows.filter(|name| name.starts_with("thinpool_")).collect::<BTreeSet<_>>(), metrics());
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let asked: BTreeSet<&str> = named(DASHBOARD).union(&named(ALERTS)).copied().collect();
    assert!(asked.len() > 10, "{asked:?}");
    assert_eq!(asked.difference(&metrics()).collect::<Vec<_>>(), [&""; 0]);
    serde_json::from_str::<Value>(DASHBOARD).expect("the dashboard is JSON");
}

/// Prometheus' own checks, where its promtool is installed; `make promtool` sees to that.
#[test]
fn promtool_has_nothing_to_say_against_metrics_and_alerts() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = |name: &str| here.join(name).into_os_string();
    let promtool = |arguments: &[std::ffi::OsString], given: Stdio| {
        Command::new("promtool").args(arguments).stdin(given).output()
    };
    match promtool(&["--version".into()], Stdio::null()) {
        Err(error) if std::env::var_os("THINPOOL_PROMTOOL").is_none() => {
            eprintln!("skipped, since promtool can't be run: {error}");
            return;
        }
        found => drop(found.expect("promtool runs")),
    }
    let told = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(told.path(), prometheus(&many())).expect("written");
    let given = Stdio::from(told.reopen().expect("opened"));
    for (arguments, given) in [
        (vec!["check".into(), "metrics".into()], given),
        (vec!["check".into(), "rules".into(), path("configs/prometheus/thinpool-alerts.yml")], Stdio::null()),
        (vec!["test".into(), "rules".into(), path("tests/prometheus/alerts.yml")], Stdio::null()),
    ] {
        let said = promtool(&arguments, given).expect("promtool runs");
        let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{arguments:?}: {text}");
    }
}

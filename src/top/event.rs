//! What happened between two looks at a pool.

use std::collections::{BTreeMap, BTreeSet};

use super::Sample;
use crate::pool::status::{Problem, Severity, Space};
use crate::units::DockerSize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a line.
    pub text: String,
}

fn event(severity: Severity, text: impl Into<String>) -> Event {
    Event { severity, text: text.into() }
}

/// What happened from one sample to the next, the worst first.
pub(super) fn between(before: &Sample, after: &Sample) -> Vec<Event> {
    let mut events = Vec::new();
    let (old, new) = (&before.status, &after.status);
    if old.state != new.state {
        let text = format!("The pool is {} (it was {}).", new.state.as_str(), old.state.as_str());
        events.push(event(Severity::Note, text));
    }
    let mode = |sample: &Sample| sample.status.live.as_ref().map(|live| live.mode);
    if let (Some(was), Some(is)) = (mode(before), mode(after))
        && was != is
    {
        events.push(event(Severity::Note, format!("The mode is {} (it was {}).", is.as_str(), was.as_str())));
    }
    events.extend(resized("Data", old.data_space(), new.data_space()));
    events.extend(resized("Metadata", old.metadata_space(), new.metadata_space()));
    events.extend(problems(before, after));
    events.extend(devices(before, after));
    events.sort_by_key(|event| std::cmp::Reverse(event.severity));
    events
}

fn resized(what: &str, before: Option<Space>, after: Option<Space>) -> Option<Event> {
    let (before, after) = (before?.total, after?.total);
    let text = format!("{what} has {} (it had {}).", DockerSize(after), DockerSize(before));
    (before != after).then(|| event(Severity::Note, text))
}

/// Problems are the same if they are of the same kind: their numbers change with every look.
fn problems(before: &Sample, after: &Sample) -> Vec<Event> {
    let by_key = |sample: &Sample| -> BTreeMap<&'static str, Problem> {
        sample.status.problems.iter().map(|problem| (problem.key(), problem.clone())).collect()
    };
    let (old, new) = (by_key(before), by_key(after));
    let came = new.iter().filter(|(key, _)| !old.contains_key(*key));
    let went = old.keys().filter(|key| !new.contains_key(*key));
    came.map(|(_, problem)| event(problem.severity(), problem.sentence(&after.status.pool)))
        .chain(went.map(|key| event(Severity::Note, format!("No longer: {}.", key.replace('_', " ")))))
        .collect()
}

fn devices(before: &Sample, after: &Sample) -> Vec<Event> {
    let names = |sample: &Sample| -> BTreeSet<String> {
        sample.devices.iter().map(|device| device.name.clone()).collect()
    };
    let (old, new) = (names(before), names(after));
    let came = new.difference(&old).map(|name| format!("The device {name} is active."));
    let went = old.difference(&new).map(|name| format!("The device {name} is no longer active."));
    came.chain(went).map(|text| event(Severity::Note, text)).collect()
}

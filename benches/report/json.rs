//! The figures for programs.

use serde_json::{Error, Value, json, to_string_pretty};

use crate::figures::{Counted, Figures, Measured};
use crate::targets::{Bound, TARGETS, Target};

/// All of them. Times are in nanoseconds, and mean nothing outside of their own run.
pub fn text(figures: &Figures) -> Result<String, Error> {
    let machine: serde_json::Map<String, Value> =
        figures.machine.iter().map(|(what, is)| (what.clone(), is.as_str().into())).collect();
    let absent: Vec<Value> =
        figures.absent.iter().map(|(way, why)| json!({ "way": way, "why": why })).collect();
    let measured: Vec<Value> = figures.measured.iter().map(measurement).collect();
    let counted: Vec<Value> = figures.counted.iter().map(count).collect();
    let targets: Vec<Value> = TARGETS.iter().map(|target| verdict(target, figures)).collect();
    to_string_pretty(&json!({
        "machine": machine,
        "measured": measured,
        "counted": counted,
        "absent": absent,
        "targets": targets,
    }))
}

fn count(counted: &Counted) -> Value {
    json!({ "what": counted.what, "of": counted.of, "is": counted.is, "unit": counted.unit })
}

fn measurement(measured: &Measured) -> Value {
    let ((first, third), (least, most)) = (measured.quartiles(), measured.extremes());
    json!({
        "job": measured.job,
        "way": measured.way,
        "runs": measured.runs(),
        "median": measured.median(),
        "first_quartile": first,
        "third_quartile": third,
        "least": least,
        "most": most,
    })
}

fn verdict(target: &Target, figures: &Figures) -> Value {
    let (at_most, at_least) = match target.bound {
        Bound::AtMost(bound) => (Some(bound), None),
        Bound::AtLeast(bound) => (None, Some(bound)),
    };
    let ratio = target.ratio(figures);
    json!({
        "number": target.number,
        "says": target.says,
        "at_most": at_most,
        "at_least": at_least,
        "ratio": ratio,
        "reached": ratio.map(|ratio| target.bound.holds(ratio)),
    })
}

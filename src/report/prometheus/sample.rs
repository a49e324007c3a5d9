//! Prometheus' text format: a family's help and type, and its samples, one a line.

use std::fmt::Write;

use crate::units::{Bytes, Rate, TransactionId};

/// One value of a family.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// What can be a value: Prometheus has nothing but doubles.
pub(super) trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53: bytes of eight petabytes")]
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for Bytes {
    fn number(self) -> f64 {
        self.0.number()
    }
}

impl Number for Rate {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 bytes a second")]
    fn number(self) -> f64 {
        self.bytes_per_second() as f64
    }
}

impl Number for TransactionId {
    fn number(self) -> f64 {
        self.0.number()
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Sample {
    pub(super) fn new(value: impl Number) -> Self {
        Self { labels: Vec::new(), value: value.number() }
    }

    pub(super) fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

/// A sample, or none of what isn't known.
pub(super) fn one(value: Option<impl Number>) -> Vec<Sample> {
    value.map(Sample::new).into_iter().collect()
}

/// A state set: a sample for each state there is, 1 for the one that holds. None if that isn't known.
pub(super) fn states<T: PartialEq>(
    label: &'static str,
    all: &[(T, &'static str)],
    now: Option<&T>,
) -> Vec<Sample> {
    let Some(now) = now else { return Vec::new() };
    all.iter().map(|(state, word)| Sample::new(state == now).label(label, *word)).collect()
}

/// The text as it grows.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    /// Of the family that was begun: it is written only if a sample follows.
    header: String,
}

impl Writer {
    /// Begins a family. All of them are gauges: they tell what is, and nothing in them only ever goes up.
    pub(super) fn header(&mut self, name: &str, help: &str) {
        self.header = format!("# HELP {name} {}\n# TYPE {name} gauge\n", escaped(help));
    }

    /// A sample of the family that was begun, with labels that stand before its own.
    pub(super) fn sample(&mut self, name: &str, first: &[(&str, &str)], sample: &Sample) {
        self.text.push_str(&std::mem::take(&mut self.header));
        let own = sample.labels.iter().map(|(name, value)| (*name, value.as_str()));
        let labels: Vec<String> = first
            .iter()
            .copied()
            .chain(own)
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value).replace('"', "\\\"")))
            .collect();
        // Writing to a string doesn't fail.
        let _ = writeln!(self.text, "{name}{{{}}} {}", labels.join(","), sample.value);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_hold_anything_and_stays_on_its_line() {
        let mut text = Writer::default();
        text.header("a", "of\na");
        text.sample("a", &[("pool", "ci")], &Sample::new(Bytes::gib(1)).label("path", "/a \"b\\\n"));
        let expected =
            "# HELP a of\\na\n# TYPE a gauge\na{pool=\"ci\",path=\"/a \\\"b\\\\\\n\"} 1073741824\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_family_of_which_nothing_is_known_leaves_no_trace() {
        let mut text = Writer::default();
        text.header("a", "of a");
        text.header("b", "of b");
        text.sample("b", &[("pool", "ci")], &Sample::new(0.5));
        assert_eq!(text.finish(), "# HELP b of b\n# TYPE b gauge\nb{pool=\"ci\"} 0.5\n");
    }

    #[test]
    fn just_one_state_holds_and_none_of_what_nobody_knows() {
        let all = [(1, "one"), (2, "two")];
        let expected = [Sample::new(false).label("n", "one"), Sample::new(true).label("n", "two")];
        assert_eq!(states("n", &all, Some(&2)), expected);
        assert_eq!(states("n", &all, None), []);
    }
}

//! What people note on containers.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

/// Labels, as Docker has them: a key and a value, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<String, String>);

/// One label: `KEY=VALUE`, or a key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    key: String,
    value: String,
}

/// A label that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelRefused {
    /// It breaks a rule.
    #[error("'{label}' can't be a label: {rule}")]
    Rule {
        /// The label.
        label: String,
        /// Which rule.
        rule: &'static str,
    },
    /// There are two of one key.
    #[error("the label '{0}' is given twice")]
    Twice(String),
}

impl FromStr for Label {
    type Err = LabelRefused;

    fn from_str(label: &str) -> Result<Self, LabelRefused> {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        let refused = |rule| Err(LabelRefused::Rule { label: label.to_owned(), rule });
        if key.is_empty() {
            return refused("its key is empty; write KEY=VALUE");
        }
        if key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refused("its key has a space or a control character");
        }
        if value.chars().any(char::is_control) {
            return refused("its value has a control character");
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl Labels {
    /// Reads labels, each of which may have a key of its own only.
    pub fn parse<S: AsRef<str>>(labels: &[S]) -> Result<Self, LabelRefused> {
        let mut parsed = BTreeMap::new();
        for label in labels {
            let Label { key, value } = label.as_ref().parse()?;
            if parsed.insert(key.clone(), value).is_some() {
                return Err(LabelRefused::Twice(key));
            }
        }
        Ok(Self(parsed))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_key_and_perhaps_a_value() {
        let labels = Labels::parse(&["env=prod", "bare", "url=a=b", "empty="]).expect("good");
        let labels = BTreeMap::from(labels);
        let told: Vec<_> = labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        assert_eq!(told, ["bare:", "empty:", "env:prod", "url:a=b"]);
    }

    #[test]
    fn what_is_no_label_is_refused_with_the_rule() {
        for (label, rule) in [("", "empty"), ("=x", "empty"), ("a b=c", "space"), ("a=b\n", "control")] {
            let error = Labels::parse(&[label]).expect_err(label).to_string();
            assert!(error.contains(rule), "{error}");
        }
        assert_eq!(Labels::parse(&["a=1", "a=2"]), Err(LabelRefused::Twice("a".to_owned())));
    }
}

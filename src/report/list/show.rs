//! How people are shown a value.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::report::age;
use crate::units::Bytes;

/// How people are shown a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// As it is; of several, each, and `-` for none.
    Plain,
    /// A number.
    Number,
    /// Bytes, with a unit.
    Size,
    /// Seconds since 1970, by how long ago that was.
    Age,
    /// How many there are.
    Count,
    /// The first digits of a layer's digest, or `base` for none.
    Layer,
}

impl Show {
    /// The value as a word or some.
    #[must_use]
    pub fn text(self, value: &Value) -> String {
        let number = value.as_u64();
        match (self, number) {
            (Self::Size, Some(bytes)) => Bytes(bytes).to_string(),
            (Self::Age, Some(seconds)) => age(UNIX_EPOCH + Duration::from_secs(seconds), SystemTime::now()),
            (Self::Count, _) => value.as_array().map_or(0, Vec::len).to_string(),
            (Self::Layer, _) => value.as_str().map_or_else(|| "base".to_owned(), short),
            _ => plain(value),
        }
    }
}

/// The first digits of a digest: enough for people.
#[must_use]
pub fn short(chain: &str) -> String {
    chain.trim_start_matches("sha256:").chars().take(12).collect()
}

fn plain(value: &Value) -> String {
    let joined = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(plain).collect()),
        Value::Object(map) => {
            joined(map.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect())
        }
    }
}

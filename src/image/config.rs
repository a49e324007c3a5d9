//! An image's configuration: the document of the OCI image specification, of which only what has to be changed is touched,
//! so that what its maker wrote, and what newer versions of the specification know, stays in it.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::digest::DiffId;
use super::oci::architecture;

/// The configuration of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig(Map<String, Value>);

/// A configuration that isn't one.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It is no JSON.
    #[error("the image's configuration can't be understood: {0}")]
    Json(#[from] serde_json::Error),
    /// It isn't as the specification says.
    #[error("the image's configuration is not as the OCI image specification says: '{0}' is something else")]
    Shape(&'static str),
}

/// A step in the making of an image, as its configuration tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryEntry {
    /// When, by RFC 3339.
    pub created: Option<String>,
    /// By which command.
    pub created_by: Option<String>,
    /// By whom.
    pub author: Option<String>,
    /// What its maker says of it.
    pub comment: Option<String>,
    /// Whether it changed no file, and so made no layer.
    pub empty_layer: bool,
}

impl ImageConfig {
    /// The configuration of an image that came without one.
    #[must_use]
    pub fn minimal(created: i64) -> Self {
        let mut config = Map::new();
        config.insert("architecture".to_owned(), architecture().into());
        config.insert("os".to_owned(), "linux".into());
        config.insert("created".to_owned(), rfc3339(created).into());
        config.insert("config".to_owned(), json!({}));
        config.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": [] }));
        Self(config)
    }

    /// Reads a document.
    pub fn parse(json: &str) -> Result<Self, ConfigError> {
        match serde_json::from_str(json)? {
            Value::Object(config) => Ok(Self(config)),
            _ => Err(ConfigError::Shape("the whole of it")),
        }
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The document as a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A text in it, such as `os`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// What containers of the image are told: `Env`, `Cmd` and so on.
    #[must_use]
    pub fn settings(&self) -> Option<&Map<String, Value>> {
        self.0.get("config")?.as_object()
    }

    /// The same, to be changed.
    pub(super) fn settings_mut(&mut self) -> Result<&mut Map<String, Value>, ConfigError> {
        object(&mut self.0, "config")
    }

    pub(super) fn set_text(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Says which layers the image has, the lowest first.
    pub(super) fn set_layers(&mut self, diff_ids: &[DiffId]) -> Result<(), ConfigError> {
        let rootfs = object(&mut self.0, "rootfs")?;
        rootfs.insert("type".to_owned(), "layers".into());
        let diff_ids: Vec<Value> = diff_ids.iter().map(|diff| diff.to_string().into()).collect();
        rootfs.insert("diff_ids".to_owned(), diff_ids.into());
        Ok(())
    }

    /// How the image was made, the first step first; empty if its maker doesn't say.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        let entries = self.0.get("history").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let text = |entry: &Value, key| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let entry = |entry: &Value| HistoryEntry {
            created: text(entry, "created"),
            created_by: text(entry, "created_by"),
            author: text(entry, "author"),
            comment: text(entry, "comment"),
            empty_layer: entry.get("empty_layer").and_then(Value::as_bool).unwrap_or(false),
        };
        entries.iter().map(entry).collect()
    }

    /// Makes the steps as many as the layers that there are: what is added after them must not be taken for one of theirs.
    pub(super) fn complete_history(&mut self, layers: usize, created: i64) -> Result<(), ConfigError> {
        let told = self.history().iter().filter(|entry| !entry.empty_layer).count();
        let untold = HistoryEntry { created: Some(rfc3339(created)), ..HistoryEntry::default() };
        (told..layers).try_for_each(|_| self.add_history(&untold))
    }

    /// Adds a step to how it was made.
    pub(super) fn add_history(&mut self, entry: &HistoryEntry) -> Result<(), ConfigError> {
        let mut told = Map::new();
        let HistoryEntry { created, created_by, author, comment, empty_layer } = entry;
        for (key, text) in
            [("created", created), ("created_by", created_by), ("author", author), ("comment", comment)]
        {
            if let Some(text) = text {
                told.insert(key.to_owned(), text.as_str().into());
            }
        }
        if *empty_layer {
            told.insert("empty_layer".to_owned(), true.into());
        }
        let history = self.0.entry("history").or_insert(Value::Null);
        if history.is_null() {
            *history = json!([]);
        }
        history.as_array_mut().ok_or(ConfigError::Shape("history"))?.push(told.into());
        Ok(())
    }
}

/// The object of this name, made if it isn't there: encoders write what is empty as `null`, or not at all.
pub(super) fn object<'m>(
    map: &'m mut Map<String, Value>,
    key: &'static str,
) -> Result<&'m mut Map<String, Value>, ConfigError> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().ok_or(ConfigError::Shape(key))
}

/// Seconds since 1970 as the specification writes them.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// The same the other way round; nothing if it isn't such a time.
#[must_use]
pub fn from_rfc3339(text: &str) -> Option<i64> {
    text.parse().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_program_doesnt_know_stays_in_the_configuration() {
        let json = r#"{"architecture":"amd64","config":null,"future":{"a":[1]},"history":null,"os":"linux"}"#;
        let mut config = ImageConfig::parse(json).unwrap();
        config.settings_mut().unwrap().insert("User".to_owned(), "web".into());
        config.add_history(&HistoryEntry { empty_layer: true, ..HistoryEntry::default() }).unwrap();
        config.set_layers(&[]).unwrap();
        let value = config.into_value();
        assert_eq!((&value["future"]["a"][0], &value["architecture"]), (&json!(1), &json!("amd64")));
        assert_eq!(
            (&value["config"]["User"], &value["history"][0]["empty_layer"]),
            (&json!("web"), &json!(true))
        );
    }

    #[test]
    fn a_configuration_of_another_shape_is_an_error_and_not_overwritten() {
        assert!(ImageConfig::parse("[]").is_err());
        assert!(ImageConfig::parse(r#"{"config":7}"#).unwrap().settings_mut().is_err());
        assert!(
            ImageConfig::parse(r#"{"history":7}"#).unwrap().add_history(&HistoryEntry::default()).is_err()
        );
    }

    #[test]
    fn times_are_those_of_other_tools() {
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(from_rfc3339("2023-11-14T23:13:20.123456789+01:00"), Some(1_700_000_000));
        assert_eq!(from_rfc3339("yesterday"), None);
    }
}

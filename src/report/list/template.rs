//! Templates in the way of Docker's `--format`: fields in double braces, `\t` and `\n`.
//!
//! Only what people type: a field, a field of a field, a label, `json` before any of them. Conditions and loops are for
//! `--json` and a program.

use serde_json::Value;

use super::ListError;

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: Vec<String>, as_json: bool },
}

impl Template {
    /// Reads a template.
    pub fn parse(template: &str) -> Result<Self, ListError> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once("{{") {
            let unfinished =
                || ListError::Template { part: format!("{{{{{after}"), why: "the braces are not closed" };
            let (field, after) = after.split_once("}}").ok_or_else(unfinished)?;
            parts.extend([Part::Text(unescape(text)), field_of(field)?]);
            rest = after;
        }
        parts.push(Part::Text(unescape(rest)));
        Ok(Self(parts))
    }

    /// The first word of every field.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field { path, .. } => path.first().map(String::as_str),
            Part::Text(_) => None,
        })
    }

    /// What stands above the lines: each field's header in its place.
    pub(super) fn headers(&self, header: impl Fn(&str) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field { path, .. } => path.first().map_or_else(String::new, |word| header(word)),
        };
        self.0.iter().map(part).collect()
    }

    /// The template with a value's fields in it, each as it is to be shown. `key_of` knows other words for keys.
    pub fn fill(
        &self,
        value: &Value,
        show: &dyn Fn(&str, &Value) -> String,
        key_of: &dyn Fn(&str) -> Option<&'static str>,
    ) -> Result<String, ListError> {
        let part = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Field { path, as_json } => {
                let (key, found) = find(value, path, key_of)?;
                Ok(if *as_json { found.to_string() } else { show(&key, &found) })
            }
        };
        self.0.iter().map(part).collect()
    }
}

/// What stands between braces: `.`, `.Name`, `.labels.env`, `.Label "env"`, and `json` before any of them.
fn field_of(field: &str) -> Result<Part, ListError> {
    let why = "write {{.Field}}, {{.Field.Field}}, {{.Label \"key\"}} or {{json .Field}}";
    let wrong = || ListError::Template { part: format!("{{{{{field}}}}}"), why };
    let (as_json, path) = match field.trim().strip_prefix("json") {
        Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim()),
        _ => (false, field.trim()),
    };
    let path = path.strip_prefix('.').ok_or_else(wrong)?;
    if let Some(label) = path.strip_prefix("Label ") {
        let key = label.trim().strip_prefix('"').and_then(|key| key.strip_suffix('"')).ok_or_else(wrong)?;
        return Ok(Part::Field { path: vec!["labels".to_owned(), key.to_owned()], as_json });
    }
    if path.contains(|c: char| c.is_whitespace() || "{}\"()|".contains(c)) {
        return Err(wrong());
    }
    let path: Vec<String> = path.split('.').filter(|_| !path.is_empty()).map(str::to_owned).collect();
    if path.iter().any(String::is_empty) || path.is_empty() && !as_json {
        return Err(wrong());
    }
    Ok(Part::Field { path, as_json })
}

/// The value at the end of a path, with its key. A label that isn't there is empty, as in Docker; any other key must be.
fn find(
    value: &Value,
    path: &[String],
    key_of: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<(String, Value), ListError> {
    let Some((word, rest)) = path.split_first() else { return Ok((String::new(), value.clone())) };
    let missing = |object: &Value, word: &str| ListError::Field {
        asked: word.to_owned(),
        known: object.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default(),
    };
    let (key, found) = get(value, key_of(word).unwrap_or(word)).ok_or_else(|| missing(value, word))?;
    if rest.is_empty() {
        return Ok((key, found.clone()));
    }
    if key == "labels" {
        let label = found.get(rest.join(".")).cloned();
        return Ok((String::new(), label.unwrap_or_else(|| String::new().into())));
    }
    find(found, rest, &|_| None)
}

fn get<'a>(value: &'a Value, word: &str) -> Option<(String, &'a Value)> {
    let map = value.as_object()?;
    map.iter().find(|(key, _)| same_word(key, word)).map(|(key, value)| (key.clone(), value))
}

/// Whether two words are the same key: `mounted_at`, as JSON has it, and `MountedAt`, as Docker would.
pub(super) fn same_word(one: &str, other: &str) -> bool {
    let letters = |word: &str| word.replace('_', "").to_ascii_lowercase();
    letters(one) == letters(other)
}

/// `\t` and `\n`, which a shell leaves alone, as what they stand for.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_template_makes_the_reader_panic(text in "[{}. a-zA-Z\"\\\\tn_]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                let value = serde_json::json!({"a": {"b": 1}});
                let _ = template.fill(&value, &|_, value| value.to_string(), &|_| None);
            }
        }
    }
}

//! Which items a list has.

use std::collections::BTreeMap;

use glob::Pattern;
use serde_json::Value;

use super::ListError;

/// By what can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The word before the `=`.
    pub key: &'static str,
    /// What it looks at.
    pub kind: FilterKind,
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub enum FilterKind {
    /// A part of the text under this key, or a pattern with `*`, `?` or `[…]` for all of it.
    Part(&'static str),
    /// All of the text under this key, or such a pattern.
    Whole(&'static str),
    /// The labels: a key, or a key and a value.
    Label,
    /// Whether there is anything under this key.
    Any(&'static str),
    /// Whether it is known, and not `null`.
    Some(&'static str),
    /// Whether it is true.
    Flag(&'static str),
}

/// What is looked for. Those of one key add up, unless they are labels; those of several keys narrow.
pub(super) struct Chosen(BTreeMap<&'static str, Vec<Test>>);

enum Test {
    Part(&'static str, String),
    Pattern(&'static str, Pattern),
    Label(String, Option<String>),
    Any(&'static str, bool),
    Some(&'static str, bool),
    Flag(&'static str, bool),
}

impl Chosen {
    pub(super) fn parse(known: &[Filter], filters: &[String]) -> Result<Self, ListError> {
        let mut tests: BTreeMap<&'static str, Vec<Test>> = BTreeMap::new();
        for asked in filters {
            let (key, value) = asked.split_once('=').ok_or_else(|| ListError::FilterValue {
                filter: asked.clone(),
                why: "write KEY=VALUE".to_owned(),
            })?;
            let filter = known.iter().find(|filter| filter.key == key).ok_or_else(|| ListError::Filter {
                asked: key.to_owned(),
                known: known.iter().map(|filter| filter.key.to_owned()).collect(),
            })?;
            let test = Test::new(filter.kind, value)
                .map_err(|why| ListError::FilterValue { filter: asked.clone(), why })?;
            tests.entry(filter.key).or_default().push(test);
        }
        Ok(Self(tests))
    }

    pub(super) fn has(&self, item: &Value) -> bool {
        self.0.values().all(|tests| match tests.first() {
            Some(Test::Label(..)) => tests.iter().all(|test| test.passes(item)),
            _ => tests.iter().any(|test| test.passes(item)),
        })
    }
}

impl Test {
    fn new(kind: FilterKind, value: &str) -> Result<Self, String> {
        let pattern = |key, value: &str| {
            Pattern::new(value).map(|pattern| Self::Pattern(key, pattern)).map_err(|error| error.to_string())
        };
        match kind {
            FilterKind::Part(key) if !value.contains(['*', '?', '[']) => {
                Ok(Self::Part(key, value.to_owned()))
            }
            FilterKind::Part(key) | FilterKind::Whole(key) => pattern(key, value),
            FilterKind::Label => {
                let (key, value) =
                    value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                if key.is_empty() {
                    return Err("which label? write label=KEY or label=KEY=VALUE".to_owned());
                }
                Ok(Self::Label(key.to_owned(), value.map(str::to_owned)))
            }
            FilterKind::Any(key) => yes_or_no(value).map(|yes| Self::Any(key, yes)),
            FilterKind::Some(key) => yes_or_no(value).map(|yes| Self::Some(key, yes)),
            FilterKind::Flag(key) => yes_or_no(value).map(|yes| Self::Flag(key, yes)),
        }
    }

    fn passes(&self, item: &Value) -> bool {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        match self {
            Self::Part(key, part) => text(key).contains(part),
            Self::Pattern(key, pattern) => pattern.matches(&text(key)),
            Self::Label(key, value) => match (item["labels"].get(key), value) {
                (Some(found), Some(value)) => found.as_str() == Some(value),
                (found, _) => found.is_some(),
            },
            Self::Any(key, wanted) => item[*key].as_array().is_some_and(|all| !all.is_empty()) == *wanted,
            Self::Some(key, wanted) => item[*key].is_null() != *wanted,
            Self::Flag(key, wanted) => item[*key].as_bool() == Some(*wanted),
        }
    }
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(format!("'{other}' is neither true nor false")),
    }
}

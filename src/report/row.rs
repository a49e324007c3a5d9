//! A row: a name and a value, one a line, as `docker info` prints them.

use std::fmt;

/// One line of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

impl Row {
    pub(super) fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into() }
    }
}

/// `Name: value`. A control character in a value (a path can have any) is shown as `?`, so that a row stays one
/// line and no terminal obeys it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, printable(&self.value))
    }
}

/// Rows as text, one a line.
#[must_use]
pub fn print_rows(rows: &[Row]) -> String {
    rows.iter().map(|row| row.to_string() + "\n").collect()
}

/// Values with their names before them, one a line, the values under each other.
#[must_use]
pub fn aligned(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        let name = format!("{name}:");
        format!("{name:width$}  {}", printable(value)) + "\n"
    };
    rows.iter().map(line).collect()
}

pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

//! Settings that say how often or how long.

use std::time::Duration;

use super::{SettingType, Shape};

impl SettingType for Option<u32> {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        format!("a whole number from 0 to {}, or unset", u32::MAX)
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text == "unset" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| None)
    }

    fn show(&self) -> String {
        self.map_or_else(|| "unset".to_owned(), |n| n.to_string())
    }
}

/// How long to wait for something at most. There is no way to wait for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Duration);

impl Timeout {
    /// The time as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl std::str::FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|_| format!("allowed: {}", Self::allowed()))
    }
}

impl SettingType for Timeout {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "a time from 0s to 1h such as 30s or 2m, or a number of seconds".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let factor = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(None),
        };
        let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
        match seconds {
            Some(seconds) if seconds <= 3600 => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(None),
        }
    }

    fn show(&self) -> String {
        format!("{}s", self.0.as_secs())
    }
}

/// How many backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backups(pub u32);

impl SettingType for Backups {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "a whole number from 0 to 1000".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        text.parse().ok().filter(|count| *count <= 1000).map(Self).ok_or(None)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// After how many transactions of the pool something is done; 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transactions(pub u32);

impl SettingType for Transactions {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        format!("a whole number from 0 to {}", u32::MAX)
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        text.parse().map(Self).map_err(|_| None)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

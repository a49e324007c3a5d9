//! The name of a pool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A pool's name: it becomes the start of device-mapper names and the name of a directory, so only what is
/// harmless in both is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(String);

/// A text that can't be a pool's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not a pool name: use 1 to {max} letters, digits, '.', '_' or '-', the first a letter or a digit",
    max = PoolName::MAX_LEN
)]
pub struct PoolNameError(String);

impl PoolName {
    /// The longest name: the kernel has 127 characters for a device's name, and the rest of them are for what
    /// comes after the pool's.
    pub const MAX_LEN: usize = 48;

    /// The name of the pool when nobody says which.
    pub const DEFAULT: &'static str = "thinpool";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = PoolNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= Self::MAX_LEN && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PoolNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for PoolName {
    type Error = PoolNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PoolName> for String {
    fn from(name: PoolName) -> String {
        name.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_name_never_leaves_its_directory() {
        for good in ["thinpool", "a", "Pool_2.x-y", &"a".repeat(48)] {
            assert_eq!(good.parse::<PoolName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "../x", "a/b", "-a", "a b", "ä", "a\0", &"a".repeat(49)] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad:?}");
        }
    }
}

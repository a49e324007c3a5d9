//! LVM's version.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A version of LVM, such as 2.03.16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// `lvm version` didn't tell the version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no version of LVM in '{0}'")]
pub struct VersionError(String);

impl Version {
    /// The first version that writes reports as JSON (WHATS_NEW, 2.02.158).
    pub const OLDEST: Self = Self::new(2, 2, 158);
    /// The first version that keeps with a volume whether it is activated at boot (WHATS_NEW, 2.03.12).
    pub const AUTOACTIVATION: Self = Self::new(2, 3, 12);

    /// Version `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// From what `lvm version` prints.
    pub(crate) fn of_output(output: &str) -> Result<Self, VersionError> {
        let value = output.lines().find_map(|line| line.trim().strip_prefix("LVM version:"));
        value.unwrap_or(output).parse()
    }
}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `2.03.16` and whatever a vendor adds to it: `2.02.187(2)-RHEL7 (2020-03-24)`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.trim().split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor), Some(patch)) => Ok(Self { major, minor, patch }),
            _ => Err(VersionError(text.chars().take(200).collect())),
        }
    }
}

impl fmt::Display for Version {
    /// As LVM writes it, the second part with two digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}.{:02}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        let recorded = Version::of_output(include_str!("../tests/recorded/version.txt"));
        assert_eq!(recorded, Ok(Version::new(2, 3, 16)));
        assert_eq!("2.02.187(2)-RHEL7 (2020-03-24)".parse(), Ok(Version::new(2, 2, 187)));
        assert_eq!(Version::new(2, 3, 16).to_string(), "2.03.16");
        assert!(
            Version::new(2, 2, 187) < Version::AUTOACTIVATION && Version::OLDEST < Version::new(2, 2, 187)
        );
    }

    proptest! {
        #[test]
        fn no_output_makes_the_parser_panic(text in ".*|( *LVM version: .*\n)*") {
            let _ = Version::of_output(&text);
        }
    }
}

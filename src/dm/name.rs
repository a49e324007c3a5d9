//! Names and uuids of device-mapper devices.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::units::DeviceId;

/// The longest name the kernel takes, in bytes (`DM_NAME_LEN` less the final NUL).
const LONGEST_NAME: usize = 127;

/// The name of a device-mapper device, good for the kernel and as a file name in /dev/mapper that needs no
/// escaping (libdevmapper would mangle anything else).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A name that device-mapper can't have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a device name can't be empty")]
    Empty,
    /// Over the kernel's limit.
    #[error("the device name '{0}' has {length} bytes; the kernel takes {LONGEST_NAME}", length = .0.len())]
    TooLong(String),
    /// A character that /dev/mapper can't show.
    #[error("the device name '{name}' has the character {character:?}; allowed are A-Z a-z 0-9 and #+-.:=@_")]
    Character {
        /// The whole name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The two names that mean a directory.
    #[error("'{0}' can't be a device name: it names a directory")]
    Directory(String),
}

impl Name {
    /// Checks a name by the kernel's and libdevmapper's rules.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > LONGEST_NAME {
            return Err(NameError::TooLong(name));
        }
        if name == "." || name == ".." {
            return Err(NameError::Directory(name));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c);
        match name.chars().find(|c| !allowed(*c)) {
            Some(character) => Err(NameError::Character { name, character }),
            None => Ok(Self(name)),
        }
    }

    /// The name of a device that the kernel has already: taken as it is, whoever made it.
    pub(super) fn found(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where users find the device: `/dev/mapper/NAME`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/mapper").join(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The uuid of one of our devices: `THINPOOL-<pool's uuid>-<what>`. The prefix tells everybody (blkid, LVM,
/// stray scripts, us after a crash) whose device it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uuid(String);

impl Uuid {
    const PREFIX: &'static str = "THINPOOL-";

    /// The uuid of a pool's own device.
    #[must_use]
    pub fn of_pool(pool: &uuid::Uuid) -> Self {
        Self(format!("{}{}-pool", Self::PREFIX, pool.simple()))
    }

    /// The uuid of a thin device in a pool.
    #[must_use]
    pub fn of_device(pool: &uuid::Uuid, device: DeviceId) -> Self {
        Self(format!("{}{}-{device}", Self::PREFIX, pool.simple()))
    }

    /// What all devices of one pool begin with, and no others.
    #[must_use]
    pub fn prefix_of(pool: &uuid::Uuid) -> String {
        format!("{}{}-", Self::PREFIX, pool.simple())
    }

    /// The pool that a device of ours belongs to, by the device's uuid.
    #[must_use]
    pub fn pool_of(uuid: &str) -> Option<uuid::Uuid> {
        let (pool, _) = uuid.strip_prefix(Self::PREFIX)?.split_once('-')?;
        pool.parse().ok()
    }

    /// The uuid of a device that another program made.
    #[must_use]
    pub fn of_somebody_else(uuid: &str) -> Self {
        Self(uuid.to_owned())
    }

    /// The uuid as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_be_mangled_or_cut_is_refused() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert!(matches!(Name::new("a".repeat(128)), Err(NameError::TooLong(_))));
        assert!(Name::new("a".repeat(127)).is_ok());
        for (bad, at) in [("a/b", '/'), ("a b", ' '), ("a\\x20", '\\'), ("naïve", 'ï'), ("a\0", '\0')] {
            assert!(
                matches!(Name::new(bad), Err(NameError::Character { character, .. }) if character == at),
                "{bad:?}"
            );
        }
        assert!(matches!(Name::new(".."), Err(NameError::Directory(_))));
    }

    #[test]
    fn uuids_fit_the_kernels_field() {
        let pool = uuid::Uuid::new_v4();
        // DM_UUID_LEN is 129 with the final NUL.
        assert!(Uuid::of_device(&pool, DeviceId::MAX).as_str().len() < 129);
        assert!(Uuid::of_pool(&pool).as_str().starts_with(&Uuid::prefix_of(&pool)));
        assert_eq!(Uuid::pool_of(Uuid::of_pool(&pool).as_str()), Some(pool));
        assert_eq!(Uuid::pool_of("LVM-abc-def"), None);
    }
}

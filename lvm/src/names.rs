//! The names of volume groups and volumes, and tags, by LVM's own rules (lvm(8), "Valid names").

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest name of a group or a volume, and of the two together in device-mapper (`DM_NAME_LEN`).
const MAX_NAME: usize = 127;
/// The longest tag.
const MAX_TAG: usize = 1024;

/// A text that LVM would not take for a name or a tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// No name at all by LVM's rules.
    #[error(
        "'{0}' can't be a name in LVM: use 1 to {MAX_NAME} letters, digits, '.', '_', '+' or '-', the first no '-'"
    )]
    Name(String),
    /// LVM keeps such names of volumes for itself.
    #[error("'{name}' can't be the name of a volume: LVM keeps names with '{reserved}' for itself")]
    Reserved {
        /// The name.
        name: String,
        /// What it can't have in it.
        reserved: &'static str,
    },
    /// Not `GROUP/VOLUME`.
    #[error("'{0}' does not name a volume: write GROUP/VOLUME")]
    Id(String),
    /// Each of the names is well, but not both together.
    #[error(
        "'{0}' is too long: group and volume, every '-' counted twice, have {MAX_NAME} characters together"
    )]
    TooLong(String),
    /// No tag by LVM's rules.
    #[error(
        "'{0}' can't be a tag in LVM: use 1 to {MAX_TAG} letters, digits or any of _ + . - / = ! : # &, the first no '-'"
    )]
    Tag(String),
}

/// What can stand in a name.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    (1..=MAX_NAME).contains(&text.len())
        && !text.starts_with('-')
        && !matches!(text, "." | "..")
        && text.chars().all(allowed)
}

macro_rules! as_text {
    ($type:ty) => {
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// The name of a volume group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VgName(String);
as_text!(VgName);

impl FromStr for VgName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Name(text.to_owned())) }
    }
}

/// The name of a volume inside of its group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LvName(String);
as_text!(LvName);

impl LvName {
    /// What LVM keeps for itself at the start of a name.
    const RESERVED_STARTS: [&str; 2] = ["pvmove", "snapshot"];
    /// What LVM keeps for itself anywhere in a name (lib/misc/lvm-string.c).
    const RESERVED: [&str; 17] = [
        "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare",
        "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig",
    ];

    /// The name of a volume that LVM says exists: its own names are among them.
    pub(crate) fn existing(text: &str) -> Result<Self, NameError> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Name(text.to_owned())) }
    }
}

impl FromStr for LvName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let start = Self::RESERVED_STARTS.into_iter().find(|start| text.starts_with(start));
        let reserved = start.or_else(|| Self::RESERVED.into_iter().find(|part| text.contains(part)));
        match reserved {
            Some(reserved) => Err(NameError::Reserved { name: text.to_owned(), reserved }),
            None => Self::existing(text),
        }
    }
}

/// A volume by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LvId {
    /// The group it is in.
    pub vg: VgName,
    /// Its own name.
    pub lv: LvName,
}

impl LvId {
    /// The volume of this name in this group. Fails when device-mapper has no room for both.
    pub fn new(vg: VgName, lv: LvName) -> Result<Self, NameError> {
        let doubled = |name: &str| name.len() + name.matches('-').count();
        let id = Self { vg, lv };
        if doubled(&id.vg.0) + 1 + doubled(&id.lv.0) > MAX_NAME {
            return Err(NameError::TooLong(id.to_string()));
        }
        Ok(id)
    }

    /// Where its device is while it is active: `/dev/GROUP/VOLUME`.
    #[must_use]
    pub fn path(&self) -> std::path::PathBuf {
        std::path::Path::new("/dev").join(self.to_string())
    }
}

impl FromStr for LvId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (vg, lv) = text.split_once('/').ok_or_else(|| NameError::Id(text.to_owned()))?;
        Self::new(vg.parse()?, lv.parse()?)
    }
}

impl fmt::Display for LvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vg, self.lv)
    }
}

/// A tag: a mark that LVM keeps with a group or a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);
as_text!(Tag);

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+.-/=!:#&".contains(c);
        if (1..=MAX_TAG).contains(&text.len()) && !text.starts_with('-') && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Tag(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_lvm_takes_is_taken_and_others_never_reach_its_command_line() {
        for good in ["direct-lvm", "a", "x.y_z+1", "..a", &"v".repeat(127)] {
            assert_eq!(good.parse::<VgName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "-a", "--yes", "a/b", "a b", "a\"", "ä", "a\n", &"v".repeat(128)] {
            assert!(bad.parse::<VgName>().is_err(), "{bad:?}");
            assert!(bad.parse::<LvName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lvms_own_volumes_can_be_read_but_not_made() {
        for reserved in ["snapshot1", "pvmove0", "pool_tmeta", "lvol0_pmspare", "x_tdata_y"] {
            assert!(matches!(reserved.parse::<LvName>(), Err(NameError::Reserved { .. })), "{reserved}");
            assert!(LvName::existing(reserved).is_ok(), "{reserved}");
        }
        assert!("data_meta".parse::<LvName>().is_ok());
    }

    #[test]
    fn a_volume_has_to_fit_into_a_device_mapper_name() {
        let id = |vg: &str, lv: &str| format!("{vg}/{lv}").parse::<LvId>();
        assert!(id(&"v".repeat(63), &"l".repeat(63)).is_ok());
        assert!(id(&"v".repeat(63), &"l".repeat(64)).is_err());
        assert!(id("v-v", &format!("{}-", "l".repeat(120))).is_ok());
        assert!(id("v-v", &format!("{}--", "l".repeat(120))).is_err());
        assert!("data".parse::<LvId>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_name_that_could_end_a_quoted_selection(text in ".{0,20}|[ -~]{0,20}") {
            let names = [
                text.parse::<VgName>().map(|name| name.to_string()),
                text.parse::<LvName>().map(|name| name.to_string()),
                text.parse::<Tag>().map(|name| name.to_string()),
            ];
            for name in names.into_iter().flatten() {
                let harmless = !name.contains(['"', '\\', ' ', ',', '{', '[']) && !name.starts_with('-');
                prop_assert!(harmless, "{name}");
            }
        }
    }
}

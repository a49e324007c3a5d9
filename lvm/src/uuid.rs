//! The identities that LVM gives to what it makes; they stay when names change.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A text that isn't one of LVM's uuids.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not one of LVM's uuids: 32 letters, digits, '!' or '#' are expected")]
pub struct UuidError(String);

/// The characters of a uuid, its hyphens aside.
const LENGTH: usize = 32;
/// After which of them a hyphen is written.
const HYPHENS: [usize; 6] = [6, 10, 14, 18, 22, 26];

fn parse(text: &str) -> Result<String, UuidError> {
    let bare = text.replace('-', "");
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '!' | '#');
    if bare.len() == LENGTH && bare.chars().all(allowed) { Ok(bare) } else { Err(UuidError(text.to_owned())) }
}

fn write(bare: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, character) in bare.chars().enumerate() {
        if HYPHENS.contains(&index) {
            f.write_str("-")?;
        }
        write!(f, "{character}")?;
    }
    Ok(())
}

macro_rules! uuid {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The uuid of a ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = UuidError;

            /// With hyphens, as LVM shows it, or without, as it stands in device-mapper's uuids.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            /// With hyphens.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(&self.0, f)
            }
        }
    };
}

uuid!(PvUuid, "physical volume");
uuid!(VgUuid, "volume group");
uuid!(LvUuid, "logical volume");

/// Which volume a device-mapper uuid stands for: `LVM-`, the group's and the volume's uuid. Anything behind that
/// means a device inside of a volume, such as a mirror's leg, which is nobody's to use.
pub(crate) fn of_device_mapper(uuid: &str) -> Option<(VgUuid, LvUuid)> {
    let both = uuid.trim_end().strip_prefix("LVM-")?;
    let (vg, lv) = both.split_at_checked(LENGTH)?;
    if vg.contains('-') || lv.contains('-') {
        return None;
    }
    Some((vg.parse().ok()?, lv.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_and_lvms_ways_to_write_a_uuid_mean_the_same() {
        let (vg, lv) =
            of_device_mapper("LVM-s38eQz1qQQMKSdcshvMKybsaTWjXTxDX7jmlopz4rVyqcq16Q5eeyP3UXaRdBLiG\n")
                .unwrap();
        assert_eq!(vg.to_string(), "s38eQz-1qQQ-MKSd-cshv-MKyb-saTW-jXTxDX");
        assert_eq!(lv, "7jmlop-z4rV-yqcq-16Q5-eeyP-3UXa-RdBLiG".parse().unwrap());
    }

    #[test]
    fn the_inside_of_a_volume_is_not_taken_for_the_volume() {
        let volume = "LVM-s38eQz1qQQMKSdcshvMKybsaTWjXTxDX7jmlopz4rVyqcq16Q5eeyP3UXaRdBLiG";
        for other in [&format!("{volume}-tpool"), &format!("{volume}x"), "CRYPT-x", "LVM-", ""] {
            assert_eq!(of_device_mapper(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*|LVM-.*") {
            let _ = (of_device_mapper(&text), text.parse::<LvUuid>());
        }
    }
}

//! The types that settings have: what each allows, how it is read, and how it is shown again.

mod choice;
mod device;
mod limit;
mod list;
mod listen;
mod path;
mod size;

pub use choice::{AutoBool, FsChoice, LogLevel, WhenFull};
pub use device::{DevicePath, DevicePaths, PoolDevice, Share, VolumeGroup};
pub use limit::{Backups, Timeout, Transactions};
pub use list::{MkfsArgs, MountOptions};
pub use listen::MetricsListen;
pub use path::{AbsolutePath, LoopDir};
pub use size::{MetadataSize, MinFreeSpace};

/// What a TOML value has to be before its text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Shape {
    /// A string.
    Text,
    /// A string or an integer.
    TextOrNumber,
    /// `true` or `false`.
    Switch,
    /// `true`, `false` or a string.
    SwitchOrText,
    /// An array of strings.
    List,
}

/// A type that a setting can have. A value arrives as texts: one for a plain setting, any number for a list.
pub(in crate::config) trait SettingType: Sized {
    /// What the configuration file has to hold.
    const SHAPE: Shape;

    /// What is allowed, as the end of a sentence "allowed is …".
    fn allowed() -> String;

    /// Reads a plain value; the error says what is wrong with it, or nothing more than [`Self::allowed`] does.
    fn parse(text: &str) -> Result<Self, Option<String>>;

    /// Reads a value however it was given.
    fn parse_all(texts: &[String]) -> Result<Self, Option<String>> {
        match texts {
            [text] => Self::parse(text),
            _ => Err(Some("it is one value, not a list".to_owned())),
        }
    }

    /// The value as [`Self::parse`] reads it again.
    fn show(&self) -> String;
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::backing::{MetadataVolumeSize, VolumeSize};
    use crate::units::{BlockSize, Bytes, PoolName};

    fn round_trips<T: SettingType + PartialEq + fmt::Debug>(text: &str) {
        if let Ok(value) = T::parse(text) {
            assert_eq!(T::parse(&value.show()).as_ref(), Ok(&value), "{text}");
        }
    }

    #[test]
    fn booleans_are_read_as_go_reads_them() {
        for (text, value) in [("1", true), ("T", true), ("True", true), ("f", false), ("FALSE", false)] {
            assert_eq!(bool::parse(text), Ok(value));
        }
        for text in ["", "yes", "on", "tRUE", "2", " true"] {
            assert_eq!(bool::parse(text), Err(None), "{text}");
        }
    }

    #[test]
    fn no_timeout_waits_for_ever() {
        assert_eq!(Timeout::parse("2m").map(Timeout::duration), Ok(Duration::from_secs(120)));
        assert_eq!(Timeout::parse("30").map(Timeout::duration), Ok(Duration::from_secs(30)));
        for text in ["", "s", "-1s", "2h", "3601", "infinity", "99999999999999999999s", "1.5s"] {
            assert_eq!(Timeout::parse(text), Err(None), "{text}");
        }
    }

    #[test]
    fn metadata_that_the_kernel_could_not_use_is_refused() {
        for text in ["2M", "2097152", "15.8G", "17045913600"] {
            assert!(MetadataSize::parse(text).is_ok(), "{text}");
        }
        for text in ["", "0", "2097151", "17045913601", "16G"] {
            assert_eq!(MetadataSize::parse(text), Err(None), "{text}");
        }
    }

    #[test]
    fn a_path_never_climbs() {
        for text in ["", "relative", "/var/../etc", "/a\nb"] {
            assert_eq!(AbsolutePath::parse(text), Err(None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same_value(text in "([0-9]{1,6}[kmgs%]?|[a-z0-9,/.]{0,8})") {
            round_trips::<bool>(&text);
            round_trips::<AutoBool>(&text);
            round_trips::<Bytes>(&text);
            round_trips::<BlockSize>(&text);
            round_trips::<MetadataSize>(&text);
            round_trips::<PoolName>(&text);
            round_trips::<AbsolutePath>(&text);
            round_trips::<MountOptions>(&text);
            round_trips::<MinFreeSpace>(&text);
            round_trips::<Option<u32>>(&text);
            round_trips::<Timeout>(&text);
            round_trips::<Backups>(&text);
            round_trips::<LogLevel>(&text);
            round_trips::<WhenFull>(&text);
            round_trips::<MetricsListen>(&text);
            round_trips::<DevicePath>(&text);
            round_trips::<PoolDevice>(&text);
            round_trips::<VolumeGroup>(&text);
            round_trips::<VolumeSize>(&text);
            round_trips::<MetadataVolumeSize>(&text);
            round_trips::<Share>(&text);
        }
    }
}

//! The types that settings have: what each allows, how it is read, and how it is shown again.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::units::{BlockSize, Bytes, Percent, PoolName};

/// What a TOML value has to be before its text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
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
pub(super) trait SettingType: Sized {
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

/// Reads booleans as Docker does (Go's `strconv.ParseBool`).
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

impl SettingType for bool {
    const SHAPE: Shape = Shape::Switch;

    fn allowed() -> String {
        "true or false".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        parse_bool(text).ok_or(None)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Yes, no, or what this machine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoBool {
    /// On where the kernel can do it.
    #[default]
    Auto,
    /// On; an error where the kernel can't.
    On,
    /// Off.
    Off,
}

impl AutoBool {
    /// The decision, given whether this machine can.
    #[must_use]
    pub fn resolve(self, machine_can: bool) -> bool {
        match self {
            Self::Auto => machine_can,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl SettingType for AutoBool {
    const SHAPE: Shape = Shape::SwitchOrText;

    fn allowed() -> String {
        "true, false or auto (on where the kernel can)".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        parse_bool(text).map(|on| if on { Self::On } else { Self::Off }).ok_or(None)
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::On => "true",
            Self::Off => "false",
        }
        .to_owned()
    }
}

impl SettingType for Bytes {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "a size above 0 such as 512M, 10G or 1.5T (base 1024), or a number of bytes".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text.parse::<Self>() {
            Ok(Bytes(0)) => Err(Some("it must be more than 0".to_owned())),
            Ok(size) => Ok(size),
            Err(_) => Err(None),
        }
    }

    fn show(&self) -> String {
        short_size(*self)
    }
}

/// A size in the largest unit that says it exactly: `10G`, `65537`.
fn short_size(size: Bytes) -> String {
    for (power, unit) in [(50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        let factor = 1_u64 << power;
        if size.0 >= factor && size.0.is_multiple_of(factor) {
            return format!("{}{unit}", size.0 / factor);
        }
    }
    size.0.to_string()
}

impl SettingType for BlockSize {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "a multiple of 64K from 64K to 1G (the kernel's rule)".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let size: Bytes = text.parse().map_err(|_| None)?;
        Self::try_from(size).map_err(|_| None)
    }

    fn show(&self) -> String {
        short_size(self.bytes())
    }
}

impl SettingType for PoolName {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        format!("1 to {} letters, digits, '.', '_' or '-', the first a letter or a digit", PoolName::MAX_LEN)
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|_| None)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A directory by its whole path, with no `..` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl SettingType for AbsolutePath {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "an absolute path without '..'".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let path = PathBuf::from(text);
        let goes_up = path.components().any(|c| c == Component::ParentDir);
        if path.is_absolute() && !goes_up && !text.chars().any(char::is_control) {
            Ok(Self(path))
        } else {
            Err(None)
        }
    }

    fn show(&self) -> String {
        self.0.display().to_string()
    }
}

/// The directory of the loop files. As it is written it may hold `<root>` and `<pool>`, which stand for the
/// settings of these names; in [`super::Settings`] they are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopDir(String);

impl LoopDir {
    /// The directory.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    pub(super) fn fill_in(&self, root: &AbsolutePath, pool: &PoolName) -> Self {
        Self(self.0.replace("<root>", &root.show()).replace("<pool>", pool.as_str()))
    }
}

impl SettingType for LoopDir {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "an absolute path without '..'; <root> and <pool> in it stand for these settings".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        AbsolutePath::parse(&text.replace("<root>", "/root").replace("<pool>", "pool"))?;
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The file system for the base device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FsChoice {
    /// xfs where this machine can make and mount it, else ext4.
    #[default]
    Auto,
    /// ext4.
    Ext4,
    /// xfs.
    Xfs,
}

impl SettingType for FsChoice {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "ext4, xfs or auto (xfs where this machine has it, else ext4)".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text {
            "auto" => Ok(Self::Auto),
            "ext4" => Ok(Self::Ext4),
            "xfs" => Ok(Self::Xfs),
            _ => Err(None),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
        .to_owned()
    }
}

/// Arguments handed to mkfs as they are, before its device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MkfsArgs(pub Vec<String>);

impl SettingType for MkfsArgs {
    const SHAPE: Shape = Shape::List;

    fn allowed() -> String {
        "a list of arguments".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        Self::parse_all(&[text.to_owned()])
    }

    fn parse_all(texts: &[String]) -> Result<Self, Option<String>> {
        if texts.iter().any(|t| t.is_empty() || t.contains('\0')) {
            return Err(Some("an argument can't be empty".to_owned()));
        }
        Ok(Self(texts.to_vec()))
    }

    fn show(&self) -> String {
        self.0.join(" ")
    }
}

/// Options for mounting thin devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions(pub Vec<String>);

impl SettingType for MountOptions {
    const SHAPE: Shape = Shape::List;

    fn allowed() -> String {
        "a list of mount options, none of them empty or with a space".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        Self::parse_all(&[text.to_owned()])
    }

    fn parse_all(texts: &[String]) -> Result<Self, Option<String>> {
        let options: Vec<String> = texts.iter().flat_map(|t| t.split(',')).map(str::to_owned).collect();
        let bad = |o: &String| o.is_empty() || o.contains(|c: char| c.is_whitespace() || c.is_control());
        if options.iter().any(bad) { Err(None) } else { Ok(Self(options)) }
    }

    fn show(&self) -> String {
        self.0.join(",")
    }
}

/// The share of a pool that stays free: below it no new image or container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinFreeSpace(Percent);

impl MinFreeSpace {
    /// The share; 0% is off.
    #[must_use]
    pub fn percent(self) -> Percent {
        self.0
    }
}

impl SettingType for MinFreeSpace {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "a percentage with its sign, from 0% (off) to 99%".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text.parse::<Percent>() {
            Ok(percent) if percent.get() < 100 => Ok(Self(percent)),
            _ => Err(None),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

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

/// How much is said about what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may go wrong.
    Warn,
    /// And what was done.
    Info,
    /// And every call of the kernel.
    Debug,
}

impl LogLevel {
    /// The level's name, as log filters want it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// libdevmapper's numbers: 2 fatal, 3 error, 4 warning, 5 notice, 6 info, 7 debug.
impl SettingType for LogLevel {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "error, warn, info, debug, or libdevmapper's number from 2 (fatal) to 7 (debug)".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text {
            "error" | "2" | "3" => Ok(Self::Error),
            "warn" | "4" => Ok(Self::Warn),
            "info" | "5" | "6" => Ok(Self::Info),
            "debug" | "7" => Ok(Self::Debug),
            _ => Err(None),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            round_trips::<PoolName>(&text);
            round_trips::<AbsolutePath>(&text);
            round_trips::<MountOptions>(&text);
            round_trips::<MinFreeSpace>(&text);
            round_trips::<Option<u32>>(&text);
            round_trips::<Timeout>(&text);
            round_trips::<LogLevel>(&text);
        }
    }
}

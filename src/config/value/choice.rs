//! Settings that choose one of a few things.

use std::fmt;

use super::{SettingType, Shape};
use crate::dm::NoSpacePolicy;

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

/// Yes, no, or as it suits the machine and the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoBool {
    /// Decided by what the machine can do, or by what the pool lies on.
    #[default]
    Auto,
    /// On; an error where the kernel can't.
    On,
    /// Off.
    Off,
}

impl AutoBool {
    /// The decision, given what suits.
    #[must_use]
    pub fn resolve(self, auto: bool) -> bool {
        match self {
            Self::Auto => auto,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl SettingType for AutoBool {
    const SHAPE: Shape = Shape::SwitchOrText;

    fn allowed() -> String {
        "true, false or auto (as it suits the machine and the pool)".to_owned()
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

/// What a write to a full pool meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits as long as the pool can grow; otherwise it fails.
    #[default]
    Auto,
    /// It waits, for a minute at most unless dm_thin_pool was told otherwise.
    Queue,
    /// It fails at once.
    Error,
}

impl WhenFull {
    /// What the kernel is to be told of a pool that can grow, or can't.
    #[must_use]
    pub fn policy(self, can_grow: bool) -> NoSpacePolicy {
        match self {
            Self::Auto if can_grow => NoSpacePolicy::Queue,
            Self::Queue => NoSpacePolicy::Queue,
            Self::Auto | Self::Error => NoSpacePolicy::Error,
        }
    }
}

impl SettingType for WhenFull {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "queue (it waits), error (it fails at once) or auto (it waits as long as the pool can grow)"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text {
            "auto" => Ok(Self::Auto),
            "queue" => Ok(Self::Queue),
            "error" => Ok(Self::Error),
            _ => Err(None),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Queue => "queue",
            Self::Error => "error",
        }
        .to_owned()
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

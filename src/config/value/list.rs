//! Settings that are lists.

use super::{SettingType, Shape};

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

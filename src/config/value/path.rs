//! Settings that are names and paths.

use std::path::{Component, Path, PathBuf};

use super::{SettingType, Shape};
use crate::units::PoolName;

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
/// settings of these names; in [`crate::config::Settings`] they are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopDir(String);

impl LoopDir {
    /// The directory.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    pub(in crate::config) fn fill_in(&self, root: &AbsolutePath, pool: &PoolName) -> Self {
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

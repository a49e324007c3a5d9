//! Settings that name devices and volumes.

use std::path::{Path, PathBuf};

use super::{AbsolutePath, SettingType, Shape};
use crate::units::{Bytes, Percent, PoolName};

/// The text for a setting that nobody set.
const UNSET: &str = "unset";

/// A block device by any of its paths, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DevicePath(Option<PathBuf>);

impl DevicePath {
    /// The path, if one was given.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl SettingType for DevicePath {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        format!("an absolute path without '..', such as /dev/direct-lvm/data, or {UNSET}")
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text == UNSET {
            return Ok(Self(None));
        }
        Ok(Self(Some(AbsolutePath::parse(text)?.as_path().to_owned())))
    }

    fn show(&self) -> String {
        self.0.as_ref().map_or_else(|| UNSET.to_owned(), |path| path.display().to_string())
    }
}

/// Block devices, each by any of its paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DevicePaths(pub Vec<PathBuf>);

impl SettingType for DevicePaths {
    const SHAPE: Shape = Shape::List;

    fn allowed() -> String {
        "a list of absolute paths without '..', such as /dev/sdb".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        Self::parse_all(&[text.to_owned()])
    }

    fn parse_all(texts: &[String]) -> Result<Self, Option<String>> {
        let path = |text: &String| Ok(AbsolutePath::parse(text)?.as_path().to_owned());
        texts.iter().map(path).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    }
}

/// A thin pool that somebody else made, by its device-mapper name, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolDevice(Option<String>);

impl PoolDevice {
    /// The name, without `/dev/mapper/`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl SettingType for PoolDevice {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        format!("the name of a device-mapper device, with or without /dev/mapper/ before it, or {UNSET}")
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text == UNSET {
            return Ok(Self(None));
        }
        // Docker takes both ways of writing it.
        let name = text.strip_prefix("/dev/mapper/").unwrap_or(text);
        let name = crate::dm::Name::new(name).map_err(|error| Some(error.to_string()))?;
        Ok(Self(Some(name.to_string())))
    }

    fn show(&self) -> String {
        self.0.clone().unwrap_or_else(|| UNSET.to_owned())
    }
}

/// The name of the volume group that is made of the disks. As it is written it may hold `<pool>`, which is filled in
/// in [`crate::config::Settings`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGroup(String);

impl VolumeGroup {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(in crate::config) fn fill_in(&self, pool: &PoolName) -> Self {
        Self(self.0.replace("<pool>", pool.as_str()))
    }
}

impl SettingType for VolumeGroup {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "a name that LVM takes: letters, digits, '.', '_', '+' or '-', the first no '-'; <pool> in it stands for the \
         pool's name"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text.replace("<pool>", "pool").parse::<lvm::VgName>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(None),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// How large a volume is to be: so many bytes, or a share of its volume group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeSize {
    /// So many.
    Bytes(Bytes),
    /// This share of the whole group.
    Share(Percent),
}

impl SettingType for VolumeSize {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "a share of the volume group from 1% to 100%, or a size such as 200G (base 1024)".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text.ends_with('%') {
            return Share::parse(text).map(|share| Self::Share(share.percent()));
        }
        Bytes::parse(text).map(Self::Bytes)
    }

    fn show(&self) -> String {
        match self {
            Self::Bytes(bytes) => bytes.show(),
            Self::Share(percent) => percent.to_string(),
        }
    }
}

/// How large the metadata volume is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataVolumeSize {
    /// As the size of the data wants it.
    Auto,
    /// As somebody said.
    Given(VolumeSize),
}

impl SettingType for MetadataVolumeSize {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        "a share of the volume group from 1% to 100%, a size such as 2G (base 1024), or auto (by the size of the data)"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        VolumeSize::parse(text).map(Self::Given)
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Given(size) => size.show(),
        }
    }
}

/// A share of something, never none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(Percent);

impl Share {
    /// The share.
    #[must_use]
    pub fn percent(self) -> Percent {
        self.0
    }
}

impl SettingType for Share {
    const SHAPE: Shape = Shape::Text;

    fn allowed() -> String {
        "a percentage with its sign, from 1% to 100%".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text.parse::<Percent>() {
            Ok(percent) if percent > Percent::ZERO => Ok(Self(percent)),
            _ => Err(None),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_device_is_named_with_or_without_its_directory() {
        for text in ["vg-pool-tpool", "/dev/mapper/vg-pool-tpool"] {
            assert_eq!(PoolDevice::parse(text).expect("a name").name(), Some("vg-pool-tpool"));
        }
        assert!(PoolDevice::parse("/dev/vg/pool").is_err());
        assert_eq!(PoolDevice::parse("unset").map(|pool| pool.0), Ok(None));
    }

    #[test]
    fn a_volumes_size_is_a_share_or_a_number_of_bytes() {
        let share = |percent: u8| VolumeSize::Share(percent.try_into().expect("a share"));
        assert_eq!(VolumeSize::parse("95%"), Ok(share(95)));
        assert_eq!(VolumeSize::parse("200G"), Ok(VolumeSize::Bytes(Bytes::gib(200))));
        assert_eq!(MetadataVolumeSize::parse("auto"), Ok(MetadataVolumeSize::Auto));
        for text in ["", "0%", "101%", "0", "-5%", "%"] {
            assert!(VolumeSize::parse(text).is_err(), "{text}");
        }
    }
}

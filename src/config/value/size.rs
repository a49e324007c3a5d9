//! Settings that are sizes and shares.

use super::{SettingType, Shape};
use crate::units::{BlockSize, Bytes, Percent};

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

/// The size of a pool's metadata, within what the kernel can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataSize(Bytes);

impl MetadataSize {
    /// What the kernel's documentation gives as the least.
    const MIN: Bytes = Bytes::mib(2);
    /// The kernel's index has 255 entries for 16320 blocks each (`THIN_METADATA_MAX_SECTORS`); it opens a larger
    /// device and never uses the rest.
    const MAX: Bytes = Bytes(255 * 16_320 * 4096);

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        self.0
    }
}

impl SettingType for MetadataSize {
    const SHAPE: Shape = Shape::TextOrNumber;

    fn allowed() -> String {
        format!("a size from 2M to {} bytes, just below 15.875G (the kernel's rule)", Self::MAX.0)
    }

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let size: Bytes = text.parse().map_err(|_| None)?;
        if (Self::MIN..=Self::MAX).contains(&size) { Ok(Self(size)) } else { Err(None) }
    }

    fn show(&self) -> String {
        short_size(self.0)
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

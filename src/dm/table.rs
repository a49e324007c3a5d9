//! The tables this project loads, typed, and read back from the kernel's own text.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::node::DeviceNumber;
use crate::units::{BlockSize, DataBlocks, DeviceId, Sectors};

/// The one target that a device of ours has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// A pool.
    ThinPool(ThinPool),
    /// A thin device in a pool.
    Thin(Thin),
    /// A stretch of another device.
    Linear(Linear),
}

/// `thin-pool <metadata> <data> <block size> <low water mark> <features>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinPool {
    /// How long the pool is: the data device's whole blocks.
    pub length: Sectors,
    /// The metadata device.
    pub metadata: DeviceNumber,
    /// The data device.
    pub data: DeviceNumber,
    /// The size of the data blocks.
    pub block_size: BlockSize,
    /// An event is raised when no more than this many blocks are free.
    pub low_water_mark: DataBlocks,
    /// What differs from the kernel's defaults.
    pub features: Vec<Feature>,
}

/// A feature argument of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// New blocks keep what the disk held before, which may be another tenant's data.
    SkipBlockZeroing,
    /// Discards are ignored.
    IgnoreDiscard,
    /// Discards free blocks in the pool, but are not passed on to the data device.
    NoDiscardPassdown,
    /// Writes that need a block when there is none fail at once instead of waiting.
    ErrorIfNoSpace,
    /// Metadata is not to be changed.
    ReadOnly,
}

/// `thin <pool> <device id> [<external origin>]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thin {
    /// How long the device is. The pool keeps no sizes: this is all the kernel knows of it.
    pub length: Sectors,
    /// The pool's device.
    pub pool: DeviceNumber,
    /// Its id in the pool.
    pub id: DeviceId,
    /// A read-only device that blocks never written are read from.
    pub external_origin: Option<DeviceNumber>,
}

/// `linear <device> <offset>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// How long the stretch is.
    pub length: Sectors,
    /// The device below.
    pub device: DeviceNumber,
    /// Where the stretch begins there.
    pub offset: Sectors,
}

/// A table line that is not one the kernel is known to print.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}'")]
pub struct TableError(pub String);

impl Feature {
    const ALL: [Feature; 5] = [
        Feature::SkipBlockZeroing,
        Feature::IgnoreDiscard,
        Feature::NoDiscardPassdown,
        Feature::ErrorIfNoSpace,
        Feature::ReadOnly,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::SkipBlockZeroing => "skip_block_zeroing",
            Self::IgnoreDiscard => "ignore_discard",
            Self::NoDiscardPassdown => "no_discard_passdown",
            Self::ErrorIfNoSpace => "error_if_no_space",
            Self::ReadOnly => "read_only",
        }
    }
}

impl Table {
    /// The target's name.
    #[must_use]
    pub fn target(&self) -> &'static str {
        match self {
            Self::ThinPool(_) => "thin-pool",
            Self::Thin(_) => "thin",
            Self::Linear(_) => "linear",
        }
    }

    /// The device's length.
    #[must_use]
    pub fn length(&self) -> Sectors {
        match self {
            Self::ThinPool(table) => table.length,
            Self::Thin(table) => table.length,
            Self::Linear(table) => table.length,
        }
    }

    /// Reads a table back from what the kernel gives for `STATUS_TABLE`: `None` for a target we don't use.
    pub fn parse(target: &str, length: Sectors, params: &str) -> Result<Option<Self>, TableError> {
        let words: Vec<&str> = params.split_ascii_whitespace().collect();
        let table = match target {
            "thin-pool" => parse_thin_pool(length, &words).map(Self::ThinPool),
            "thin" => parse_thin(length, &words).map(Self::Thin),
            "linear" => parse_linear(length, &words).map(Self::Linear),
            _ => return Ok(None),
        };
        table.map(Some).ok_or_else(|| TableError(format!("{target} {params}")))
    }
}

/// The parameters as the kernel wants them, without start, length and target.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThinPool(table) => table.fmt(f),
            Self::Thin(Thin { pool, id, external_origin: None, .. }) => write!(f, "{pool} {id}"),
            Self::Thin(Thin { pool, id, external_origin: Some(origin), .. }) => {
                write!(f, "{pool} {id} {origin}")
            }
            Self::Linear(table) => write!(f, "{} {}", table.device, table.offset),
        }
    }
}

impl fmt::Display for ThinPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metadata, data, block_size, low_water_mark, features, .. } = self;
        write!(f, "{metadata} {data} {} {} {}", block_size.sectors(), low_water_mark.0, features.len())?;
        features.iter().try_for_each(|feature| write!(f, " {}", feature.as_str()))
    }
}

fn parse_thin_pool(length: Sectors, words: &[&str]) -> Option<ThinPool> {
    let [metadata, data, block_size, low_water_mark, rest @ ..] = words else { return None };
    let count = rest.first().map_or(Some(0), |count| count.parse::<usize>().ok())?;
    let features = rest.get(1..).unwrap_or_default();
    if features.len() != count {
        return None;
    }
    Some(ThinPool {
        length,
        metadata: metadata.parse().ok()?,
        data: data.parse().ok()?,
        block_size: Sectors(block_size.parse().ok()?).bytes().try_into().ok()?,
        low_water_mark: DataBlocks(low_water_mark.parse().ok()?),
        features: features.iter().map(|word| word.parse().ok()).collect::<Option<_>>()?,
    })
}

impl FromStr for Feature {
    type Err = TableError;

    fn from_str(word: &str) -> Result<Self, TableError> {
        Self::ALL
            .into_iter()
            .find(|feature| feature.as_str() == word)
            .ok_or_else(|| TableError(word.to_owned()))
    }
}

fn parse_thin(length: Sectors, words: &[&str]) -> Option<Thin> {
    let (pool, id, origin) = match words {
        [pool, id] => (pool, id, None),
        [pool, id, origin] => (pool, id, Some(origin)),
        _ => return None,
    };
    Some(Thin {
        length,
        pool: pool.parse().ok()?,
        id: id.parse::<u32>().ok()?.try_into().ok()?,
        external_origin: origin
            .map(|origin| origin.parse().ok())
            .map_or(Some(None), |origin| origin.map(Some))?,
    })
}

fn parse_linear(length: Sectors, words: &[&str]) -> Option<Linear> {
    let [device, offset] = words else { return None };
    Some(Linear { length, device: device.parse().ok()?, offset: Sectors(offset.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Bytes;

    fn device() -> impl Strategy<Value = DeviceNumber> {
        (0..4096_u32, 0..(1_u32 << 20)).prop_map(|(major, minor)| DeviceNumber { major, minor })
    }

    fn table() -> impl Strategy<Value = Table> {
        let pool = (
            device(),
            device(),
            1..=16_384_u64,
            any::<u32>(),
            proptest::sample::subsequence(&Feature::ALL[..], 0..=5),
        )
            .prop_map(|(metadata, data, blocks, low, features)| {
                Table::ThinPool(ThinPool {
                    length: Sectors(1 << 30),
                    metadata,
                    data,
                    block_size: Bytes::kib(64 * blocks)
                        .try_into()
                        .expect("a multiple of 64 KiB within range"),
                    low_water_mark: DataBlocks(low.into()),
                    features,
                })
            });
        let thin = (device(), 0..(1_u32 << 24), proptest::option::of(device())).prop_map(
            |(pool, id, external_origin)| {
                let id = id.try_into().expect("24 bits");
                Table::Thin(Thin { length: Sectors(2048), pool, id, external_origin })
            },
        );
        let linear = (device(), any::<u64>()).prop_map(|(device, offset)| {
            Table::Linear(Linear { length: Sectors(8), device, offset: Sectors(offset) })
        });
        prop_oneof![pool, thin, linear]
    }

    proptest! {
        #[test]
        fn a_table_read_back_is_the_table_that_was_loaded(table in table()) {
            prop_assert_eq!(Table::parse(table.target(), table.length(), &table.to_string()), Ok(Some(table)));
        }

        #[test]
        fn no_line_makes_the_parser_panic(line in "[0-9a-z:_ -]{0,60}") {
            for target in ["thin-pool", "thin", "linear", "other"] {
                let _ = Table::parse(target, Sectors(8), &line);
            }
        }
    }

    #[test]
    fn a_line_of_dmsetup_table_is_understood() {
        let pool = Table::parse("thin-pool", Sectors(209_715_200), "7:1 7:0 128 32768 1 skip_block_zeroing ");
        let Ok(Some(Table::ThinPool(pool))) = pool else { panic!("{pool:?}") };
        assert_eq!(pool.block_size, BlockSize::DEFAULT);
        assert_eq!(pool.features, [Feature::SkipBlockZeroing]);
        assert_eq!(Table::parse("striped", Sectors(8), "2 128 8:0 0 8:1 0"), Ok(None));
    }
}

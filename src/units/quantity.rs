//! Bytes, sectors and the two kinds of blocks a pool counts in.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul, Sub};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes in a device-mapper sector, whatever the disk's own sector size is.
pub const SECTOR_SIZE: u64 = 512;

/// Makes a newtype over `u64` with the arithmetic that is safe inside one unit. Subtraction saturates: every
/// difference in this project is a "room left", which is never less than none.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;
            fn mul(self, factor: u64) -> Self {
                Self(self.0.saturating_mul(factor))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
                quantities.fold(Self::default(), Add::add)
            }
        }
    };
}

quantity!(
    /// A number of bytes.
    Bytes
);
quantity!(
    /// A number of 512-byte sectors, the unit of every device-mapper table.
    Sectors
);
quantity!(
    /// A number of a pool's data blocks; how large each is, the pool's [`BlockSize`] says.
    DataBlocks
);
quantity!(
    /// A number of a pool's metadata blocks, 4 KiB each.
    MetaBlocks
);

impl Bytes {
    /// `n` KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// `n` GiB.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n * 1024 * 1024 * 1024)
    }

    /// The whole sectors in it; a last, partial one does not count.
    #[must_use]
    pub fn sectors(self) -> Sectors {
        Sectors(self.0 / SECTOR_SIZE)
    }
}

/// With a unit, base 1024: `10 GiB`, `1.50 TiB`. For people; [`Bytes::0`] is for programs.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&humansize::format_size(self.0, humansize::BINARY))
    }
}

impl Sectors {
    /// The same length in bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(SECTOR_SIZE))
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MetaBlocks {
    /// Bytes in one metadata block (kernel `THIN_METADATA_BLOCK_SIZE`).
    pub const SIZE: Bytes = Bytes::kib(4);

    /// The same number of blocks in bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Self::SIZE * self.0
    }
}

impl DataBlocks {
    /// The same number of blocks in bytes, in a pool of this block size.
    #[must_use]
    pub fn bytes(self, block_size: BlockSize) -> Bytes {
        block_size.bytes() * self.0
    }
}

/// The size of a pool's data blocks: 64 KiB to 1 GiB, a multiple of 64 KiB, fixed for the pool's life
/// (`DATA_DEV_BLOCK_SIZE_MIN_SECTORS` and `…_MAX_SECTORS` in the kernel's drivers/md/dm-thin.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct BlockSize(Bytes);

/// A size that can't be a pool's block size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a pool's block size is 64 KiB to 1 GiB and a multiple of 64 KiB (the kernel's rule), not {0}")]
pub struct BlockSizeError(pub Bytes);

impl BlockSize {
    /// 64 KiB: what suits many snapshots, and what Docker's driver took.
    pub const DEFAULT: BlockSize = BlockSize(Bytes::kib(64));

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        self.0
    }

    /// The size in sectors, as a pool's table wants it.
    #[must_use]
    pub fn sectors(self) -> Sectors {
        self.0.sectors()
    }
}

impl TryFrom<Bytes> for BlockSize {
    type Error = BlockSizeError;

    fn try_from(size: Bytes) -> Result<Self, Self::Error> {
        let allowed = Bytes::kib(64)..=Bytes::gib(1);
        if allowed.contains(&size) && size.0.is_multiple_of(Bytes::kib(64).0) {
            Ok(Self(size))
        } else {
            Err(BlockSizeError(size))
        }
    }
}

impl TryFrom<u64> for BlockSize {
    type Error = BlockSizeError;

    fn try_from(size: u64) -> Result<Self, Self::Error> {
        Bytes(size).try_into()
    }
}

impl From<BlockSize> for u64 {
    fn from(size: BlockSize) -> u64 {
        size.0.0
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_size_the_kernel_would_refuse_is_refused_here() {
        for good in [64, 128, 512, 1024 * 1024] {
            assert_eq!(BlockSize::try_from(Bytes::kib(good)).map(BlockSize::bytes), Ok(Bytes::kib(good)));
        }
        for bad in [0, 1, 63, 65, 96, 1024 * 1024 + 64] {
            assert_eq!(BlockSize::try_from(Bytes::kib(bad)), Err(BlockSizeError(Bytes::kib(bad))));
        }
    }

    #[test]
    fn room_left_is_never_negative() {
        assert_eq!(Bytes(1) - Bytes(2), Bytes(0));
    }

    #[test]
    fn people_see_sizes_in_base_1024() {
        assert_eq!(Bytes::gib(10).to_string(), "10 GiB");
        assert_eq!(Bytes(0).to_string(), "0 B");
    }
}

//! The two numbers that join a catalog to a pool's metadata.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The id of a thin device inside its pool: 24 bits, chosen by the caller
/// (kernel `MAX_DEV_ID`, drivers/md/dm-thin.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DeviceId(u32);

/// A number that can't be a thin device's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is not a thin device id: the kernel has 24 bits for it (0 to {max})", max = DeviceId::MAX.0)]
pub struct DeviceIdOutOfRange(pub u32);

impl DeviceId {
    /// The largest id the kernel takes.
    pub const MAX: DeviceId = DeviceId((1 << 24) - 1);

    /// The id as the number that the kernel's messages and tables carry.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for DeviceId {
    type Error = DeviceIdOutOfRange;

    fn try_from(id: u32) -> Result<Self, Self::Error> {
        if id <= Self::MAX.0 { Ok(Self(id)) } else { Err(DeviceIdOutOfRange(id)) }
    }
}

impl From<DeviceId> for u32 {
    fn from(id: DeviceId) -> u32 {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A pool's transaction id: a number in the pool's superblock that changes only by compare-and-swap
/// (message `set_transaction_id`), and so tells how far the pool and its catalog got together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(pub u64);

impl TransactionId {
    /// The id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_never_exceeds_the_kernels_24_bits() {
        assert_eq!(DeviceId::try_from(0xFF_FFFF).map(DeviceId::get), Ok(0xFF_FFFF));
        assert_eq!(DeviceId::try_from(0x100_0000), Err(DeviceIdOutOfRange(0x100_0000)));
    }
}

//! Pools on block devices, as the catalog keeps them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::block::{BlockDevice, Identity};
use super::volumes::{Disk, Volumes};
use crate::units::Bytes;

/// The two block devices under a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// The device with the data blocks; none as long as it is still to be made.
    pub data: Option<Member>,
    /// The device with the metadata; the same.
    pub metadata: Option<Member>,
    /// What LVM makes for this pool, and takes away with it.
    pub volumes: Option<Volumes>,
    /// Whether the pool has taken them: from here on what is on them is the pool's.
    pub taken: bool,
    /// A disk for the day on which the volume group with the data is full. It is a physical volume from the beginning, in no
    /// group until it is taken. Whoever gave it wants the data to grow, also in a group that isn't the pool's own.
    #[serde(default)]
    pub spare: Option<Box<Disk>>,
    /// Whether that day has come: the disk is in the group, or about to be.
    #[serde(default)]
    pub spare_taken: bool,
}

/// A block device that belongs to a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// By what it is known again. Never by its name.
    pub identity: Identity,
    /// What it was called when the pool was set up.
    pub name: PathBuf,
    /// How large it was then.
    pub size: Bytes,
}

impl Member {
    /// The device as a member of a pool, if there is anything it could be known by.
    #[must_use]
    pub fn of(device: &BlockDevice) -> Option<Self> {
        let identity = device.identity.clone()?;
        Some(Self { identity, name: device.name.clone(), size: device.size })
    }
}

/// A thin pool that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingPool {
    /// Its device-mapper name.
    pub name: String,
    /// Its device-mapper uuid, which tells it from another pool that gets the name.
    pub uuid: String,
}

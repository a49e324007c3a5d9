//! Where a pool's blocks come from.

pub mod block;
mod devices;
mod loop_device;
mod loopback;
mod volumes;

use self::block::Identity;
use serde::{Deserialize, Serialize};

pub use devices::{Devices, ExistingPool, Member};
pub use loop_device::{Attached, LoopDevices, LoopError, SystemLoops, backing_file};
pub(crate) use loopback::make_private_directory;
pub use loopback::{FileSpace, LoopFileError, LoopFileIds, LoopFiles, Loopback};
pub use volumes::{
    Disk, Group, Growable, MOST_METADATA, MetadataVolumeSize, Sizes, VolumeSize, Volumes, VolumesError,
    metadata_size,
};

/// Where a pool's blocks come from, as its catalog keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Backing {
    /// Two sparse files on loop devices.
    Loop(Loopback),
    /// Two block devices, given to the pool or made for it out of a volume group.
    Devices(Devices),
    /// A thin pool that somebody else made, and that somebody else makes active.
    ThinPool(ExistingPool),
}

impl Backing {
    /// The loop files, if that is what the pool lies on.
    #[must_use]
    pub fn loop_files(&self) -> Option<&LoopFiles> {
        match self {
            Self::Loop(loopback) => Some(&loopback.files),
            Self::Devices(_) | Self::ThinPool(_) => None,
        }
    }

    /// The block devices, each with its part, as far as they are known.
    pub fn members(&self) -> impl Iterator<Item = (Part, &Member)> {
        let devices = match self {
            Self::Devices(devices) => Some(devices),
            Self::Loop(_) | Self::ThinPool(_) => None,
        };
        let member = |part, of: fn(&Devices) -> Option<&Member>| Some((part, of(devices?)?));
        [
            member(Part::Data, |devices| devices.data.as_ref()),
            member(Part::Metadata, |devices| devices.metadata.as_ref()),
        ]
        .into_iter()
        .flatten()
    }
}

impl Backing {
    /// What every device is known by that belongs to the pool, disks of its volume group included.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        let devices = match self {
            Self::Devices(devices) => Some(devices),
            Self::Loop(_) | Self::ThinPool(_) => None,
        };
        let group = devices.and_then(|devices| devices.volumes.as_ref()?.group.as_ref());
        let spare = devices.and_then(|devices| devices.spare.as_deref());
        let disks = group.into_iter().flat_map(|group| &group.disks).chain(spare);
        let disks = disks.filter_map(|disk| disk.identity.as_ref());
        self.members().map(|(_, member)| &member.identity).chain(disks)
    }
}

/// The two things that a pool is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The blocks themselves.
    Data,
    /// Which block belongs to which device.
    Metadata,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
        })
    }
}

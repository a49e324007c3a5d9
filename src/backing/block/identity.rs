//! By what a device is known again, whatever the kernel calls it after the next boot.
//!
//! Every identity is a link that udev makes below `/dev/disk`. systemd's `.device` units are named after links, rules can
//! match them, and udev keeps with each device the links it claims, so that two devices which claim the same one (the
//! paths of a multipath disk, a cloned disk) are noticed. Which property of which bus is in a link's name is left to
//! udev's rules.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// By what a device is known again. The kinds are in the order of how much can be built on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The uuid of a device-mapper device: `LVM-…` of a logical volume, `CRYPT-…` of an encrypted one.
    DmUuid(String),
    /// The uuid of a partition, from the partition table.
    PartUuid(String),
    /// The worldwide name that the maker gave a disk, as in the link's name: `wwn-0x5000c500a0b1c2d3`,
    /// `nvme-eui.0025385b71b1a4d2`, with `-part1` for a partition.
    Wwn(String),
    /// Bus, model and serial number of a disk, as in the link's name: `ata-MODEL_SERIAL`, `virtio-SERIAL`.
    Serial(String),
    /// Where it is plugged in: `pci-0000:00:04.0`. Another disk in the same place is taken for it.
    Path(String),
}

impl Identity {
    /// The link that leads to the device, after which systemd's unit of it is named.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        Path::new("/dev").join(self.link_in_dev())
    }

    /// What a rule of udev's has to ask to apply to this device: `SYMLINK=="disk/by-partuuid/…"`. Only rules after
    /// `60-persistent-storage.rules` can ask that. (No character of a link has a meaning in a pattern: udev puts
    /// `_` in the place of those.)
    #[must_use]
    pub fn udev_match(&self) -> String {
        format!("SYMLINK==\"{}\"", self.link_in_dev())
    }

    fn link_in_dev(&self) -> String {
        match self {
            Self::DmUuid(uuid) => format!("disk/by-id/dm-uuid-{uuid}"),
            Self::PartUuid(uuid) => format!("disk/by-partuuid/{uuid}"),
            Self::Wwn(name) | Self::Serial(name) => format!("disk/by-id/{name}"),
            Self::Path(name) => format!("disk/by-path/{name}"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DmUuid(uuid) => write!(f, "device-mapper uuid {uuid}"),
            Self::PartUuid(uuid) => write!(f, "partition uuid {uuid}"),
            Self::Wwn(name) => write!(f, "worldwide name {name}"),
            Self::Serial(name) => write!(f, "serial number {name}"),
            Self::Path(name) => write!(f, "place {name}"),
        }
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The uuid of a device-mapper device: `LVM-…` of a logical volume, `CRYPT-…` of an encrypted one.
    DmUuid(String),
    /// The uuid of a RAID array of md's, with `-part1` for its partition.
    MdUuid(String),
    /// The uuid of a partition, from the partition table.
    PartUuid(String),
    /// The worldwide name that the maker gave a disk, as in the link's name: `wwn-0x5000c500a0b1c2d3`,
    /// `nvme-eui.0025385b71b1a4d2`, with `-part1` for a partition.
    Wwn(String),
    /// Bus, model and serial number of a disk, as in the link's name: `ata-MODEL_SERIAL`, `virtio-SERIAL`.
    Serial(String),
}

/// Links by what is on a device, by a name that anybody may give to another one, or by where a virtual disk is plugged in:
/// QEMU numbers disks without a serial number, and a plain dm-crypt device has no more of a uuid than its name.
const CHANGEABLE: [&str; 7] = [
    "dm-name-",
    "dm-uuid-CRYPT-PLAIN-",
    "lvm-pv-uuid-",
    "md-name-",
    "md-device-",
    "ata-QEMU_HARDDISK_QM0",
    "scsi-0QEMU_QEMU_HARDDISK_drive-",
];
/// What the worldwide names of NVMe start with: the wwid in the kernel's drivers/nvme/host/core.c.
const NVME: [&str; 4] = ["nvme-eui.", "nvme-uuid.", "nvme-nguid.", "nvme-nvme."];

impl Identity {
    /// What the links of a device can be taken for, the best first.
    pub(super) fn of_links(links: &[PathBuf]) -> Vec<Self> {
        let mut found: Vec<Self> = links.iter().filter_map(|link| Self::of_link(link)).collect();
        found.sort();
        found
    }

    fn of_link(link: &Path) -> Option<Self> {
        let (folder, name) = link.to_str()?.strip_prefix("/dev/disk/")?.split_once('/')?;
        if name.contains('"') {
            return None;
        }
        let owned = name.to_owned();
        match folder {
            "by-partuuid" => Some(Self::PartUuid(owned)),
            "by-id" => {
                if CHANGEABLE.iter().any(|prefix| name.starts_with(prefix)) {
                    None
                } else if let Some(uuid) = name.strip_prefix("dm-uuid-") {
                    Some(Self::DmUuid(uuid.to_owned()))
                } else if let Some(uuid) = name.strip_prefix("md-uuid-") {
                    Some(Self::MdUuid(uuid.to_owned()))
                } else if name.starts_with("wwn-") || NVME.iter().any(|prefix| name.starts_with(prefix)) {
                    Some(Self::Wwn(owned))
                } else {
                    Some(Self::Serial(owned))
                }
            }
            _ => None,
        }
    }

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
            Self::MdUuid(uuid) => format!("disk/by-id/md-uuid-{uuid}"),
            Self::PartUuid(uuid) => format!("disk/by-partuuid/{uuid}"),
            Self::Wwn(name) | Self::Serial(name) => format!("disk/by-id/{name}"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DmUuid(uuid) => write!(f, "device-mapper uuid {uuid}"),
            Self::MdUuid(uuid) => write!(f, "array uuid {uuid}"),
            Self::PartUuid(uuid) => write!(f, "partition uuid {uuid}"),
            Self::Wwn(name) => write!(f, "worldwide name {name}"),
            Self::Serial(name) => write!(f, "serial number {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn best(links: &[&str]) -> Option<Identity> {
        let links: Vec<PathBuf> = links.iter().map(|link| Path::new("/dev").join(link)).collect();
        Identity::of_links(&links).into_iter().next()
    }

    #[test]
    fn the_identity_that_lasts_longest_is_taken_first() {
        let volume = [
            "disk/by-uuid/0d5c",
            "direct-lvm/data",
            "mapper/direct--lvm-data",
            "disk/by-id/dm-name-direct--lvm-data",
            "disk/by-id/dm-uuid-LVM-abc",
        ];
        assert_eq!(best(&volume), Some(Identity::DmUuid("LVM-abc".into())));
        let partition = [
            "disk/by-path/pci-0000:00:04.0-part1",
            "disk/by-id/wwn-0x5000-part1",
            "disk/by-partuuid/6b2e-01",
            "disk/by-partlabel/data",
            "disk/by-id/ata-M_S-part1",
        ];
        assert_eq!(best(&partition), Some(Identity::PartUuid("6b2e-01".into())));
        assert_eq!(best(&partition[..2]), Some(Identity::Wwn("wwn-0x5000-part1".into())));
        let nvme = ["disk/by-id/nvme-Model_1_S", "disk/by-id/nvme-eui.0025", "disk/by-path/pci-1-nvme-1"];
        assert_eq!(best(&nvme), Some(Identity::Wwn("nvme-eui.0025".into())));
        let virtio = ["disk/by-path/virtio-pci-1", "disk/by-id/virtio-data0", "disk/by-path/pci-1"];
        assert_eq!(best(&virtio), Some(Identity::Serial("virtio-data0".into())));
        let nameless = ["disk/by-path/virtio-pci-1", "disk/by-path/pci-1"];
        assert_eq!(best(&nameless), None, "another disk in the same place would be taken for it");
        let array = ["md/data", "disk/by-id/md-uuid-1:2", "disk/by-id/md-name-host:data"];
        assert_eq!(best(&array), Some(Identity::MdUuid("1:2".into())));
    }

    #[test]
    fn what_is_on_a_device_or_what_it_is_called_is_no_identity() {
        let links = [
            "disk/by-uuid/1",
            "disk/by-label/x",
            "disk/by-partlabel/x",
            "disk/by-diskseq/4",
            "loop/by-ref/x",
            "sdb",
            "disk/by-id/dm-name-x",
            "disk/by-id/dm-uuid-CRYPT-PLAIN-x",
            "disk/by-id/ata-QEMU_HARDDISK_QM00001",
            "disk/by-path/pci-0000:00:04.0",
            "disk/by-id/lvm-pv-uuid-x",
            "disk/by-id/md-name-x",
            "disk/by-partuuid",
        ];
        assert_eq!(best(&links), None);
    }

    proptest! {
        #[test]
        fn an_identity_leads_back_to_the_link_it_came_from(
            link in "/dev/disk/by-(id/((dm|md)-uuid-|wwn-|nvme-eui[.]|ata-)|partuuid/)[0-9a-z][!#-.0-~]{0,29}",
        ) {
            let link = PathBuf::from(link);
            let identity = Identity::of_link(&link).expect("an identity");
            prop_assert_eq!(identity.link(), link);
            let stored = serde_json::to_string(&identity).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Identity>(&stored).expect("the same"), identity);
        }

        #[test]
        fn no_link_makes_the_reader_panic(link in "/dev/disk/.*") {
            let _ = Identity::of_links(&[link.into()]);
        }
    }
}

//! Volumes that LVM makes for a pool: out of raw disks, or beside a volume that somebody else made.
//!
//! Only plain linear volumes. LVM's own thin pools would put a second manager, with a transaction id of its own, on the
//! same metadata.
//!
//! Whatever is made carries the pool's tag from its first moment on, and disks get a uuid that was chosen before, so that
//! what a killed setup left can be found and taken away again, and nothing else.

mod grow;
mod spare;

use std::path::{Path, PathBuf};

pub use grow::Growable;
use lvm::{
    LvId, Lvm, LvmError, NameError, NewLv, NewPv, NewVg, PvUuid, Refusal, Size, Tag, UuidError, Vg, VgName,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::block::{BlockDevice, Identity};
use crate::units::{BlockSize, Bytes, Percent};

/// What LVM makes for a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volumes {
    /// The volume group that the volumes are in.
    pub vg: String,
    /// The name of the volume for the metadata.
    pub metadata: String,
    /// The name of the spare for the metadata, where it isn't the usual one: a repair exchanges the two.
    #[serde(default)]
    pub spare: Option<String>,
    /// The group, if it is made for the pool as well.
    pub group: Option<Group>,
}

/// A volume group made of disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its disks.
    pub disks: Vec<Disk>,
    /// How large its volumes are to be.
    pub sizes: Sizes,
}

/// A disk that is given to LVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its name when it was given.
    pub name: PathBuf,
    /// What it is known by, if anything; LVM knows it by the uuid.
    pub identity: Option<Identity>,
    /// The uuid of its physical volume, chosen by us before it is made.
    pub pv: String,
}

/// How large the volumes of a group are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// The data volume.
    pub data: VolumeSize,
    /// The metadata volume, and a spare as large.
    pub metadata: MetadataVolumeSize,
}

/// How large a volume is to be: so many bytes, or a share of its volume group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSize {
    /// So many.
    Bytes(Bytes),
    /// This share of the whole group.
    Share(Percent),
}

/// How large the metadata volume is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataVolumeSize {
    /// As the size of the data wants it: see [`metadata_size`].
    Auto,
    /// As somebody said.
    Given(VolumeSize),
}

/// Why volumes could not be made or taken away.
#[derive(Debug, Error)]
pub enum VolumesError {
    /// LVM failed or refused.
    #[error(transparent)]
    Lvm(#[from] LvmError),
    /// A name that LVM doesn't take.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The catalog has a uuid that isn't one.
    #[error(transparent)]
    Uuid(#[from] UuidError),
    /// A disk that was given to LVM is gone.
    #[error("{} isn't there any more: LVM knows no physical volume {pv} (`pvs -o+uuid` shows all)", .disk.display())]
    NoDisk {
        /// What it was called.
        disk: PathBuf,
        /// The uuid of its physical volume.
        pv: String,
    },
    /// The volumes don't fit.
    #[error(
        "the volume group {vg} has {has}, and data ({data}) and two metadata volumes ({metadata} each, one a spare for \
         repairs) don't fit into it; ask for less data with --volume-data-size, or give more disks"
    )]
    TooSmall {
        /// The group.
        vg: String,
        /// What it has.
        has: Bytes,
        /// What the data was to have.
        data: Bytes,
        /// What each of the metadata volumes was to have.
        metadata: Bytes,
    },
}

/// The names of the volumes in a group that is made for a pool.
const DATA: &str = "data";
const METADATA: &str = "metadata";
const SPARE: &str = "metadata-spare";

/// The unit in which LVM gives out room, unless told otherwise.
const EXTENT: Bytes = Bytes::mib(4);

/// The kernel uses no more of a metadata device (`THIN_METADATA_MAX_SECTORS`).
pub const MOST_METADATA: Bytes = Bytes(255 * 16_320 * 4096);

/// How much metadata a pool of this size should have, by what the kernel keeps there (docs/direct-lvm.md has what was
/// measured):
///
/// - 64 bytes for each data block. A mapping takes 16 bytes in a leaf that is at least half full, and a block that several
///   devices share as much again for its count; the map of free blocks is little beside that. (The kernel's own rule, 48
///   bytes, is for a pool without many snapshots.)
/// - 64 KiB for each of 10,000 devices: with the first write to a place, a snapshot gets a leaf of its own for it, and with
///   the first of all its path down the trees. A pool of less than 1 TiB has room for fewer devices that have anything of
///   their own: one for each 100 MiB.
/// - 4 MiB on top, and what the kernel keeps back for emergencies: a tenth of all, at most 16 MiB
///   (`metadata_reserve` in dm-thin-metadata.c). No more than the kernel can use. Metadata can be grown later.
#[must_use]
pub fn metadata_size(data: Bytes, block: BlockSize) -> Bytes {
    const DEVICES: u64 = 10_000;
    let blocks = data.0 / block.bytes().0;
    let devices = (data.0 / Bytes::mib(100).0).min(DEVICES);
    let needed = blocks.saturating_mul(64).saturating_add(devices * Bytes::kib(64).0);
    let needed = needed.saturating_add(Bytes::mib(4).0);
    let kept_back = (needed / 9).min(Bytes::mib(16).0);
    Bytes(needed.saturating_add(kept_back)).min(MOST_METADATA)
}

impl Disk {
    /// A disk that is to be given to LVM.
    #[must_use]
    pub fn new(device: &BlockDevice) -> Self {
        let pv = uuid::Uuid::new_v4().simple().to_string();
        Self { name: device.name.clone(), identity: device.identity.clone(), pv }
    }

    /// Whether a physical volume is this disk.
    #[must_use]
    pub fn is(&self, pv: &PvUuid) -> bool {
        self.pv.parse::<PvUuid>().is_ok_and(|own| own == *pv)
    }
}

impl Volumes {
    /// A whole group, made for the pool.
    #[must_use]
    pub fn of_group(name: &str, group: Group) -> Self {
        Self { vg: name.to_owned(), metadata: METADATA.to_owned(), spare: None, group: Some(group) }
    }

    /// One volume for the metadata, in somebody else's group.
    #[must_use]
    pub fn beside(metadata: &LvId) -> Self {
        Self { vg: metadata.vg.to_string(), metadata: metadata.lv.to_string(), spare: None, group: None }
    }

    /// The volume for the data, where the group is the pool's own.
    pub fn data(&self) -> Result<LvId, VolumesError> {
        self.volume(DATA)
    }

    /// The volume for the metadata.
    pub fn metadata(&self) -> Result<LvId, VolumesError> {
        self.volume(&self.metadata)
    }

    fn volume(&self, name: &str) -> Result<LvId, VolumesError> {
        Ok(LvId::new(self.vg.parse()?, name.parse()?)?)
    }

    /// Makes the group of its disks, and in it the volumes for data and metadata, and the spare.
    pub fn make_group(
        &self,
        lvm: &Lvm,
        pool: &uuid::Uuid,
        group: &Group,
        block: BlockSize,
    ) -> Result<(), VolumesError> {
        let (tag, vg): (Tag, VgName) = (tag_of(pool)?, self.vg.parse()?);
        for disk in &group.disks {
            let uuid = Some(disk.pv.parse::<PvUuid>()?);
            lvm.pv_create(&disk.name, &NewPv { uuid, ..NewPv::default() })?;
        }
        let disks: Vec<&Path> = group.disks.iter().map(|disk| disk.name.as_path()).collect();
        let made = lvm.vg_create(&vg, &disks, &NewVg { tags: vec![tag.clone()], extent_size: None })?;
        let room = Bytes(made.size().0);
        let (data, metadata) = self.fits(group, room, Bytes(made.extent_size.0), block)?;
        for (name, size) in [(DATA, data), (METADATA, metadata), (SPARE, metadata)] {
            make(lvm, &self.volume(name)?, size, &tag)?;
        }
        Ok(())
    }

    /// Makes the volume for the metadata of a pool that has this much data.
    pub fn make_metadata(
        &self,
        lvm: &Lvm,
        pool: &uuid::Uuid,
        data: Bytes,
        block: BlockSize,
    ) -> Result<(), VolumesError> {
        make(lvm, &self.metadata()?, metadata_size(data, block), &tag_of(pool)?)
    }

    /// Refuses to make the group where that can be known before a disk is touched: another of its name is there, or what it is
    /// to hold doesn't fit on the disks.
    pub fn refuse_group(
        &self,
        lvm: &Lvm,
        group: &Group,
        disks: Bytes,
        block: BlockSize,
    ) -> Result<(), VolumesError> {
        let vg: VgName = self.vg.parse()?;
        if lvm.find_vg(&vg)?.is_some() {
            return Err(LvmError::from(Refusal::VgExists { vg }).into());
        }
        self.fits(group, disks, EXTENT, block).map(drop)
    }

    /// The sizes of data and metadata, if they fit.
    fn fits(
        &self,
        group: &Group,
        room: Bytes,
        extent: Bytes,
        block: BlockSize,
    ) -> Result<(Bytes, Bytes), VolumesError> {
        let (data, metadata) = group.sizes.of(room, extent, block);
        if data.0.saturating_add(metadata.0.saturating_mul(2)) > room.0 || data < block.bytes() {
            return Err(VolumesError::TooSmall { vg: self.vg.clone(), has: room, data, metadata });
        }
        Ok((data, metadata))
    }

    /// Refuses when what was made can't be taken away whole: somebody has made volumes of his own in the group, or disks
    /// of it are missing.
    pub fn refuse_removal(&self, lvm: &Lvm, pool: &uuid::Uuid) -> Result<(), VolumesError> {
        let tag = tag_of(pool)?;
        let Some(made) = self.own_group(lvm)? else { return Ok(()) };
        if made.missing_pv_count > 0 {
            return Err(LvmError::from(Refusal::MissingDisks {
                vg: made.name,
                missing: made.missing_pv_count,
            })
            .into());
        }
        let strange = lvm.lvs_of(&made.name)?.into_iter().filter(|volume| !volume.tags.contains(&tag));
        let lvs: Vec<LvId> = strange.map(|volume| volume.id).collect();
        if lvs.is_empty() {
            return Ok(());
        }
        Err(LvmError::from(Refusal::NotEmpty { vg: made.name, lvs }).into())
    }

    /// The group that was made for the pool, by one of its disks: it may have been renamed, and another may have its name.
    fn own_group(&self, lvm: &Lvm) -> Result<Option<Vg>, VolumesError> {
        let Some(group) = &self.group else { return Ok(None) };
        let uuids = group.disks.iter().map(|disk| disk.pv.parse()).collect::<Result<Vec<PvUuid>, _>>()?;
        let vg = lvm.pvs()?.into_iter().find(|pv| uuids.contains(&pv.uuid)).and_then(|pv| pv.vg);
        Ok(vg.map(|vg| lvm.find_vg(&vg)).transpose()?.flatten())
    }

    /// Takes away what was made for the pool, however far that came: volumes only of its group, or the one for the metadata, and
    /// only with its tag; the group, and the disks' physical volumes by their uuids.
    pub fn remove(&self, lvm: &Lvm, pool: &uuid::Uuid) -> Result<(), VolumesError> {
        let tag = tag_of(pool)?;
        let Some(group) = &self.group else { return self.remove_metadata(lvm, &tag) };
        if let Some(made) = self.own_group(lvm)? {
            for volume in lvm.lvs_of(&made.name)? {
                lvm.lv_remove(&volume.id, &tag)?;
            }
            lvm.vg_remove(&made.name, &tag)?;
        }
        for disk in &group.disks {
            let uuid: PvUuid = disk.pv.parse()?;
            let made = lvm.pvs()?.into_iter().find(|pv| pv.uuid == uuid && pv.vg.is_none());
            if let Some(device) = made.and_then(|pv| pv.device) {
                lvm.pv_remove(&device)?;
            }
        }
        Ok(())
    }
}

impl Sizes {
    /// The sizes of data and metadata in a group of this size, in whole extents.
    fn of(&self, room: Bytes, extent: Bytes, block: BlockSize) -> (Bytes, Bytes) {
        let down = |bytes: Bytes| Bytes(bytes.0 - bytes.0 % extent.0.max(1));
        let up = |bytes: Bytes| Bytes(bytes.0.checked_next_multiple_of(extent.0.max(1)).unwrap_or(u64::MAX));
        let size = |size: VolumeSize| match size {
            VolumeSize::Bytes(bytes) => up(bytes),
            VolumeSize::Share(share) => down(share.of_bytes(room)),
        };
        let data = size(self.data);
        let metadata = match self.metadata {
            MetadataVolumeSize::Auto => up(metadata_size(data, block)),
            MetadataVolumeSize::Given(given) => size(given).max(up(Bytes::mib(2))).min(up(MOST_METADATA)),
        };
        // A share of the data gives way to metadata that was left to us; a size that somebody gave does not.
        match self.data {
            VolumeSize::Share(_) => (data.min(down(Bytes(room.0.saturating_sub(2 * metadata.0)))), metadata),
            VolumeSize::Bytes(_) => (data, metadata),
        }
    }
}

fn make(lvm: &Lvm, id: &LvId, size: Bytes, tag: &Tag) -> Result<(), VolumesError> {
    let size = Size::Bytes(lvm::Bytes(size.0));
    lvm.lv_create(id, &NewLv { tags: vec![tag.clone()], ..NewLv::of(size) })?;
    Ok(())
}

/// The mark of whatever LVM makes for a pool.
fn tag_of(pool: &uuid::Uuid) -> Result<Tag, NameError> {
    format!("thinpool.pool={}", pool.simple()).parse()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(percent: u8) -> VolumeSize {
        VolumeSize::Share(percent.try_into().expect("a share"))
    }

    #[test]
    fn metadata_is_never_less_than_the_kernels_own_rule_nor_more_than_it_can_use() {
        for (gib, block) in
            [(1, 64), (8, 64), (100, 64), (1024, 64), (10_240, 64), (1024, 512), (1 << 20, 64)]
        {
            let (data, block) = (Bytes::gib(gib), Bytes::kib(block).try_into().expect("a block size"));
            let size = metadata_size(data, block);
            let kernels = Bytes(48 * (data.0 / block.bytes().0)).clamp(Bytes::mib(2), MOST_METADATA);
            assert!((kernels..=MOST_METADATA).contains(&size), "{gib} GiB: {size}");
        }
        let needed = 4 * 1024 * 1024 + 131_072 * 64 + 81 * 65_536;
        assert_eq!(metadata_size(Bytes::gib(8), BlockSize::DEFAULT), Bytes(needed + needed / 9));
        let needed = 4 * 1024 * 1024 + 16_777_216 * 64 + 10_000 * 65_536;
        assert_eq!(metadata_size(Bytes::gib(1024), BlockSize::DEFAULT), Bytes(needed + 16 * 1024 * 1024));
    }

    #[test]
    fn docker_s_shares_leave_room_to_grow() {
        let sizes = Sizes { data: share(95), metadata: MetadataVolumeSize::Given(share(1)) };
        let room = Bytes::gib(100);
        let (data, metadata) = sizes.of(room, EXTENT, BlockSize::DEFAULT);
        assert_eq!((data, metadata), (Bytes::gib(95), Bytes::gib(1)));
    }

    #[test]
    fn a_share_of_all_of_it_still_leaves_room_for_metadata() {
        let sizes = Sizes { data: share(100), metadata: MetadataVolumeSize::Auto };
        let room = Bytes::gib(8);
        let (data, metadata) = sizes.of(room, EXTENT, BlockSize::DEFAULT);
        assert_eq!(data.0 + 2 * metadata.0, room.0);
    }

    proptest! {
        #[test]
        fn shares_always_fit(extents in 16..1_u64 << 40, percent in 1..=100_u8) {
            let room = Bytes(extents.saturating_mul(EXTENT.0).min(1 << 62));
            let sizes = Sizes { data: share(percent), metadata: MetadataVolumeSize::Auto };
            let (data, metadata) = sizes.of(room, EXTENT, BlockSize::DEFAULT);
            prop_assert!(data.0 + 2 * metadata.0 <= room.0, "{data:?} {metadata:?} {room:?}");
        }
    }
}

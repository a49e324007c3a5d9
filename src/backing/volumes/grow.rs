//! Volumes that grow, and disks that are added to the group they are in.

use lvm::{Lv, LvId, Lvm, LvmError, NewPv, Pv, PvUuid, Refusal, Size, Tag, Vg, VgName};

use super::{Disk, Group, Volumes, VolumesError, tag_of};
use crate::backing::Part;
use crate::backing::block::Identity;
use crate::units::{BlockSize, Bytes};

/// A volume under a pool that can be made larger.
#[derive(Debug, Clone)]
pub struct Growable {
    lv: Lv,
    /// The mark that it must still have when it is grown; none on a volume that somebody gave to the pool.
    tag: Option<Tag>,
    /// The volume that is kept as large, for repairs.
    spare: Option<LvId>,
}

impl Growable {
    /// The volume of LVM's that is known by this, if it is one.
    ///
    /// With `made` it must be one that was made for the pool: one without the pool's tag is refused.
    pub fn find(
        lvm: &Lvm,
        identity: &Identity,
        made: Option<(&Volumes, &uuid::Uuid, Part)>,
    ) -> Result<Option<Self>, VolumesError> {
        let Identity::DmUuid(uuid) = identity else { return Ok(None) };
        let Some(lv) = lvm.lv_of_dm_uuid(uuid)? else { return Ok(None) };
        let Some((volumes, pool, part)) = made else { return Ok(Some(Self { lv, tag: None, spare: None })) };
        let tag = tag_of(pool)?;
        refuse_strange(&lv, &tag)?;
        let spare = match (part, &volumes.group) {
            (Part::Metadata, Some(_)) => {
                let spare = LvId::new(lv.id.vg.clone(), volumes.spare_name().parse()?)?;
                lvm.find_lv(&spare)?.filter(|spare| spare.tags.contains(&tag)).map(|spare| spare.id)
            }
            _ => None,
        };
        Ok(Some(Self { lv, tag: Some(tag), spare }))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &LvId {
        &self.lv.id
    }

    /// Whether it was made for the pool.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.tag.is_some()
    }

    /// What its group would have to give for it to be so large.
    pub fn needs(&self, lvm: &Lvm, to: Bytes) -> Result<Bytes, VolumesError> {
        let extent = lvm.vg(&self.lv.id.vg)?.extent_size.0.max(1);
        let whole = to.0.checked_next_multiple_of(extent).unwrap_or(u64::MAX);
        let more = whole.saturating_sub(self.lv.size.0);
        Ok(Bytes(if self.spare.is_some() { more.saturating_mul(2) } else { more }))
    }

    /// How much larger it gets by so much of its group.
    #[must_use]
    pub fn gets(&self, room: Bytes) -> Bytes {
        Bytes(if self.spare.is_some() { room.0 / 2 } else { room.0 })
    }

    /// What is free in its group.
    pub fn room(&self, lvm: &Lvm) -> Result<Bytes, VolumesError> {
        Ok(Bytes(lvm.vg(&self.lv.id.vg)?.free().0))
    }

    /// Makes it at least so large, its spare as well, and tells how large it is. One that is as large stays as it is.
    pub fn grow(&self, lvm: &Lvm, to: Bytes) -> Result<Bytes, VolumesError> {
        let size = Size::Bytes(lvm::Bytes(to.0));
        // The name is looked up once more, as lvextend takes nothing else, and may be another volume's by now.
        let now = lvm.lv(&self.lv.id)?;
        if let Some(tag) = &self.tag {
            refuse_strange(&now, tag)?;
        }
        if now.uuid != self.lv.uuid {
            return Err(LvmError::from(Refusal::NoLv { lv: self.lv.id.clone() }).into());
        }
        if let Some(spare) = &self.spare {
            lvm.lv_extend(spare, size)?;
        }
        Ok(Bytes(lvm.lv_extend(&self.lv.id, size)?.size.0))
    }
}

impl Volumes {
    /// Gives disks to the group that was made for the pool, as far as they don't belong to it already.
    pub fn add_disks(&self, lvm: &Lvm, disks: &[Disk]) -> Result<(), VolumesError> {
        Self::add_disks_to(lvm, &self.group_of_the_pool(lvm)?.name, disks)
    }

    fn add_disks_to(lvm: &Lvm, vg: &VgName, disks: &[Disk]) -> Result<(), VolumesError> {
        for disk in disks {
            Self::make_disk(lvm, disk)?;
            Self::add_made_disk(lvm, vg, disk)?;
        }
        Ok(())
    }

    /// Gives a disk to LVM, in no group yet, under the uuid that was chosen for it.
    pub fn make_disk(lvm: &Lvm, disk: &Disk) -> Result<(), VolumesError> {
        if Self::find_disk(lvm, disk)?.is_none() {
            let uuid = Some(disk.pv.parse()?);
            lvm.pv_create(&disk.name, &NewPv { uuid, ..NewPv::default() })?;
        }
        Ok(())
    }

    /// A disk that was given to LVM, by whatever name it has now; none if it wasn't, or is gone.
    pub fn find_disk(lvm: &Lvm, disk: &Disk) -> Result<Option<Pv>, VolumesError> {
        let uuid: PvUuid = disk.pv.parse()?;
        Ok(lvm.pvs()?.into_iter().find(|pv| pv.uuid == uuid))
    }

    /// Adds a disk to a group that was given to LVM before.
    pub fn add_made_disk(lvm: &Lvm, vg: &VgName, disk: &Disk) -> Result<(), VolumesError> {
        let made = Self::find_disk(lvm, disk)?.and_then(|pv| Some((pv.device?, pv.vg)));
        let Some((device, group)) = made else {
            return Err(VolumesError::NoDisk { disk: disk.name.clone(), pv: disk.pv.clone() });
        };
        if group.as_ref() != Some(vg) {
            lvm.vg_extend(vg, &[&device])?;
        }
        Ok(())
    }

    /// Takes back disks that were to be added and are in no group: only by the uuids that were chosen for them.
    pub fn take_back_disks(lvm: &Lvm, disks: &[Disk]) -> Result<(), VolumesError> {
        for disk in disks {
            let made = Self::find_disk(lvm, disk)?.filter(|pv| pv.vg.is_none());
            if let Some(device) = made.and_then(|pv| pv.device) {
                lvm.pv_remove(&device)?;
            }
        }
        Ok(())
    }

    /// The sizes that the volumes would have if the group were made for the pool now, out of all the disks that it has.
    pub fn sizes_by_rule(
        &self,
        lvm: &Lvm,
        group: &Group,
        block: BlockSize,
    ) -> Result<(Bytes, Bytes), VolumesError> {
        let vg = self.group_of_the_pool(lvm)?;
        Ok(group.sizes.of(Bytes(vg.size().0), Bytes(vg.extent_size.0), block))
    }

    fn group_of_the_pool(&self, lvm: &Lvm) -> Result<Vg, VolumesError> {
        match self.own_group(lvm)? {
            Some(vg) => Ok(vg),
            None => Err(LvmError::from(Refusal::NoVg { vg: self.vg.parse()? }).into()),
        }
    }
}

/// Refuses a volume that was made for somebody else.
pub(super) fn refuse_strange(lv: &Lv, tag: &Tag) -> Result<(), VolumesError> {
    if lv.tags.contains(tag) {
        return Ok(());
    }
    Err(LvmError::from(Refusal::NotOurs { what: format!("the volume {}", lv.id), tag: tag.clone() }).into())
}

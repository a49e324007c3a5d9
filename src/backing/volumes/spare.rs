//! The spare volume: where new metadata is made when the old is damaged. Then the two exchange their places.

use std::path::PathBuf;

use lvm::{LvId, Lvm, LvmError, Refusal, Size, Tag};

use super::grow::refuse_strange;
use super::{SPARE, Volumes, VolumesError, make, tag_of};
use crate::units::Bytes;

impl Volumes {
    /// The name of the spare. One that the pool had from the beginning is in its own group.
    pub(super) fn spare_name(&self) -> String {
        let usual = || match self.group {
            Some(_) => SPARE.to_owned(),
            None => format!("{}-spare", self.metadata),
        };
        self.spare.clone().unwrap_or_else(usual)
    }

    /// The spare, if there is one for sure: a pool in somebody else's group gets one when it is needed first.
    #[must_use]
    pub fn known_spare(&self) -> Option<String> {
        let is_made = self.group.is_some() || self.spare.is_some();
        is_made.then(|| format!("{}/{}", self.vg, self.spare_name()))
    }

    /// The spare as a device, at least so large; where there is none, it is made.
    pub fn ready_spare(&self, lvm: &Lvm, pool: &uuid::Uuid, size: Bytes) -> Result<PathBuf, VolumesError> {
        let (id, tag) = (self.spare_id(lvm)?, tag_of(pool)?);
        match lvm.find_lv(&id)? {
            Some(spare) => refuse_strange(&spare, &tag)?,
            None => make(lvm, &id, size, &tag)?,
        }
        let spare = lvm.lv_extend(&id, Size::Bytes(lvm::Bytes(size.0)))?;
        let spare = if spare.active { spare } else { lvm.lv_activate(&id)? };
        spare.path.ok_or_else(|| LvmError::from(Refusal::NoLv { lv: id }).into())
    }

    /// The same volumes, with the spare as the metadata, and the metadata as the spare.
    #[must_use]
    pub fn exchanged(&self) -> Self {
        Self { metadata: self.spare_name(), spare: Some(self.metadata.clone()), ..self.clone() }
    }

    /// Removes the volume for the metadata in somebody else's group, and its spare, if one was ever made.
    pub(super) fn remove_metadata(&self, lvm: &Lvm, tag: &Tag) -> Result<(), VolumesError> {
        lvm.lv_remove(&self.metadata()?, tag)?;
        let spare = self.spare_id(lvm)?;
        match lvm.find_lv(&spare)? {
            Some(found) if found.tags.contains(tag) => Ok(lvm.lv_remove(&spare, tag)?),
            _ => Ok(()),
        }
    }

    fn spare_id(&self, lvm: &Lvm) -> Result<LvId, VolumesError> {
        let vg = match self.own_group(lvm)? {
            Some(group) => group.name,
            None => self.vg.parse()?,
        };
        Ok(LvId::new(vg, self.spare_name().parse()?)?)
    }
}

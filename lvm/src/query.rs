//! What there is.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::error::{LvmError, Refusal};
use crate::names::{LvId, Tag, VgName};
use crate::report::{Lv, Pv, Vg};
use crate::tool::Lvm;

// Names and tags have no quotes or backslashes in them, so they can stand in a selection as they are.

impl Lvm {
    /// All physical volumes.
    pub fn pvs(&self) -> Result<Vec<Pv>, LvmError> {
        self.report(None)
    }

    /// The physical volumes of a group.
    pub fn pvs_of(&self, vg: &VgName) -> Result<Vec<Pv>, LvmError> {
        self.report(Some(&format!("vg_name=\"{vg}\"")))
    }

    /// All volume groups.
    pub fn vgs(&self) -> Result<Vec<Vg>, LvmError> {
        self.report(None)
    }

    /// The volume groups with a tag.
    pub fn vgs_tagged(&self, tag: &Tag) -> Result<Vec<Vg>, LvmError> {
        self.report(Some(&format!("vg_tags={{\"{tag}\"}}")))
    }

    /// All volumes that are for use, without those that LVM keeps inside of others.
    pub fn lvs(&self) -> Result<Vec<Lv>, LvmError> {
        self.report(None)
    }

    /// The volumes of a group.
    pub fn lvs_of(&self, vg: &VgName) -> Result<Vec<Lv>, LvmError> {
        self.report(Some(&format!("vg_name=\"{vg}\"")))
    }

    /// The volumes with a tag.
    pub fn lvs_tagged(&self, tag: &Tag) -> Result<Vec<Lv>, LvmError> {
        self.report(Some(&format!("lv_tags={{\"{tag}\"}}")))
    }

    /// The group of this name, if there is one.
    pub fn find_vg(&self, vg: &VgName) -> Result<Option<Vg>, LvmError> {
        let mut found: Vec<Vg> = self.report(Some(&format!("vg_name=\"{vg}\"")))?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            count => Err(Refusal::AmbiguousVg { vg: vg.clone(), count }.into()),
        }
    }

    /// The group of this name.
    pub fn vg(&self, vg: &VgName) -> Result<Vg, LvmError> {
        self.find_vg(vg)?.ok_or_else(|| Refusal::NoVg { vg: vg.clone() }.into())
    }

    /// The volume of this name, if there is one.
    pub fn find_lv(&self, id: &LvId) -> Result<Option<Lv>, LvmError> {
        let selection = format!("vg_name=\"{}\" && lv_name=\"{}\"", id.vg, id.lv);
        let mut found: Vec<Lv> = self.report(Some(&selection))?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            count => Err(Refusal::AmbiguousVg { vg: id.vg.clone(), count }.into()),
        }
    }

    /// The volume of this name.
    pub fn lv(&self, id: &LvId) -> Result<Lv, LvmError> {
        self.find_lv(id)?.ok_or_else(|| Refusal::NoLv { lv: id.clone() }.into())
    }

    /// The physical volume that a device is, by whatever name.
    pub fn pv_of_device(&self, device: &Path) -> Result<Option<Pv>, LvmError> {
        let number = device_number(device)?;
        let same = |pv: &Pv| {
            // One of the others may vanish while this is looked at.
            pv.device.as_deref().and_then(|other| device_number(other).ok()) == Some(number)
        };
        Ok(self.pvs()?.into_iter().find(same))
    }
}

/// The kernel's number of a block device.
pub(crate) fn device_number(device: &Path) -> Result<u64, LvmError> {
    let wrong = |source| LvmError::Device { device: device.to_owned(), source };
    let metadata = std::fs::metadata(device).map_err(wrong)?;
    if metadata.file_type().is_block_device() {
        Ok(metadata.rdev())
    } else {
        Err(wrong(std::io::Error::other("it is not a block device")))
    }
}

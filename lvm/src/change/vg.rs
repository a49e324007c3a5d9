//! Volume groups made, grown, marked and removed.

use std::path::Path;

use super::with_option;
use crate::amounts::Bytes;
use crate::error::{LvmError, Refusal};
use crate::names::{Tag, VgName};
use crate::report::{Pv, Vg};
use crate::tool::Lvm;

/// A volume group to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewVg {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// The unit in which it gives out room, a power of two; LVM's own choice (4 MiB) if this isn't said.
    pub extent_size: Option<Bytes>,
}

impl Lvm {
    /// Makes a volume group of disks that were given to LVM and are in no group.
    pub fn vg_create(&self, name: &VgName, devices: &[&Path], new: &NewVg) -> Result<Vg, LvmError> {
        self.require_free(devices)?;
        let extent_size = new.extent_size.map(Bytes::as_argument);
        let extent_size = extent_size.iter().flat_map(|bytes| ["--physicalextentsize", bytes.as_str()]);
        let options = extent_size.chain(with_option("--addtag", &new.tags)).chain([name.as_str()]);
        self.change("vgcreate", options.map(Path::new).chain(devices.iter().copied())).map_err(|error| {
            error.explained(|| match self.find_vg(name)? {
                Some(_) => Ok(Some(Refusal::VgExists { vg: name.clone() })),
                None => self.trouble_of_devices(devices),
            })
        })?;
        self.vg(name)
    }

    /// Adds disks that were given to LVM and are in no group.
    pub fn vg_extend(&self, name: &VgName, devices: &[&Path]) -> Result<Vg, LvmError> {
        self.require_free(devices)?;
        self.change("vgextend", [Path::new(name.as_str())].into_iter().chain(devices.iter().copied()))
            .map_err(|error| {
                error.explained(|| match self.trouble_of_vg(name)? {
                    Some(refusal) => Ok(Some(refusal)),
                    None => self.trouble_of_devices(devices),
                })
            })?;
        self.vg(name)
    }

    /// Adds tags to a group, and takes some away. Tags that it has already, or hasn't, make no difference.
    pub fn vg_tag(&self, name: &VgName, add: &[Tag], remove: &[Tag]) -> Result<Vg, LvmError> {
        let tags = with_option("--addtag", add).chain(with_option("--deltag", remove));
        if !(add.is_empty() && remove.is_empty()) {
            self.change("vgchange", tags.chain([name.as_str()]))
                .map_err(|error| error.explained(|| self.trouble_of_vg(name)))?;
        }
        self.vg(name)
    }

    /// Removes a group that has this tag and no volumes. One that isn't there is no error.
    pub fn vg_remove(&self, name: &VgName, tag: &Tag) -> Result<(), LvmError> {
        let Some(vg) = self.find_vg(name)? else { return Ok(()) };
        if !vg.tags.contains(tag) {
            return Err(
                Refusal::NotOurs { what: format!("the volume group {name}"), tag: tag.clone() }.into()
            );
        }
        if let Some(refusal) = self.volumes_of(name)? {
            return Err(refusal.into());
        }
        // Without --yes: a volume that somebody makes right now stops it. By uuid: the name may be another's by now.
        let selection = format!("vg_uuid=\"{}\" && vg_tags={{\"{tag}\"}}", vg.uuid);
        self.change("vgremove", ["--select", &selection, name.as_str()]).map_err(|error| {
            error.explained(|| match self.volumes_of(name)? {
                Some(refusal) => Ok(Some(refusal)),
                None => self.trouble_of_vg(name),
            })
        })?;
        match self.find_vg(name)? {
            Some(left) if left.uuid == vg.uuid => {
                Err(Refusal::StillThere { what: format!("the volume group {name}") }.into())
            }
            _ => Ok(()),
        }
    }

    fn volumes_of(&self, vg: &VgName) -> Result<Option<Refusal>, LvmError> {
        let lvs: Vec<_> = self.lvs_of(vg)?.into_iter().map(|lv| lv.id).collect();
        Ok((!lvs.is_empty()).then(|| Refusal::NotEmpty { vg: vg.clone(), lvs }))
    }

    /// Refuses disks that aren't free physical volumes. LVM would make them ones by the way, and even before it finds
    /// out that there is no group to add them to.
    fn require_free(&self, devices: &[&Path]) -> Result<(), LvmError> {
        for device in devices {
            let device = *device;
            match self.pv_of_device(device)? {
                None => return Err(Refusal::NotPv { device: device.to_owned() }.into()),
                Some(Pv { vg: Some(vg), .. }) => {
                    return Err(Refusal::IsPv { device: device.to_owned(), vg: Some(vg) }.into());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn trouble_of_devices(&self, devices: &[&Path]) -> Result<Option<Refusal>, LvmError> {
        match self.require_free(devices) {
            Err(LvmError::Refused { refusal, .. }) => Ok(Some(refusal)),
            result => result.map(|()| None),
        }
    }
}

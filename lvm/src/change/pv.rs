//! Disks given to LVM and taken back.

use std::path::Path;

use crate::amounts::Bytes;
use crate::error::{LvmError, Refusal};
use crate::report::Pv;
use crate::signatures::is_busy;
use crate::tool::Lvm;
use crate::uuid::PvUuid;

/// A physical volume to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewPv {
    /// Its identity, for a caller who has to know it again before it is made; LVM's own choice if this isn't said.
    pub uuid: Option<PvUuid>,
    /// What the start of the data is aligned to; LVM asks the disk if this isn't said.
    pub alignment: Option<Bytes>,
}

impl Lvm {
    /// Gives a disk to LVM. One with anything on it is left alone: LVM itself refuses what has a signature.
    pub fn pv_create(&self, device: &Path, new: &NewPv) -> Result<Pv, LvmError> {
        // pvcreate would make one anew that is in no group, under another uuid, without a word.
        if let Some(pv) = self.pv_of_device(device)? {
            return Err(Refusal::IsPv { device: device.to_owned(), vg: pv.vg }.into());
        }
        if let Some(busy) = busy(device)? {
            return Err(busy.into());
        }
        let chosen = new.uuid.as_ref().map(ToString::to_string);
        let alignment = new.alignment.map(Bytes::as_argument);
        let alignment = alignment.iter().flat_map(|bytes| ["--dataalignment", bytes.as_str()]);
        // LVM takes a uuid only along with the metadata it is restored from, unless told that there is none.
        let uuid = chosen.iter().flat_map(|uuid| ["--norestorefile", "--uuid", uuid.as_str()]);
        self.change("pvcreate", uuid.chain(alignment).map(Path::new).chain([device]))
            .map_err(|error| error.explained(|| self.trouble_of_device(device)))?;
        let made = self.pv_of_device(device)?;
        made.ok_or_else(|| missing_after("LVM does not list it, although pvcreate succeeded", device))
    }

    /// Takes a disk back from LVM. It may not be in a group. One that isn't LVM's is left as it is.
    pub fn pv_remove(&self, device: &Path) -> Result<(), LvmError> {
        match self.pv_of_device(device)? {
            None => Ok(()),
            Some(Pv { vg: Some(vg), .. }) => {
                Err(Refusal::IsPv { device: device.to_owned(), vg: Some(vg) }.into())
            }
            Some(_) => self
                .change("pvremove", [device])
                .map_err(|error| error.explained(|| self.trouble_of_device(device))),
        }
    }

    /// What is wrong with a device that LVM doesn't take or give back.
    pub(super) fn trouble_of_device(&self, device: &Path) -> Result<Option<Refusal>, LvmError> {
        if let Some(Pv { vg: Some(vg), .. }) = self.pv_of_device(device)? {
            return Ok(Some(Refusal::IsPv { device: device.to_owned(), vg: Some(vg) }));
        }
        if let Some(busy) = busy(device)? {
            return Ok(Some(busy));
        }
        let mut found = self.signatures(device)?;
        found.retain(|signature| signature.kind != "LVM2_member");
        Ok((!found.is_empty()).then(|| Refusal::Signatures { device: device.to_owned(), found }))
    }
}

fn busy(device: &Path) -> Result<Option<Refusal>, LvmError> {
    let busy = is_busy(device).map_err(|source| LvmError::Device { device: device.to_owned(), source })?;
    Ok(busy.then(|| Refusal::Busy { device: device.to_owned() }))
}

fn missing_after(why: &str, device: &Path) -> LvmError {
    let source = std::io::Error::other(format!("{why}; is it filtered out in lvm.conf?"));
    LvmError::Device { device: device.to_owned(), source }
}

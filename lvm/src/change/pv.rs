//! Disks given to LVM and taken back.

use std::path::Path;

use crate::amounts::Bytes;
use crate::error::{LvmError, Refusal};
use crate::report::Pv;
use crate::signatures::is_busy;
use crate::tool::Lvm;

/// What to do about signatures on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signs {
    /// Leave the disk alone.
    #[default]
    Refuse,
    /// Wipe them. What LVM or anybody else is using is left alone all the same.
    Wipe,
}

/// A physical volume to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewPv {
    /// What to do about signatures.
    pub signatures: Signs,
    /// What the start of the data is aligned to; LVM asks the disk if this isn't said.
    pub alignment: Option<Bytes>,
}

impl Lvm {
    /// Gives a disk to LVM.
    pub fn pv_create(&self, device: &Path, new: &NewPv) -> Result<Pv, LvmError> {
        // pvcreate would make one anew that is in no group, under another uuid, without a word.
        if let Some(pv) = self.pv_of_device(device)? {
            return Err(Refusal::IsPv { device: device.to_owned(), vg: pv.vg }.into());
        }
        if let Some(busy) = busy(device)? {
            return Err(busy.into());
        }
        if new.signatures == Signs::Wipe {
            // Not by pvcreate: it would need --yes, which answers every question; and it refuses a partitioned disk.
            // Like pvcreate, wipefs opens the disk for itself alone, so that it fails if a partition is mounted.
            let wiped = self.wipefs()?.wipe(device).map_err(LvmError::from);
            wiped.map_err(|error| error.explained(|| busy(device)))?;
        }
        let alignment = new.alignment.map(Bytes::as_argument);
        let alignment = alignment.iter().flat_map(|bytes| ["--dataalignment", bytes.as_str()]);
        self.change("pvcreate", alignment.map(Path::new).chain([device]))
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

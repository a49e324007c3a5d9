//! From an identity to a device.

use std::path::Path;
use std::time::Duration;

use super::identity::Identity;
use super::look::describe;
use super::sysfs::{SysBlock, unless_gone};
use super::{BlockDevice, BlockError, udev};
use crate::dm::DeviceNumber;

pub(super) fn find(identity: &Identity) -> Result<Option<BlockDevice>, BlockError> {
    let found = if udev::is_running() { claimants(identity)? } else { without_udev(identity)? };
    let found = topmost(found)?;
    match found.as_slice() {
        [] => Ok(None),
        [device] => unless_gone(describe(device, Some(identity.clone()))),
        several => Err(BlockError::Ambiguous {
            identity: identity.clone(),
            devices: several.iter().map(SysBlock::node).collect(),
        }),
    }
}

pub(super) fn wait_for(identity: &Identity, patience: Duration) -> Result<Option<BlockDevice>, BlockError> {
    if udev::is_running() {
        udev::wait_for(&identity.link(), patience, || find(identity))
    } else {
        find(identity)
    }
}

fn claimants(identity: &Identity) -> Result<Vec<SysBlock>, BlockError> {
    let link = identity.link();
    let Identity::DmUuid(_) = identity else { return udev::claimants(&link) };
    // The kernel has only one device of each uuid, so there is nobody else to be asked.
    let Some(device) = device_at(&link)? else { return Ok(Vec::new()) };
    let claims = udev::links_of(&device)?.unwrap_or_default().contains(&link);
    Ok(claims.then_some(device).into_iter().collect())
}

fn without_udev(identity: &Identity) -> Result<Vec<SysBlock>, BlockError> {
    match identity {
        Identity::DmUuid(uuid) => {
            let mut devices = SysBlock::all()?;
            devices.retain(|device| device.dm_uuid().as_ref() == Some(uuid));
            Ok(devices)
        }
        // A link that udev, or whatever stands in for it, once made.
        _ => Ok(device_at(&identity.link())?.into_iter().collect()),
    }
}

/// The device that a link leads to; none if the link isn't there, or leads nowhere.
fn device_at(link: &Path) -> Result<Option<SysBlock>, BlockError> {
    match DeviceNumber::of(link) {
        Ok(number) => unless_gone(SysBlock::of(number)),
        Err(_) => Ok(None),
    }
}

/// Of devices that claim the same link, those that no other of them lies on. A multipath device and its paths, an array
/// and its disks, are one disk, and the one to be used is the upper.
pub(super) fn topmost(devices: Vec<SysBlock>) -> Result<Vec<SysBlock>, BlockError> {
    if devices.len() < 2 {
        return Ok(devices);
    }
    let mut top = Vec::new();
    for device in &devices {
        if !above(device)?.iter().any(|upper| devices.contains(upper)) {
            top.push(device.clone());
        }
    }
    Ok(top)
}

/// Everything that is made of a device, or of the disk that it is a partition of, however many layers up.
fn above(device: &SysBlock) -> Result<Vec<SysBlock>, BlockError> {
    let mut found = Vec::new();
    let mut next: Vec<SysBlock> = [device.clone()].into_iter().chain(device.disk()).collect();
    while let Some(lower) = next.pop() {
        for holder in lower.holders()? {
            for upper in holder.partitions()?.into_iter().chain([holder]) {
                if !found.contains(&upper) {
                    found.push(upper.clone());
                    next.push(upper);
                }
            }
        }
    }
    Ok(found)
}

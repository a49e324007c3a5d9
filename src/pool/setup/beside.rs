//! The metadata's device, where only the data's was given.

use std::thread::sleep;
use std::time::Instant;

use lvm::{Lv, LvId, Lvm, LvmError};

use crate::backing::block::{BlockDevice, Identity};
use crate::backing::metadata_size;
use crate::pool::device::{PAUSE, PROBING};
use crate::pool::{Host, PoolError};
use crate::units::{BlockSize, Bytes};

/// Where the metadata is to be.
pub(super) enum Metadata {
    /// On a device that is there.
    There(BlockDevice),
    /// On a volume that is to be made.
    ToMake(LvId),
}

/// Looks beside the data's volume: for a blank volume that by its name is meant for metadata, else for room to make one.
/// Nothing is changed.
pub(super) fn metadata(host: &Host, data: &BlockDevice, block: BlockSize) -> Result<Metadata, PoolError> {
    let needed = metadata_size(data.size, block);
    // Only a volume of LVM's needs LVM to be there.
    let is_volume = matches!(&data.identity, Some(Identity::DmUuid(uuid)) if uuid.starts_with("LVM-"));
    let lvm = is_volume.then(Lvm::find).transpose()?;
    let volume = lvm.as_ref().map(|lvm| lvm.lv_of_device(&data.node)).transpose()?.flatten();
    let (Some(lvm), Some(volume)) = (lvm, volume) else {
        return Err(PoolError::NoMetadataDevice {
            why: format!(
                "{0} is no volume of LVM, so none is looked for beside it. Give one of {needed} with --metadatadev DEVICE; \
                 or, if the whole of {0} is for the pool, --device {0} in place of --datadev makes a volume group of it",
                data.name.display()
            ),
        });
    };
    let mut passed_over = Vec::new();
    for beside in lvm.metadata_beside(&volume.id)? {
        match look(host, &lvm, &beside, needed)? {
            Ok(device) => return Ok(Metadata::There(device)),
            Err(why) => passed_over.push(why),
        }
    }
    let group = lvm.vg(&volume.id.vg)?;
    let free = Bytes(group.free().0);
    if free >= needed {
        return Ok(Metadata::ToMake(free_name(&lvm, &volume.id)?));
    }
    passed_over.push(String::new());
    let passed_over = passed_over.join(". ");
    let id = &volume.id;
    Err(PoolError::NoMetadataDevice {
        why: format!(
            "{passed_over}A blank volume {vg}/metadata, {id}_meta or {id}-metadata would be taken; the volume group {vg} has \
             {free} free, {needed} are needed to make one. Add a disk (`vgextend {vg} DISK`), or make a volume by hand, smaller if \
             it must be (`lvcreate --wipesignatures y -n NAME -L SIZE {vg}`), and give it with --metadatadev",
            vg = id.vg
        ),
    })
}

/// A volume that may be meant for metadata, if it can be taken; else why not.
fn look(
    host: &Host,
    lvm: &Lvm,
    volume: &Lv,
    needed: Bytes,
) -> Result<Result<BlockDevice, String>, PoolError> {
    if !volume.active {
        return Ok(Err(format!("{0} isn't active (`lvchange -ay {0}`)", volume.id)));
    }
    if stays_open(lvm, volume)? {
        return Ok(Err(format!("somebody has {} open", volume.id)));
    }
    let device = host.blocks.look(&volume.id.path())?;
    if device.size < needed {
        return Ok(Err(format!("{} has only {}, and {needed} are needed", volume.id, device.size)));
    }
    if let Some(obstacle) = host.blocks.obstacles(&device)?.first() {
        return Ok(Err(obstacle.to_string()));
    }
    // More of it than of one that somebody named: whatever has no signature mostly has something near its start.
    let blank = lvm.is_blank(&device.node)?;
    Ok(if blank { Ok(device) } else { Err(format!("{} isn't blank", volume.id)) })
}

/// Whether somebody has a volume open, other than udev, which looks into one that was just made.
fn stays_open(lvm: &Lvm, volume: &Lv) -> Result<bool, LvmError> {
    let (mut open, deadline) = (volume.open, Instant::now() + PROBING);
    while open == Some(true) && Instant::now() < deadline {
        sleep(PAUSE);
        open = lvm.lv(&volume.id)?.open;
    }
    Ok(open == Some(true))
}

/// A name for a new metadata volume that no other in the group has.
fn free_name(lvm: &Lvm, data: &LvId) -> Result<LvId, PoolError> {
    let taken = lvm.lvs_of(&data.vg)?;
    let name = |suffix: &str| -> Result<LvId, PoolError> {
        let name = format!("{}{suffix}", data.lv).parse();
        Ok(name
            .and_then(|name| LvId::new(data.vg.clone(), name))
            .map_err(crate::backing::VolumesError::from)?)
    };
    for suffix in ["_meta", "-metadata"] {
        let id = name(suffix)?;
        if !taken.iter().any(|volume| volume.id == id) {
            return Ok(id);
        }
    }
    name(&format!("_meta-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]))
}

//! Who uses a device: mounts, swap, other block devices, and whoever the kernel doesn't name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::look::{split_lv, still_there};
use super::sysfs::{SysBlock, io_error};
use super::{BlockDevice, BlockError, Obstacle};
use crate::dm::DeviceNumber;
use crate::fs::{all_mounts, unescape};

/// Everything that uses the device or a part of it, or the disk that it is a partition of, and whether it is read-only.
pub(super) fn of(device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
    let itself = still_there(device)?;
    let mut found = named_users(device, &itself)?;
    if found.is_empty() && is_claimed(device)? {
        found.push(Obstacle::Busy { device: device.name.clone() });
    }
    if itself.is_read_only()? {
        found.push(Obstacle::ReadOnly { device: device.name.clone() });
    }
    Ok(found)
}

/// Who uses the device or a part of it, and has a name.
pub(super) fn named(device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
    named_users(device, &still_there(device)?)
}

/// The device itself and what shares blocks with it, each with its name for people.
pub(super) fn with_relatives(
    device: &BlockDevice,
    itself: &SysBlock,
) -> Result<Vec<(PathBuf, SysBlock)>, BlockError> {
    let relatives = itself.disk().into_iter().chain(itself.partitions()?);
    let relatives = relatives.map(|relative| (relative.node(), relative));
    Ok([(device.name.clone(), itself.clone())].into_iter().chain(relatives).collect())
}

fn named_users(device: &BlockDevice, itself: &SysBlock) -> Result<Vec<Obstacle>, BlockError> {
    let related = with_relatives(device, itself)?;
    let (mut mounted, mut swap, mut held) = (Vec::new(), Vec::new(), Vec::new());
    let (swaps, loops, mounts) = (swap_devices()?, loop_devices()?, all_mounts()?);
    for (name, part) in related {
        let number = part.number()?;
        let on_it = mounts.iter().filter(|mount| mount.device == number);
        mounted.extend(on_it.map(|mount| Obstacle::Mounted { device: name.clone(), at: mount.at.clone() }));
        if swaps.contains(&number) {
            swap.push(Obstacle::Swap { device: name.clone() });
        }
        let holders = part.holders()?.into_iter().map(|holder| told(&holder));
        let loops =
            loops.iter().filter(|(on, _)| *on == number).map(|(_, name)| format!("the loop device {name}"));
        held.extend(holders.chain(loops).map(|by| Obstacle::Held { device: name.clone(), by }));
    }
    Ok([mounted, swap, held].concat())
}

/// A holder in people's words.
fn told(holder: &SysBlock) -> String {
    let name = holder.kernel_name().to_string_lossy().into_owned();
    match holder.dm_name() {
        Some(dm_name) => told_of_dm(&dm_name, holder.dm_uuid().as_deref().unwrap_or_default()),
        None if name.starts_with("md") => format!("the RAID array {name}"),
        None if name.starts_with("bcache") => format!("the cached device {name}"),
        None => format!("the device {name}"),
    }
}

/// A device-mapper device in people's words: who made it stands before the first hyphen of its uuid.
fn told_of_dm(name: &str, uuid: &str) -> String {
    let maker = uuid.split('-').next().unwrap_or_default();
    match (maker, split_lv(name)) {
        ("LVM", Some((vg, lv))) => format!("the LVM volume {vg}/{lv}"),
        ("CRYPT", _) => format!("the encrypted device {name}"),
        ("mpath", _) => format!("the multipath device {name}"),
        ("THINPOOL", _) => format!("the device {name} of a thinpool pool"),
        (maker, _) if maker.starts_with("part") => format!("the partition {name}"),
        _ => format!("the device-mapper device {name}"),
    }
}

/// The block devices that are used as swap.
fn swap_devices() -> Result<Vec<DeviceNumber>, BlockError> {
    let path = Path::new("/proc/swaps");
    let table = match std::fs::read(path) {
        // A kernel without swap.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        table => table.map_err(io_error("read", path))?,
    };
    // Swap files aren't block devices.
    Ok(swap_paths(&table).iter().filter_map(|path| DeviceNumber::of(path).ok()).collect())
}

/// What /proc/swaps lists: lines `PATH TYPE SIZE USED PRIORITY` below a heading (proc(5)).
fn swap_paths(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n').skip(1);
    let paths = lines.filter_map(|line| line.split(|byte| matches!(byte, b' ' | b'\t')).next());
    paths.filter(|path| !path.is_empty()).map(|path| OsString::from_vec(unescape(path)).into()).collect()
}

/// The loop devices on block devices: on which, and the loop device's name. They are no holders to the kernel, and
/// don't keep others from claiming the device below.
fn loop_devices() -> Result<Vec<(DeviceNumber, String)>, BlockError> {
    let on_device = |device: SysBlock| {
        // Only nodes: to look at a file on a network may take for ever.
        let below = device.loop_backing().filter(|backing| backing.starts_with("/dev"))?;
        Some((DeviceNumber::of(&below).ok()?, device.kernel_name().to_string_lossy().into_owned()))
    };
    Ok(SysBlock::all()?.into_iter().filter_map(on_device).collect())
}

/// Whether somebody has claimed the device, a partition of it or the disk it is on, for himself alone.
fn is_claimed(device: &BlockDevice) -> Result<bool, BlockError> {
    match open(device, OpenOptions::new().read(true), libc::O_EXCL) {
        Err(BlockError::Io { source, .. }) if is_busy(&source) => Ok(true),
        result => result.map(|_| false),
    }
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBUSY as i32)
}

/// Opens the device by the kernel's node, and makes sure that the node still stands for it.
pub(super) fn open(device: &BlockDevice, options: &mut OpenOptions, flags: i32) -> Result<File, BlockError> {
    let opened = options.custom_flags(flags).open(&device.node);
    let file = opened.map_err(io_error("open", &device.node))?;
    let metadata = file.metadata().map_err(io_error("look at", &device.node))?;
    if DeviceNumber::from_dev(metadata.rdev()) != device.number {
        return Err(BlockError::Replaced { device: device.name.clone() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_swap_is_found_under_its_real_name() {
        let table = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/dm-1                               partition\t1048572\t\t0\t\t-2\n\
            /swap\\040file                          file\t\t1048572\t\t0\t\t-3\n";
        assert_eq!(swap_paths(table), [Path::new("/dev/dm-1"), Path::new("/swap file")]);
        assert!(swap_paths(b"").is_empty());
    }

    #[test]
    fn a_holder_is_told_by_the_name_its_users_know() {
        assert_eq!(told_of_dm("direct--lvm-my--data", "LVM-abc"), "the LVM volume direct-lvm/my-data");
        assert_eq!(told_of_dm("luks-data", "CRYPT-LUKS2-1-luks"), "the encrypted device luks-data");
        assert_eq!(told_of_dm("mpatha", "mpath-3600"), "the multipath device mpatha");
        assert_eq!(told_of_dm("mpatha-part1", "part1-mpath-3600"), "the partition mpatha-part1");
        assert_eq!(told_of_dm("ci-pool", "THINPOOL-1-pool"), "the device ci-pool of a thinpool pool");
        assert_eq!(told_of_dm("by-hand", ""), "the device-mapper device by-hand");
    }

    proptest! {
        #[test]
        fn no_table_of_swaps_makes_the_reader_panic(table in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = swap_paths(&table);
        }
    }
}

//! From a path to a device.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lvm::LvId;

use super::error::{Found, Hint};
use super::find::{find, topmost};
use super::identity::Identity;
use super::sysfs::{SysBlock, io_error, unless_gone};
use super::{BlockDevice, BlockError, udev};
use crate::dm::DeviceNumber;

/// How long udev may take to finish with a device that somebody just made, a partition for instance, and names to us.
const FRESH: Duration = Duration::from_secs(10);

pub(super) fn look(path: &Path) -> Result<BlockDevice, BlockError> {
    let device = SysBlock::of(number_of(path)?)?;
    let identity = identity_of(&device)?;
    describe(&device, identity)
}

/// A device with everything that is known of it.
pub(super) fn describe(device: &SysBlock, identity: Option<Identity>) -> Result<BlockDevice, BlockError> {
    let number = device.number()?;
    let names = device.dm_name().map(|name| names_of_dm(&name, device.dm_uuid().as_deref()));
    let name = names.unwrap_or_default().into_iter().find(|name| leads_to(name, number));
    Ok(BlockDevice {
        number,
        node: device.node(),
        name: name.unwrap_or_else(|| device.node()),
        size: device.size()?,
        read_only: device.is_read_only()?,
        identity,
    })
}

/// The device that somebody looked at, unless it is gone and its number is nobody's or another's.
pub(super) fn still_there(known: &BlockDevice) -> Result<SysBlock, BlockError> {
    let replaced = || BlockError::Replaced { device: known.name.clone() };
    let device = unless_gone(SysBlock::of(known.number))?.ok_or_else(replaced)?;
    let has_identity = match &known.identity {
        Some(identity) => find(identity)?.is_some_and(|found| found.number == known.number),
        None => true,
    };
    if has_identity && device.size()? == known.size { Ok(device) } else { Err(replaced()) }
}

fn number_of(path: &Path) -> Result<DeviceNumber, BlockError> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BlockError::NotThere { path: path.to_owned(), hint: hint(path) });
        }
        metadata => metadata.map_err(io_error("look at", path))?,
    };
    let kind = metadata.file_type();
    if kind.is_block_device() {
        return Ok(DeviceNumber::from_dev(metadata.rdev()));
    }
    let found = match (kind.is_file(), kind.is_dir()) {
        (true, _) => Found::File,
        (_, true) => Found::Directory,
        _ => Found::Other,
    };
    Err(BlockError::NotABlockDevice { path: path.to_owned(), found })
}

/// The best identity that udev's links give the device: one that leads here, and that no other device claims. Without a
/// udevd, only device-mapper's own uuid is known, from the kernel.
fn identity_of(device: &SysBlock) -> Result<Option<Identity>, BlockError> {
    if !udev::is_running() {
        return Ok(device.dm_uuid().map(Identity::DmUuid));
    }
    let Some(links) = udev::links_when_finished(device, FRESH)? else {
        return Err(BlockError::Unfinished { device: device.node(), waited: FRESH });
    };
    let number = device.number()?;
    for identity in Identity::of_links(&links) {
        let link = identity.link();
        if leads_to(&link, number) && topmost(udev::claimants(&link)?)?.len() == 1 {
            return Ok(Some(identity));
        }
    }
    Ok(None)
}

fn leads_to(path: &Path, number: DeviceNumber) -> bool {
    DeviceNumber::of(path).is_ok_and(|found| found == number)
}

/// The names of a device-mapper device, the friendlier first.
fn names_of_dm(name: &str, uuid: Option<&str>) -> Vec<PathBuf> {
    let volume = uuid.is_some_and(|uuid| uuid.starts_with("LVM-")).then(|| split_lv(name)).flatten();
    let volume = volume.map(|(vg, lv)| Path::new("/dev").join(vg).join(lv));
    volume.into_iter().chain([Path::new("/dev/mapper").join(name)]).collect()
}

/// The group and the volume that a device-mapper name is made of: LVM joins them by a hyphen, and doubles the hyphens
/// that they have.
pub(super) fn split_lv(name: &str) -> Option<(String, String)> {
    let mut at = 0;
    while let Some(hyphens) = name[at..].find('-').map(|found| at + found) {
        let count = name[hyphens..].bytes().take_while(|byte| *byte == b'-').count();
        // Of an odd number, one joins: the last, since no volume's name starts with a hyphen.
        if count % 2 == 1 {
            let (vg, lv) = (&name[..hyphens + count - 1], &name[hyphens + count..]);
            return (!vg.is_empty() && !lv.is_empty())
                .then(|| (vg.replace("--", "-"), lv.replace("--", "-")));
        }
        at = hyphens + count;
    }
    None
}

/// Why a path may lead nowhere.
fn hint(path: &Path) -> Hint {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix("/dev/")) else { return Hint::Unknown };
    if name.starts_with("disk/") {
        return Hint::Unplugged;
    }
    let id: Option<LvId> = match name.strip_prefix("mapper/") {
        Some(name) => split_lv(name).and_then(|(vg, lv)| format!("{vg}/{lv}").parse().ok()),
        None => name.parse().ok(),
    };
    id.map_or(Hint::Unknown, Hint::InactiveVolume)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_that_leads_nowhere_is_told_with_what_may_help() {
        let told = |path: &str| look(Path::new(path)).expect_err("nothing there").to_string();
        for path in ["/dev/no-group/data", "/dev/mapper/no--group-data"] {
            assert!(told(path).contains("lvchange -ay no-group/data"), "{}", told(path));
        }
        assert!(told("/dev/disk/by-id/wwn-0x0").contains("unplugged"));
        assert!(told("/dev/no-such-disk").contains("lsblk"));
    }

    #[test]
    fn who_names_a_file_learns_which_option_takes_files() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let told = look(file.path()).expect_err("a file").to_string();
        assert!(told.contains("is a file") && told.contains("--dir"), "{told}");
        let told = look(Path::new("/dev/null")).expect_err("a character device").to_string();
        assert!(told.ends_with("is something else, not a block device"), "{told}");
    }

    proptest! {
        #[test]
        fn a_volume_is_known_by_its_device_mapper_name(
            vg in "[a-z][a-z-]{0,6}",
            lv in "[a-z][a-z-]{0,6}",
        ) {
            let name = format!("{}-{}", vg.replace('-', "--"), lv.replace('-', "--"));
            prop_assert_eq!(split_lv(&name), Some((vg, lv)));
        }

        #[test]
        fn no_name_makes_the_reader_panic(name in ".*") {
            let _ = (split_lv(&name), hint(&Path::new("/dev").join(&name)));
        }
    }
}

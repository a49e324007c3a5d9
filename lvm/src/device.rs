//! Devices that somebody named: whether they are volumes of LVM, and what lies beside them.

use std::io::Read;
use std::path::Path;

use crate::error::LvmError;
use crate::names::{LvId, LvName};
use crate::query::device_number;
use crate::report::{Lv, LvHealth};
use crate::tool::Lvm;
use crate::uuid;

/// How much of a device has to be zero for it to count as blank. A pool's superblock is in its first 4 KiB, and
/// whatever has no signature that libblkid knows mostly has something near its start.
const BLANK: u64 = 1 << 20;

impl Lvm {
    /// The volume that a device is, by whatever of its names; none if it is something else. A path like
    /// `/dev/GROUP/VOLUME` that isn't there names a volume too: it exists only while the volume is active.
    pub fn lv_of_device(&self, device: &Path) -> Result<Option<Lv>, LvmError> {
        let number = match device_number(device) {
            Err(LvmError::Device { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return match id_of_path(device) {
                    Some(id) => self.find_lv(&id),
                    None => Ok(None),
                };
            }
            result => result?,
        };
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        // No such file: not of device-mapper.
        let file = format!("/sys/dev/block/{major}:{minor}/dm/uuid");
        match std::fs::read_to_string(file) {
            Ok(uuid) => self.lv_of_dm_uuid(&uuid),
            Err(_) => Ok(None),
        }
    }

    /// The volume whose device has this uuid in device-mapper (`LVM-…`), active or not; none if it isn't a volume's.
    pub fn lv_of_dm_uuid(&self, uuid: &str) -> Result<Option<Lv>, LvmError> {
        let Some((vg, lv)) = uuid::of_device_mapper(uuid) else { return Ok(None) };
        let found: Vec<Lv> = self.report(Some(&format!("vg_uuid=\"{vg}\" && lv_uuid=\"{lv}\"")))?;
        Ok(found.into_iter().next())
    }

    /// The volumes that by their names are meant for the metadata of the pool whose data is on this one, the
    /// likeliest first: `metadata`, `<data>_meta`, `<data>-metadata`. Only plain volumes. Whether they are blank is told by
    /// [`is_blank`](Self::is_blank), once they are active; one that is open may be so only for as long as udev looks into it.
    pub fn metadata_beside(&self, data: &LvId) -> Result<Vec<Lv>, LvmError> {
        let lvs = self.lvs_of(&data.vg)?;
        let plain = |lv: &&Lv| lv.linear && lv.health == LvHealth::Good && lv.id.lv != data.lv;
        let named = |name: LvName| lvs.iter().filter(plain).find(|lv| lv.id.lv == name).cloned();
        Ok(metadata_names(&data.lv).into_iter().filter_map(named).collect())
    }

    /// Whether nothing is on a device: no signature, and its first MiB reads as zeroes. Nothing is changed.
    pub fn is_blank(&self, device: &Path) -> Result<bool, LvmError> {
        let mut start = Vec::new();
        std::fs::File::open(device)
            .and_then(|file| file.take(BLANK).read_to_end(&mut start))
            .map_err(|source| LvmError::Device { device: device.to_owned(), source })?;
        Ok(start.iter().all(|byte| *byte == 0) && self.signatures(device)?.is_empty())
    }
}

/// What the volume for a pool's metadata may be called.
fn metadata_names(data: &LvName) -> Vec<LvName> {
    let names = ["metadata".to_owned(), format!("{data}_meta"), format!("{data}-metadata")];
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The volume that a path names by LVM's convention.
fn id_of_path(path: &Path) -> Option<LvId> {
    path.to_str()?.strip_prefix("/dev/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_inactive_volume_still_names_it() {
        let id = id_of_path(Path::new("/dev/direct-lvm/data")).map(|id| id.to_string());
        assert_eq!(id.as_deref(), Some("direct-lvm/data"));
        for other in
            ["/dev/sda", "/dev/disk/by-id/x", "/srv/direct-lvm/data", "/dev/a/../b", "direct-lvm/data"]
        {
            assert_eq!(id_of_path(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn metadata_is_looked_for_under_the_names_that_people_gave_it() {
        let names = metadata_names(&"data".parse().unwrap());
        let names: Vec<&str> = names.iter().map(LvName::as_str).collect();
        assert_eq!(names, ["metadata", "data_meta", "data-metadata"]);
    }
}

//! Volumes made, grown, activated, marked and removed.

use super::with_option;
use crate::amounts::{Bytes, Size};
use crate::error::{LvmError, Refusal};
use crate::names::{LvId, Tag};
use crate::report::{Lv, LvHealth, Vg};
use crate::tool::Lvm;
use crate::version::Version;

/// What to do about whatever the disks had where a new volume is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OldContent {
    /// Wipe known signatures and zero the first 4 KiB. A pool's superblock is there: what isn't zeroed could be
    /// taken for an old pool.
    #[default]
    Wipe,
    /// Leave it as it is.
    Keep,
}

/// A volume to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLv {
    /// Its size.
    pub size: Size,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// What to do about the disks' old content.
    pub old_content: OldContent,
}

impl NewLv {
    /// A volume of this size, without tags, its old content wiped.
    #[must_use]
    pub fn of(size: Size) -> Self {
        Self { size, tags: Vec::new(), old_content: OldContent::default() }
    }
}

impl Lvm {
    /// Makes a linear volume and activates it.
    pub fn lv_create(&self, id: &LvId, new: &NewLv) -> Result<Lv, LvmError> {
        let wipe = if new.old_content == OldContent::Wipe { "y" } else { "n" };
        let size = new.size.as_arguments();
        // --yes: the room was free, so what is wiped there is nobody's.
        let options = ["--yes", "--type", "linear", "--wipesignatures", wipe, "--zero", wipe, "--name"];
        let names =
            [id.lv.as_str(), &size[0], &size[1]].into_iter().chain(with_option("--addtag", &new.tags));
        self.change("lvcreate", options.into_iter().chain(names).chain([id.vg.as_str()])).map_err(
            |error| {
                error.explained(|| {
                    if self.find_lv(id)?.is_some() {
                        return Ok(Some(Refusal::LvExists { lv: id.clone() }));
                    }
                    let trouble = self.trouble_of_vg(&id.vg)?;
                    if trouble.is_some() {
                        return Ok(trouble);
                    }
                    Ok(no_room(&self.vg(&id.vg)?, new.size, Bytes(0)))
                })
            },
        )?;
        self.active(id)
    }

    /// Grows a volume to a size, of extents or bytes; a share of the group is its share of the whole group. One that
    /// is as large already stays as it is.
    pub fn lv_extend(&self, id: &LvId, to: Size) -> Result<Lv, LvmError> {
        let (lv, vg) = (self.lv(id)?, self.vg(&id.vg)?);
        let wanted = to.bytes(vg.extent_size, vg.extents, vg.free_extents);
        if lv.size >= wanted {
            return Ok(lv);
        }
        let size = Size::Bytes(wanted).as_arguments();
        self.change("lvextend", [&size[0], &size[1], &id.to_string()]).map_err(|error| {
            error.explained(|| {
                let trouble = self.trouble_of_vg(&id.vg)?;
                if trouble.is_some() {
                    return Ok(trouble);
                }
                let Some(lv) = self.find_lv(id)? else { return Ok(Some(Refusal::NoLv { lv: id.clone() })) };
                Ok(no_room(&self.vg(&id.vg)?, Size::Bytes(wanted), lv.size))
            })
        })?;
        self.lv(id)
    }

    /// Gives a volume its device.
    pub fn lv_activate(&self, id: &LvId) -> Result<Lv, LvmError> {
        self.lv_change(id, &["--activate", "y"])?;
        self.active(id)
    }

    /// Takes a volume's device away. Nobody may have it open.
    pub fn lv_deactivate(&self, id: &LvId) -> Result<Lv, LvmError> {
        self.lv_change(id, &["--activate", "n"])?;
        let lv = self.lv(id)?;
        if lv.active { Err(Refusal::InUse { lv: id.clone() }.into()) } else { Ok(lv) }
    }

    /// Adds tags to a volume, and takes some away. Tags that it has already, or hasn't, make no difference.
    pub fn lv_tag(&self, id: &LvId, add: &[Tag], remove: &[Tag]) -> Result<Lv, LvmError> {
        let tags: Vec<&str> = with_option("--addtag", add).chain(with_option("--deltag", remove)).collect();
        if !tags.is_empty() {
            self.lv_change(id, &tags)?;
        }
        self.lv(id)
    }

    /// Says whether a volume is activated at boot. Needs LVM 2.03.12.
    pub fn lv_set_autoactivation(&self, id: &LvId, on: bool) -> Result<Lv, LvmError> {
        self.require(Version::AUTOACTIVATION, "to say whether a volume is activated at boot")?;
        self.lv_change(id, &["--setautoactivation", if on { "y" } else { "n" }])?;
        self.lv(id)
    }

    /// Removes a volume that has this tag and that nobody has open. One that isn't there is no error.
    pub fn lv_remove(&self, id: &LvId, tag: &Tag) -> Result<(), LvmError> {
        let Some(lv) = self.find_lv(id)? else { return Ok(()) };
        if !lv.tags.contains(tag) {
            return Err(Refusal::NotOurs { what: format!("the volume {id}"), tag: tag.clone() }.into());
        }
        // By uuid: the name may be another's by now. --yes: an active volume is asked about; one that is open is
        // refused all the same.
        let selection = format!("lv_uuid=\"{}\" && lv_tags={{\"{tag}\"}}", lv.uuid);
        self.change("lvremove", ["--yes", "--select", &selection, &id.to_string()])
            .map_err(|error| error.explained(|| self.trouble_of_lv(id)))?;
        match self.find_lv(id)? {
            Some(left) if left.uuid == lv.uuid => {
                Err(Refusal::StillThere { what: format!("the volume {id}") }.into())
            }
            _ => Ok(()),
        }
    }

    fn lv_change(&self, id: &LvId, options: &[&str]) -> Result<(), LvmError> {
        let name = id.to_string();
        self.change("lvchange", options.iter().copied().chain([name.as_str()]))
            .map_err(|error| error.explained(|| self.trouble_of_lv(id)))
    }

    /// The volume, which must be active by now: LVM passes over some volumes and calls that a success.
    fn active(&self, id: &LvId) -> Result<Lv, LvmError> {
        let lv = self.lv(id)?;
        if lv.active {
            return Ok(lv);
        }
        let why = match &lv {
            Lv { skip_activation: true, .. } => {
                "it is marked to be passed over (`lvchange --setactivationskip n`)"
            }
            Lv { health: LvHealth::Partial, .. } => "a disk that it lies on has vanished (`pvs` shows which)",
            _ => "volume_list or a filter in lvm.conf may leave it out",
        };
        Err(Refusal::NotActivated { lv: id.clone(), why }.into())
    }

    fn trouble_of_lv(&self, id: &LvId) -> Result<Option<Refusal>, LvmError> {
        match self.find_lv(id)? {
            None => Ok(Some(Refusal::NoLv { lv: id.clone() })),
            Some(Lv { open: Some(true), .. }) => Ok(Some(Refusal::InUse { lv: id.clone() })),
            Some(_) => self.trouble_of_vg(&id.vg),
        }
    }
}

/// Whether it is room that lacks.
fn no_room(vg: &Vg, size: Size, there: Bytes) -> Option<Refusal> {
    let wanted = size.bytes(vg.extent_size, vg.extents, vg.free_extents).0.saturating_sub(there.0);
    // A share that comes to nothing still needs an extent.
    let needed = Bytes(wanted.max(vg.extent_size.0));
    (needed > vg.free()).then(|| Refusal::NoRoom { vg: vg.name.clone(), needed, free: vg.free() })
}

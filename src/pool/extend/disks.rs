//! Disks that are added to the volume group of a pool.

use std::path::Path;

use lvm::Lvm;

use super::{ExtendError, Extension};
use crate::backing::{Backing, Disk, Group, Part, Volumes};
use crate::catalog::PoolGrowth;
use crate::pool::setup::blank::Look;
use crate::pool::setup::claim;
use crate::pool::{Location, Pool, PoolError};

impl Pool<'_> {
    /// Adds disks to the pool's own volume group. They are looked at as at setup: what anybody uses is refused, and what
    /// anything is on unless somebody said that it may be wiped. Those that belong to the group already are passed over.
    pub(super) fn add_disks(&mut self, wanted: &Extension) -> Result<(), PoolError> {
        self.own_group()?;
        let lock = claim::lock(&self.location())?;
        let claimed = self.write_down_disks(wanted);
        lock.remove()?;
        let claimed = claimed?;
        if claimed.is_empty() {
            return Ok(());
        }
        for path in &wanted.wipe {
            self.host.blocks.wipe(&self.host.blocks.look(path)?)?;
        }
        let (volumes, _) = self.own_group()?;
        let lvm = Lvm::find()?;
        if let Err(error) = volumes.add_disks(&lvm, &claimed) {
            let cleanup = self.call_off_disks(&lvm, &claimed);
            return Err(PoolError::from(error).after_cleaning_up(cleanup));
        }
        Ok(self.catalog.end_growth()?)
    }

    /// Adds the spare disk to the volume group with the data, if there is one that wasn't taken yet.
    pub(super) fn take_spare(&mut self) -> Result<bool, PoolError> {
        let Backing::Devices(devices) = &self.record.backing else { return Ok(false) };
        let Some(spare) = devices.spare.as_deref().cloned() else { return Ok(false) };
        let (member, _) = self.member(Part::Data)?;
        let Some((lvm, volume)) = self.growable_volume(devices, Part::Data, member)? else {
            return Ok(false);
        };
        if Volumes::find_disk(&lvm, &spare)?.is_none_or(|pv| pv.vg.is_some()) {
            return Ok(false);
        }
        tracing::info!(pool = %self.name, disk = %spare.name.display(), "the volume group is full: taking the spare disk");
        let mut backing = self.record.backing.clone();
        if let Backing::Devices(devices) = &mut backing {
            devices.spare_taken = true;
        }
        // In a group of the pool's own it is one of the group's disks from now on, and goes with it.
        if let Some(group) = group_of(&mut backing)
            && !group.disks.contains(&spare)
        {
            group.disks.push(spare.clone());
        }
        self.catalog.intend_growth(&PoolGrowth::default(), &backing)?;
        self.record.backing = backing;
        Volumes::add_made_disk(&lvm, &volume.id().vg, &spare)?;
        self.catalog.end_growth()?;
        Ok(true)
    }

    /// Puts disks down as the pool's that are nobody else's.
    fn write_down_disks(&mut self, wanted: &Extension) -> Result<Vec<Disk>, PoolError> {
        let mut new = Vec::new();
        let (lvm, (_, group)) = (Lvm::find()?, self.own_group()?);
        for path in &wanted.disks {
            let device = self.host.blocks.look(path)?;
            let pv = lvm.pv_of_device(&device.node)?.filter(|pv| pv.vg.is_some());
            let is_ours = pv.is_some_and(|pv| group.disks.iter().any(|disk| disk.is(&pv.uuid)));
            if !is_ours {
                new.push(path.clone());
            }
        }
        let location = self.location();
        let (disks, _) = Look { host: self.host, location: &location, wipe: &wanted.wipe }.disks(&new)?;
        if !disks.is_empty() {
            let mut backing = self.record.backing.clone();
            if let Some(group) = group_of(&mut backing) {
                group.disks.extend(disks.iter().cloned());
            }
            // That nothing is to grow yet is written down as well: then the disks are added by whoever comes next.
            self.catalog.intend_growth(&PoolGrowth::default(), &backing)?;
            self.record.backing = backing;
        }
        Ok(disks)
    }

    /// Takes disks back that could not be added.
    fn call_off_disks(&mut self, lvm: &Lvm, disks: &[Disk]) -> Result<(), PoolError> {
        Volumes::take_back_disks(lvm, disks)?;
        let mut backing = self.record.backing.clone();
        if let Some(group) = group_of(&mut backing) {
            group.disks.retain(|disk| !disks.contains(disk));
        }
        self.catalog.intend_growth(&PoolGrowth::default(), &backing)?;
        self.record.backing = backing;
        Ok(self.catalog.end_growth()?)
    }

    /// Adds what was written down and isn't in the group yet. What can't be added is called off: it would be in the way of
    /// every growth to come.
    pub(super) fn finish_adding_disks(&mut self) -> Result<(), PoolError> {
        let Ok((volumes, group)) = self.own_group() else { return Ok(()) };
        let lvm = Lvm::find()?;
        let mut missing = Vec::new();
        for disk in &group.disks {
            if Volumes::find_disk(&lvm, disk)?.is_none_or(|pv| pv.vg.is_none()) {
                missing.push(disk.clone());
            }
        }
        // By what they are known: the name may be another disk's after a reboot.
        let found = missing.iter().map(|disk| self.found_again(&lvm, disk)).collect::<Result<Vec<_>, _>>();
        let added = found.and_then(|disks| Ok(volumes.add_disks(&lvm, &disks)?));
        added.map_err(|error| {
            let cleanup = self.call_off_disks(&lvm, &missing);
            error.after_cleaning_up(cleanup)
        })
    }

    /// A disk under the name that it has today.
    fn found_again(&self, lvm: &Lvm, disk: &Disk) -> Result<Disk, PoolError> {
        if Volumes::find_disk(lvm, disk)?.is_some() {
            return Ok(disk.clone());
        }
        let found =
            disk.identity.as_ref().map(|identity| self.host.blocks.find(identity)).transpose()?.flatten();
        let identity = disk.identity.as_ref().map_or_else(|| "its name".to_owned(), ToString::to_string);
        let device = disk.name.clone();
        let name = found.ok_or(ExtendError::DeviceGone { device, identity })?.node;
        Ok(Disk { name, ..disk.clone() })
    }

    /// The sizes that the volumes would have if the group had been made of all its disks.
    pub(super) fn sizes_by_rule(&self) -> Result<PoolGrowth, PoolError> {
        let (volumes, group) = self.own_group()?;
        let (data, metadata) = volumes.sizes_by_rule(&Lvm::find()?, group, self.record.policy.block_size)?;
        Ok(PoolGrowth { data: Some(data), metadata: Some(metadata) })
    }

    /// Where the pool is, to be opened again.
    pub(in crate::pool) fn location(&self) -> Location {
        Location {
            name: self.name.clone(),
            root: self.paths.directory().parent().unwrap_or(Path::new("/")).to_owned(),
            patience: self.patience,
            device_patience: self.device_patience,
            metadata_backups: self.backups,
        }
    }

    /// The volume group that was made for the pool.
    fn own_group(&self) -> Result<(&Volumes, &Group), PoolError> {
        let why = match &self.record.backing {
            Backing::Loop(_) => "it lies on loop files, which grow by themselves (--data)".to_owned(),
            Backing::ThinPool(existing) => {
                format!("it is in the thin pool {}, which is for whoever made it to grow", existing.name)
            }
            Backing::Devices(devices) => {
                let volumes = devices.volumes.as_ref();
                if let Some((volumes, group)) =
                    volumes.and_then(|volumes| Some((volumes, volumes.group.as_ref()?)))
                {
                    return Ok((volumes, group));
                }
                "its devices were given one by one, and the kernel lets no pool have others while it is in use. If they are \
                 volumes of LVM's, `vgextend` their group and say --data SIZE; else make the devices larger, and \
                 `thinpool extend` takes what is there"
                    .to_owned()
            }
        };
        Err(ExtendError::NoGroup { why }.into())
    }
}

fn group_of(backing: &mut Backing) -> Option<&mut Group> {
    match backing {
        Backing::Devices(devices) => devices.volumes.as_mut()?.group.as_mut(),
        Backing::Loop(_) | Backing::ThinPool(_) => None,
    }
}

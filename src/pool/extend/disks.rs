//! Disks that are added to the volume group of a pool.

use std::path::Path;

use lvm::Lvm;

use super::{ExtendError, Extension};
use crate::backing::{Backing, Disk, Group, Volumes};
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

    /// Puts disks down as the pool's that are nobody else's.
    fn write_down_disks(&mut self, wanted: &Extension) -> Result<Vec<Disk>, PoolError> {
        let mut new = Vec::new();
        for path in &wanted.disks {
            let identity = self.host.blocks.look(path)?.identity;
            let (_, group) = self.own_group()?;
            if identity.is_none() || !group.disks.iter().any(|disk| disk.identity == identity) {
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

    /// Adds what was written down and isn't in the group yet.
    pub(super) fn finish_adding_disks(&self) -> Result<(), PoolError> {
        match self.own_group() {
            Ok((volumes, group)) => Ok(volumes.add_disks(&Lvm::find()?, &group.disks)?),
            Err(_) => Ok(()),
        }
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

//! What a pool lies on, made larger.

use lvm::Lvm;

use super::{ExtendError, Sizes};
use crate::backing::block::{BlockDevice, Identity};
use crate::backing::{Backing, Devices, Growable, Member, Part};
use crate::catalog::PoolGrowth;
use crate::dm::ThinPool;
use crate::pool::{Pool, PoolError, io_error};
use crate::units::Bytes;

impl Pool<'_> {
    /// Makes one part of what the pool lies on at least so large, and tells how large it is. One that is as large stays as
    /// it is.
    pub(super) fn grow_backing(&self, part: Part, to: Bytes) -> Result<Bytes, PoolError> {
        match &self.record.backing {
            Backing::Loop(loopback) => {
                loopback.grow(part, to)?;
                Ok(to)
            }
            Backing::Devices(devices) => self.grow_device(devices, part, to),
            Backing::ThinPool(existing) => {
                Err(ExtendError::SomebodyElses { pool: existing.name.clone() }.into())
            }
        }
    }

    fn grow_device(&self, devices: &Devices, part: Part, to: Bytes) -> Result<Bytes, PoolError> {
        let (member, device) = self.member(part)?;
        match self.growable_volume(devices, part, member)? {
            // What LVM rounded up when it made the volume is for nobody else.
            Some((lvm, volume)) if volume.is_ours() || device.size < to => Ok(volume.grow(&lvm, to)?),
            // The rest of a device that somebody gave may be taken later.
            _ if device.size >= to => Ok(to),
            _ => {
                let (device, has) = (device.name, device.size);
                Err(ExtendError::DeviceTooSmall { part, device, has, asked: to }.into())
            }
        }
    }

    /// The volume of LVM's that a part lies on, if it is one.
    pub(super) fn growable_volume(
        &self,
        devices: &Devices,
        part: Part,
        member: &Member,
    ) -> Result<Option<(Lvm, Growable)>, PoolError> {
        // Only a volume of LVM's needs LVM to be there.
        if !matches!(&member.identity, Identity::DmUuid(uuid) if uuid.starts_with("LVM-")) {
            return Ok(None);
        }
        let lvm = Lvm::find()?;
        let volumes = devices.volumes.as_ref();
        let made = volumes.filter(|volumes| part == Part::Metadata || volumes.group.is_some());
        let made = made.map(|volumes| (volumes, &self.record.uuid, part));
        Ok(Growable::find(&lvm, &member.identity, made)?.map(|volume| (lvm, volume)))
    }

    /// The block device of a part, and what the catalog knows of it.
    pub(super) fn member(&self, part: Part) -> Result<(&Member, BlockDevice), PoolError> {
        let member =
            self.record.backing.members().find(|(which, _)| *which == part).map(|(_, member)| member);
        let member = member.ok_or_else(|| PoolError::HalfSetUp(self.name.to_string()))?;
        // It is there, as the pool is; but udev may just be looking at what has become of it.
        let found = self.host.blocks.wait_for(&member.identity, self.device_patience)?;
        let device = found.ok_or_else(|| ExtendError::DeviceGone {
            device: member.name.clone(),
            identity: member.identity.to_string(),
        })?;
        Ok((member, device))
    }

    /// What has become larger without our doing.
    pub(super) fn what_is_there(&self, now: &Sizes) -> Result<PoolGrowth, PoolError> {
        let size = |part| -> Result<Option<Bytes>, PoolError> {
            let size = match &self.record.backing {
                Backing::Loop(loopback) => {
                    let path = loopback.file(part);
                    Bytes(path.metadata().map_err(io_error("look at", path))?.len())
                }
                Backing::Devices(_) => self.member(part)?.1.size,
                Backing::ThinPool(_) => return Ok(None),
            };
            let size = if part == Part::Metadata { size.min(crate::backing::MOST_METADATA) } else { size };
            Ok(Some(size).filter(|size| *size > now.of(part)))
        };
        Ok(PoolGrowth { data: size(Part::Data)?, metadata: size(Part::Metadata)? })
    }

    /// Has loop devices see that their files are longer.
    pub(super) fn adopt_lengths(&self, live: &ThinPool, part: Part) -> Result<(), PoolError> {
        if self.record.backing.loop_files().is_none() {
            return Ok(());
        }
        Ok(self.host.loops.adopt_length(match part {
            Part::Data => live.data,
            Part::Metadata => live.metadata,
        })?)
    }

    /// Writes down how large a part of what the pool lies on is by now.
    pub(super) fn set_size(&mut self, part: Part, size: Bytes) -> Result<(), PoolError> {
        let (policy, backing) = (&mut self.record.policy, &mut self.record.backing);
        let known = match part {
            Part::Data => &mut policy.data_size,
            Part::Metadata => &mut policy.metadata_size,
        };
        let before = *known;
        *known = before.max(size);
        if let Backing::Devices(devices) = backing {
            let member = match part {
                Part::Data => devices.data.as_mut(),
                Part::Metadata => devices.metadata.as_mut(),
            };
            if let Some(member) = member {
                member.size = member.size.max(size);
            }
        }
        if *known == before { Ok(()) } else { Ok(self.catalog.set_grown(&self.record)?) }
    }
}

//! How much larger a pool could become.

use std::path::{Path, PathBuf};

use super::{By, ExtendError};
use crate::backing::{Backing, Devices, FileSpace, Growable, Loopback, Part, Volumes};
use crate::catalog::PoolGrowth;
use crate::pool::{Pool, PoolError, io_error};
use crate::units::Bytes;

/// How much larger each part of a pool could become by itself. The two may share the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The data.
    pub data: Bytes,
    /// The metadata.
    pub metadata: Bytes,
    /// Where that room is.
    pub lies_in: RoomIn,
}

/// Where a pool finds room to grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomIn {
    /// The file system under its loop files.
    FileSystem(PathBuf),
    /// The volume group that its volumes are in.
    VolumeGroup(String),
    /// Its devices, which are larger than the pool takes.
    Devices,
    /// Nowhere: its devices are somebody else's to grow.
    Nowhere,
}

impl Pool<'_> {
    /// How much larger the pool could become by itself, without a hand of anybody's: what [`By::Itself`] may take.
    pub fn room(&self) -> Result<Room, PoolError> {
        match &self.record.backing {
            Backing::Loop(loopback) => {
                let host = HostRoom::of(loopback)?;
                let room = host.free - host.promised;
                let path = loopback.files.data.parent().unwrap_or(Path::new("/"));
                Ok(Room { data: room, metadata: room, lies_in: RoomIn::FileSystem(path.to_owned()) })
            }
            Backing::Devices(devices) => self.room_of_devices(devices),
            Backing::ThinPool(_) => Ok(Room { data: Bytes(0), metadata: Bytes(0), lies_in: RoomIn::Nowhere }),
        }
    }

    fn room_of_devices(&self, devices: &Devices) -> Result<Room, PoolError> {
        let now = self.sizes(&self.growable()?);
        let mut room = Room { data: Bytes(0), metadata: Bytes(0), lies_in: RoomIn::Nowhere };
        for part in [Part::Data, Part::Metadata] {
            let (member, device) = self.member(part)?;
            let mut own = device.size - now.of(part);
            if part == Part::Data {
                own = self.whole_blocks(own);
            }
            if own.0 > 0 && room.lies_in == RoomIn::Nowhere {
                room.lies_in = RoomIn::Devices;
            }
            if let Some((lvm, volume)) = self.growable_volume(devices, part, member)?
                && may_grow(&volume, devices)
            {
                own = own + volume.gets(volume.room(&lvm)? + room_on_spare(&lvm, devices)?);
                room.lies_in = RoomIn::VolumeGroup(volume.id().vg.to_string());
            }
            match part {
                Part::Data => room.data = own,
                Part::Metadata => room.metadata = own,
            }
        }
        Ok(room)
    }

    /// Refuses what there is no room for, before anything is touched.
    pub(super) fn refuse_without_room(&self, growth: &PoolGrowth, by: By) -> Result<(), PoolError> {
        if growth.is_nothing() {
            return Ok(());
        }
        match &self.record.backing {
            Backing::Loop(loopback) if by == By::Itself => refuse_without_host_room(loopback, growth),
            Backing::Loop(_) | Backing::ThinPool(_) => Ok(()),
            Backing::Devices(devices) => self.refuse_without_volume_room(devices, growth, by),
        }
    }

    fn refuse_without_volume_room(
        &self,
        devices: &Devices,
        growth: &PoolGrowth,
        by: By,
    ) -> Result<(), PoolError> {
        let mut needed: Vec<(lvm::VgName, Bytes, Bytes)> = Vec::new();
        for part in [Part::Data, Part::Metadata] {
            let Some(asked) = growth.of(part) else { continue };
            let (member, device) = self.member(part)?;
            if device.size >= asked {
                continue;
            }
            let volume = self.growable_volume(devices, part, member)?;
            let volume = volume.filter(|(_, volume)| by == By::Hand || may_grow(volume, devices));
            let Some((lvm, volume)) = volume else {
                let (device, has) = (device.name, device.size);
                return Err(ExtendError::DeviceTooSmall { part, device, has, asked }.into());
            };
            let (vg, more) = (&volume.id().vg, volume.needs(&lvm, asked)?);
            match needed.iter_mut().find(|(group, ..)| group == vg) {
                Some((_, sum, _)) => *sum = *sum + more,
                None => needed.push((vg.clone(), more, volume.room(&lvm)?)),
            }
        }
        for (vg, needed, free) in needed {
            if needed > free {
                let (needed, free) = (lvm::Bytes(needed.0), lvm::Bytes(free.0));
                return Err(lvm::LvmError::from(lvm::Refusal::NoRoom { vg, needed, free }).into());
            }
        }
        Ok(())
    }
}

/// Whether a volume may grow without a hand of anybody's: one that is the pool's, and one for which a spare disk was given.
fn may_grow(volume: &Growable, devices: &Devices) -> bool {
    volume.is_ours() || devices.spare.is_some()
}

/// What a spare disk would add.
fn room_on_spare(lvm: &lvm::Lvm, devices: &Devices) -> Result<Bytes, PoolError> {
    let spare = devices.spare.as_ref().map(|spare| Volumes::find_disk(lvm, spare)).transpose()?.flatten();
    Ok(spare.filter(|pv| pv.vg.is_none()).map_or(Bytes(0), |pv| Bytes(pv.size.0)))
}

/// The room under loop files.
struct HostRoom {
    /// What the file system has left.
    free: Bytes,
    /// What the files, as long as they are, may still take of it.
    promised: Bytes,
}

impl HostRoom {
    fn of(loopback: &Loopback) -> Result<Self, PoolError> {
        let space = |path: &Path| FileSpace::of(path).map_err(io_error("look at", path));
        let (data, metadata) = (space(&loopback.files.data)?, space(&loopback.files.metadata)?);
        let holes = |space: &FileSpace| space.logical - space.allocated;
        Ok(Self { free: data.free, promised: holes(&data) + holes(&metadata) })
    }
}

/// A file that is longer than there is room for fails its writes where a pool that is full would refuse them in good order.
fn refuse_without_host_room(loopback: &Loopback, growth: &PoolGrowth) -> Result<(), PoolError> {
    let host = HostRoom::of(loopback)?;
    let mut needed = Bytes(0);
    for part in [Part::Data, Part::Metadata] {
        let Some(asked) = growth.of(part) else { continue };
        let path = loopback.file(part);
        let is = Bytes(path.metadata().map_err(io_error("look at", path))?.len());
        needed = needed + (asked - is);
        if host.free < host.promised + needed {
            let (path, free, promised) = (path.to_owned(), host.free, host.promised);
            return Err(ExtendError::NoRoomOnHost { path, needed, free, promised }.into());
        }
    }
    Ok(())
}

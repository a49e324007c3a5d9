//! Devices, their tables and what the ioctls do to them (drivers/md/dm-ioctl.c, dm.c, dm-table.c).

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;

use super::disk::{Content, Disk};
use super::fault::Faults;
use super::metadata::Metadata;
use super::pool::{Health, Pool, meta_blocks};
use crate::dm::{
    Access, DeviceNumber, Feature, Info, Name, PoolMessage, Removal, Removed, Table, Thin, ThinPool,
};
use crate::units::{BlockSize, DataBlocks, DeviceId, Sectors};

/// The major number of the twin's device-mapper devices.
const MAJOR: u32 = 253;

/// The major number of loop devices.
const LOOP_MAJOR: u32 = 7;

/// A snapshot of an origin that was written to meanwhile: its content can't be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornSnapshot {
    /// The snapshot.
    pub device: DeviceId,
    /// Its origin, which was active and not suspended.
    pub origin: DeviceId,
}

#[derive(Debug, Clone)]
struct Loaded {
    table: Table,
    access: Access,
}

#[derive(Debug)]
pub(super) struct Device {
    uuid: String,
    minor: u32,
    live: Option<Loaded>,
    inactive: Option<Loaded>,
    suspended: bool,
    deferred_remove: bool,
    opens: u32,
}

impl Device {
    pub(super) fn number(&self) -> DeviceNumber {
        DeviceNumber { major: MAJOR, minor: self.minor }
    }

    pub(super) fn live(&self) -> Option<&Table> {
        self.live.as_ref().map(|loaded| &loaded.table)
    }

    pub(super) fn suspended(&self) -> bool {
        self.suspended
    }

    pub(super) fn read_only(&self) -> bool {
        self.live.as_ref().is_some_and(|loaded| loaded.access == Access::ReadOnly)
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.live.iter().chain(&self.inactive).map(|loaded| &loaded.table)
    }

    /// The devices below, each of which it holds open once.
    fn below(&self) -> BTreeSet<DeviceNumber> {
        self.tables()
            .flat_map(|table| match table {
                Table::ThinPool(pool) => [Some(pool.metadata), Some(pool.data)],
                Table::Thin(thin) => [Some(thin.pool), thin.external_origin],
                Table::Linear(linear) => [Some(linear.device), None],
            })
            .flatten()
            .collect()
    }
}

/// The whole machine.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) disks: BTreeMap<DeviceNumber, Disk>,
    pub(super) devices: BTreeMap<Name, Device>,
    pub(super) pools: BTreeMap<DeviceNumber, Pool>,
    pub(super) faults: Faults,
    pub(super) torn: Vec<TornSnapshot>,
}

impl State {
    pub(super) fn device(&self, name: &Name) -> Result<&Device, Errno> {
        self.devices.get(name).ok_or(Errno::ENXIO)
    }

    fn device_mut(&mut self, name: &Name) -> Result<&mut Device, Errno> {
        self.devices.get_mut(name).ok_or(Errno::ENXIO)
    }

    pub(super) fn numbered(&self, number: DeviceNumber) -> Option<&Device> {
        self.devices.values().find(|device| device.number() == number)
    }

    pub(super) fn info(&self, name: &Name) -> Option<Info> {
        self.devices.get(name).map(|device| Info {
            name: name.clone(),
            uuid: Some(device.uuid.clone()).filter(|uuid| !uuid.is_empty()),
            device: device.number(),
            open_count: self.open_count(device),
            suspended: device.suspended,
            read_only: device.read_only(),
            deferred_remove: device.deferred_remove,
            live: device.live.is_some(),
            events: self.pools.get(&device.number()).map_or(0, |pool| pool.events),
        })
    }

    fn open_count(&self, device: &Device) -> u32 {
        let holders = self.devices.values().filter(|above| above.below().contains(&device.number()));
        device.opens.saturating_add(holders.count().try_into().unwrap_or(u32::MAX))
    }

    /// Whether any table leads to this device.
    pub(super) fn in_use(&self, number: DeviceNumber) -> bool {
        self.devices.values().any(|device| device.below().contains(&number))
    }

    /// How long a device is, whatever it is. Any loop device exists as soon as it is asked for, with nothing in it.
    fn length(&self, number: DeviceNumber) -> Option<Sectors> {
        let device = || self.numbered(number).map(|device| device.live().map_or(Sectors(0), Table::length));
        let disk = self.disks.get(&number).map(|disk| disk.size.sectors());
        disk.or_else(device).or_else(|| (number.major == LOOP_MAJOR).then_some(Sectors(0)))
    }

    /// The disk, and the place on it, where a device begins.
    fn place(&self, number: DeviceNumber) -> Option<(DeviceNumber, Sectors)> {
        if self.disks.contains_key(&number) {
            return Some((number, Sectors(0)));
        }
        match self.numbered(number)?.live()? {
            Table::Linear(linear) => {
                self.place(linear.device).map(|(disk, offset)| (disk, offset + linear.offset))
            }
            Table::ThinPool(_) | Table::Thin(_) => None,
        }
    }

    pub(super) fn content(&self, number: DeviceNumber) -> Option<&Content> {
        let (disk, offset) = self.place(number)?;
        self.disks.get(&disk)?.contents.get(&offset)
    }

    /// Puts something, or zeroes, where a pool's metadata would be.
    pub(super) fn put(&mut self, number: DeviceNumber, content: Option<Content>) -> Result<(), Errno> {
        let (disk, offset) = self.place(number).ok_or(Errno::ENXIO)?;
        let contents = &mut self.disks.get_mut(&disk).ok_or(Errno::ENXIO)?.contents;
        match content {
            Some(content) => contents.insert(offset, content),
            None => contents.remove(&offset),
        };
        Ok(())
    }

    /// A pool's metadata on its disk, or `None` if that is no pool's.
    pub(super) fn metadata(&self, number: DeviceNumber) -> Option<&Metadata> {
        match self.content(number)? {
            Content::Pool(metadata) => Some(metadata),
            Content::Garbage => None,
        }
    }

    pub(super) fn metadata_mut(&mut self, number: DeviceNumber) -> Option<&mut Metadata> {
        let (disk, offset) = self.place(number)?;
        match self.disks.get_mut(&disk)?.contents.get_mut(&offset)? {
            Content::Pool(metadata) => Some(metadata),
            Content::Garbage => None,
        }
    }

    /// Lets a pool and its metadata act together. A pool whose metadata went away under it answers EIO.
    pub(super) fn with_pool<T>(
        &mut self,
        number: DeviceNumber,
        act: impl FnOnce(&mut Pool, &mut Metadata) -> T,
    ) -> Result<T, Errno> {
        let at = self.pools.get(&number).ok_or(Errno::EINVAL)?.metadata;
        let (disk, offset) = self.place(at).ok_or(Errno::EIO)?;
        let content = self.disks.get_mut(&disk).and_then(|disk| disk.contents.get_mut(&offset));
        match (self.pools.get_mut(&number), content) {
            (Some(pool), Some(Content::Pool(metadata))) => Ok(act(pool, metadata)),
            _ => Err(Errno::EIO),
        }
    }

    pub(super) fn create(&mut self, name: &Name, uuid: &str) -> Result<(), Errno> {
        self.faults.change()?;
        let taken = |device: &Device| !uuid.is_empty() && device.uuid == uuid;
        if self.devices.contains_key(name) || self.devices.values().any(taken) {
            return Err(Errno::EBUSY);
        }
        let used: BTreeSet<u32> = self.devices.values().map(|device| device.minor).collect();
        let device = Device {
            uuid: uuid.to_owned(),
            minor: (0..u32::MAX).find(|minor| !used.contains(minor)).ok_or(Errno::EBUSY)?,
            live: None,
            inactive: None,
            suspended: false,
            deferred_remove: false,
            opens: 0,
        };
        self.devices.insert(name.clone(), device);
        Ok(())
    }

    pub(super) fn load(&mut self, name: &Name, table: &Table, access: Access) -> Result<(), Errno> {
        self.faults.change()?;
        let device = self.device(name)?;
        let number = device.number();
        if table.length() == Sectors(0) {
            return Err(Errno::EINVAL);
        }
        // The kernel calls a pool's table immutable: no other target may follow it.
        let immutable = matches!(device.live(), Some(Table::ThinPool(_)));
        if immutable && !matches!(table, Table::ThinPool(_)) {
            return Err(Errno::EINVAL);
        }
        let table = match table {
            Table::ThinPool(pool) => Table::ThinPool(self.load_pool(number, pool, access)?),
            Table::Thin(thin) => {
                self.load_thin(thin)?;
                table.clone()
            }
            Table::Linear(linear) => {
                self.length(linear.device).ok_or(Errno::ENXIO)?;
                table.clone()
            }
        };
        self.device_mut(name)?.inactive = Some(Loaded { table, access });
        Ok(())
    }

    /// `pool_ctr`: gives back the table as the kernel will show it.
    fn load_pool(
        &mut self,
        number: DeviceNumber,
        table: &ThinPool,
        access: Access,
    ) -> Result<ThinPool, Errno> {
        if access == Access::ReadOnly {
            return Err(Errno::EINVAL);
        }
        let room = self.length(table.metadata).ok_or(Errno::ENXIO)?;
        self.length(table.data).ok_or(Errno::ENXIO)?;
        if table.data == table.metadata {
            return Err(Errno::EINVAL);
        }
        if self.pools.iter().any(|(other, pool)| *other != number && pool.metadata == table.metadata) {
            return Err(Errno::EBUSY);
        }
        let mut shown = table.clone();
        shown.features = in_kernels_order(&table.features);
        if let Some(pool) = self.pools.get(&number) {
            if pool.metadata != table.metadata {
                return Err(Errno::EINVAL);
            }
            if pool.data != table.data {
                return Err(Errno::EBUSY);
            }
            let discard = !table.features.contains(&Feature::IgnoreDiscard);
            if discard == pool.has(Feature::IgnoreDiscard) {
                return Err(Errno::EINVAL);
            }
            // The block size of a pool that is active is not looked at again.
            shown.block_size = self.metadata(table.metadata).map_or(table.block_size, |m| m.block_size);
            return Ok(shown);
        }
        if room == Sectors(0) {
            return Err(Errno::EIO);
        }
        match self.content(table.metadata) {
            // The trap: whatever was meant to be here, it is a new, empty pool now.
            None if table.features.contains(&Feature::ReadOnly) => return Err(Errno::EPERM),
            None => {
                let metadata = Metadata::format(table.block_size, meta_blocks(room));
                self.put(table.metadata, Some(Content::Pool(Box::new(metadata))))?;
            }
            // The first that the kernel looks at is the block's own number, which is wrong here.
            Some(Content::Garbage) => return Err(Errno::ENOTBLK),
            Some(Content::Pool(metadata)) if metadata.block_size != table.block_size => {
                return Err(Errno::EINVAL);
            }
            Some(Content::Pool(_)) => {}
        }
        self.pools.insert(number, Pool::new(table));
        Ok(shown)
    }

    /// `thin_ctr`
    fn load_thin(&self, table: &Thin) -> Result<(), Errno> {
        if let Some(origin) = table.external_origin {
            self.length(origin).ok_or(Errno::ENXIO)?;
        }
        self.length(table.pool).ok_or(Errno::ENXIO)?;
        let pool = self.pools.get(&table.pool).ok_or(Errno::EINVAL)?;
        if pool.health == Health::Fail {
            return Err(Errno::EINVAL);
        }
        let metadata = self.metadata(pool.metadata).ok_or(Errno::EIO)?;
        if !metadata.contains(table.id) {
            return Err(Errno::ENODATA);
        }
        if pool.suspended { Err(Errno::EINVAL) } else { Ok(()) }
    }

    pub(super) fn clear(&mut self, name: &Name) -> Result<(), Errno> {
        self.faults.change()?;
        self.device_mut(name)?.inactive = None;
        Ok(())
    }

    pub(super) fn suspend(&mut self, name: &Name) -> Result<(), Errno> {
        self.faults.change()?;
        if self.device(name)?.suspended { Ok(()) } else { self.suspend_now(name) }
    }

    fn suspend_now(&mut self, name: &Name) -> Result<(), Errno> {
        let device = self.device(name)?;
        self.would_wait_for_pool(device)?;
        let number = device.number();
        if let Some(pool) = self.pools.get_mut(&number) {
            pool.suspended = true;
        }
        self.device_mut(name)?.suspended = true;
        Ok(())
    }

    /// A suspended pool suspends its thin devices from inside, and the kernel would wait here until the pool
    /// resumes, which nobody who waits can bring about.
    fn would_wait_for_pool(&self, device: &Device) -> Result<(), Errno> {
        match device.live() {
            Some(Table::Thin(thin)) if self.pools.get(&thin.pool).is_some_and(|pool| pool.suspended) => {
                Err(Errno::EDEADLK)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn resume(&mut self, name: &Name) -> Result<(), Errno> {
        self.faults.change()?;
        let swapped = self.device(name)?.inactive.is_some();
        if swapped {
            if !self.device(name)?.suspended {
                self.suspend_now(name)?;
            }
            let loaded = self.device_mut(name)?.inactive.take();
            // A table that reaches beyond a device below is dropped, and the old one stays.
            if !loaded.as_ref().is_some_and(|loaded| self.fits(&loaded.table)) {
                return Err(Errno::EINVAL);
            }
            self.device_mut(name)?.live = loaded;
        }
        let device = self.device(name)?;
        if !device.suspended {
            return Ok(());
        }
        self.would_wait_for_pool(device)?;
        let number = device.number();
        let table = device.live().ok_or(Errno::EINVAL)?.clone();
        if let Table::ThinPool(table) = table {
            self.resume_pool(number, &table, swapped)?;
        }
        self.device_mut(name)?.suspended = false;
        Ok(())
    }

    /// `pool_preresume` and `pool_resume`. When this fails, the table is live all the same, and stays suspended.
    fn resume_pool(&mut self, number: DeviceNumber, table: &ThinPool, swapped: bool) -> Result<(), Errno> {
        let data = DataBlocks(table.length.0 / table.block_size.sectors().0);
        let meta = meta_blocks(self.length(table.metadata).ok_or(Errno::EIO)?);
        let passdown = self.length(table.data).is_some_and(|length| length > Sectors(0));
        self.with_pool(number, |pool, metadata| {
            pool.bind(metadata, table, swapped);
            pool.passdown = passdown;
            pool.resize(metadata, data, meta)?;
            pool.resumed();
            Ok(())
        })?
    }

    /// Whether the devices below are long enough. The kernel doesn't look at one that has no length at all: a pool
    /// on a loop device without a file is accepted.
    fn fits(&self, table: &Table) -> bool {
        let reaches = |number, end: Sectors| {
            self.length(number).is_some_and(|length| end <= length || length == Sectors(0))
        };
        match table {
            Table::ThinPool(pool) => reaches(pool.data, pool.length),
            Table::Linear(linear) => reaches(linear.device, linear.offset + linear.length),
            Table::Thin(_) => true,
        }
    }

    /// `dm_hash_rename`: whoever has it open doesn't matter.
    pub(super) fn rename(&mut self, name: &Name, to: &Name) -> Result<(), Errno> {
        self.faults.change()?;
        if self.devices.contains_key(to) {
            return Err(Errno::EBUSY);
        }
        let device = self.devices.remove(name).ok_or(Errno::ENXIO)?;
        self.devices.insert(to.clone(), device);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &Name, removal: Removal) -> Result<Removed, Errno> {
        self.faults.change()?;
        if self.open_count(self.device(name)?) > 0 {
            return match removal {
                Removal::Now => Err(Errno::EBUSY),
                Removal::Deferred => {
                    self.device_mut(name)?.deferred_remove = true;
                    Ok(Removed::WhenClosed)
                }
            };
        }
        self.take_away(name);
        Ok(Removed::Gone)
    }

    fn take_away(&mut self, name: &Name) {
        if let Some(device) = self.devices.remove(name) {
            self.pools.remove(&device.number());
        }
        self.remove_deferred();
    }

    /// What was to be removed at its last close, and is closed.
    pub(super) fn cancel_deferred_remove(&mut self, name: &Name) -> Result<(), Errno> {
        self.device_mut(name)?.deferred_remove = false;
        Ok(())
    }

    pub(super) fn remove_deferred(&mut self) {
        let closed = |(_, device): &(&Name, &Device)| device.deferred_remove && self.open_count(device) == 0;
        let name = self.devices.iter().find(closed).map(|(name, _)| name.clone());
        if let Some(name) = name {
            self.take_away(&name);
        }
    }

    pub(super) fn open(&mut self, name: &Name) -> Result<(), Errno> {
        self.device_mut(name)?.opens += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, name: &Name) -> Result<(), Errno> {
        let device = self.device_mut(name)?;
        device.opens = device.opens.checked_sub(1).ok_or(Errno::EBADF)?;
        self.remove_deferred();
        Ok(())
    }

    pub(super) fn message(&mut self, name: &Name, message: &PoolMessage) -> Result<(), Errno> {
        self.faults.change()?;
        let device = self.device(name)?;
        let number = device.number();
        if !matches!(device.live(), Some(Table::ThinPool(_))) {
            return Err(Errno::EINVAL);
        }
        let thins = self.thins_of(number);
        let active = |id| thins.iter().any(|(active, _)| *active == id);
        self.with_pool(number, |pool, metadata| pool.message(metadata, message, active))??;
        if let PoolMessage::CreateSnap { device, origin } = *message
            && thins.contains(&(origin, false))
        {
            self.torn.push(TornSnapshot { device, origin });
        }
        Ok(())
    }

    /// The ids of a pool's active devices, each with whether it is suspended.
    fn thins_of(&self, pool: DeviceNumber) -> Vec<(DeviceId, bool)> {
        let thins = |device: &'_ Device| -> Vec<(DeviceId, bool)> {
            let id = |table: &Table| match table {
                Table::Thin(thin) if thin.pool == pool => Some(thin.id),
                _ => None,
            };
            device.tables().filter_map(id).map(|id| (id, device.suspended)).collect()
        };
        self.devices.values().flat_map(thins).collect()
    }

    pub(super) fn block_size(&self, pool: DeviceNumber) -> Option<BlockSize> {
        Some(self.metadata(self.pools.get(&pool)?.metadata)?.block_size)
    }
}

/// The order in which the kernel shows the features, each once.
fn in_kernels_order(features: &[Feature]) -> Vec<Feature> {
    [
        Feature::SkipBlockZeroing,
        Feature::IgnoreDiscard,
        Feature::NoDiscardPassdown,
        Feature::ReadOnly,
        Feature::ErrorIfNoSpace,
    ]
    .into_iter()
    .filter(|feature| features.contains(feature))
    .collect()
}

//! Reading a pool's status, without touching a file system in it and without waiting for anything.

use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::lock::Lock;
use super::status::{
    DeviceCounts, Discard, Fate, Figures, HostSupport, Known, KnownDevice, LiesOn, Live, LoopFile, LoopFiles,
    Mode, Problem, SpareDisk, State, Status, Waiting,
};
use super::{Host, Location, Pool, PoolError};
use crate::backing::{Backing, FileSpace, MOST_METADATA, Part, Volumes};
use crate::catalog::{DeviceState, PoolRecord, PoolState};
use crate::dm::{self, DeviceNumber, PoolStatus, PoolUsage, Superblock, SuperblockError, Table};
use crate::units::{Bytes, DataBlocks, MetaBlocks, Sectors, TransactionId};

impl Location {
    /// The pool's status, whatever state it is in. What can't be read is told as a problem, never left out.
    #[must_use]
    pub fn status(&self, host: &Host) -> Status {
        let mut status = Status {
            pool: self.name.clone(),
            state: State::Absent,
            known: None,
            live: None,
            problems: Vec::new(),
            host: host_support(host),
        };
        match Pool::open_in_any_state(host, self) {
            Ok(None) => {}
            Ok(Some(pool)) => pool.observe(&mut status),
            Err(error) => {
                // Something is there; nobody can tell what.
                status.state = State::Inactive;
                status.problems.push(Problem::StatusUnreadable { why: error.to_string() });
            }
        }
        status.assessed()
    }
}

impl Pool<'_> {
    fn observe(&self, status: &mut Status) {
        match self.known() {
            Ok(known) => status.known = Some(known),
            Err(error) => status.problems.push(Problem::StatusUnreadable { why: error.to_string() }),
        }
        status.state = match (self.record.state, self.active()) {
            (PoolState::SettingUp | PoolState::Destroying, _) => State::HalfSetUp,
            (PoolState::Ready, Ok(Some(info))) if info.live => {
                status.problems.extend(info.suspended.then_some(Problem::Suspended));
                State::Active
            }
            (PoolState::Ready, Ok(_)) => State::Inactive,
            (PoolState::Ready, Err(error)) => {
                status.problems.push(Problem::StatusUnreadable { why: error.to_string() });
                State::Inactive
            }
        };
        self.damaged_files(status);
        match self.scarcity() {
            Ok(scarcity) => status.problems.extend(scarcity.problems),
            Err(error) => status.problems.push(Problem::StatusUnreadable { why: error.to_string() }),
        }
        match status.state {
            State::Active => {
                match self.live() {
                    Ok(live) => status.live = Some(live),
                    Err(error) => status.problems.push(Problem::StatusUnreadable { why: error.to_string() }),
                }
                self.unused_room(status);
            }
            State::Inactive => {
                self.missing_devices(status);
                status.problems.extend(self.superblock_problem(status.known.as_ref()));
            }
            State::Absent | State::HalfSetUp => {}
        }
        if let Some(known) = &mut status.known {
            match self.waiting() {
                Ok(waiting) => known.waiting = waiting,
                Err(error) => status.problems.push(Problem::StatusUnreadable { why: error.to_string() }),
            }
        }
        // A change that an earlier process made and could not write down is no mismatch: the next command does.
        if let (Some(known), Some(figures)) =
            (&mut status.known, status.live.as_ref().and_then(|live| live.figures.as_ref()))
            && self.is_half_written(figures)
        {
            known.transaction_id = figures.transaction_id;
        }
    }

    fn known(&self) -> Result<Known, PoolError> {
        let counts = self.catalog.counts()?;
        let PoolRecord { uuid, created, policy, backing, .. } = &self.record;
        Ok(Known {
            dm_name: self.device.to_string(),
            uuid: uuid.to_string(),
            set_up: UNIX_EPOCH + Duration::from_secs(created.unsigned_abs()),
            block_size: policy.block_size,
            base_size: policy.base_size,
            file_system: policy.filesystem,
            loop_files: backing.loop_files().map(|files| LoopFiles {
                data: loop_file(&files.data),
                metadata: loop_file(&files.metadata),
            }),
            lies_on: self.lies_on(),
            min_free_space: policy.min_free_space,
            transaction_id: self.catalog.transaction_id()?,
            devices: DeviceCounts {
                base: counts.bases,
                images: counts.layers,
                containers: counts.containers,
            },
            deferred_deleted: counts.deleted,
            waiting: Vec::new(),
            deferred_removal: policy.deferred_removal,
            deferred_deletion: policy.deferred_deletion,
            metadata_check: self.catalog.metadata_check()?,
        })
    }

    /// Devices that wait for their last user: those that are deleted, and nodes that go when they are closed.
    fn waiting(&self) -> Result<Vec<Waiting>, PoolError> {
        let mut waiting = Vec::new();
        for device in self.catalog.devices_in(DeviceState::Deleted)? {
            waiting.push(Waiting {
                device: device.node.to_string(),
                device_id: Some(device.id.get()),
                to_be: Fate::Deleted,
                open_count: self.active_device(&device)?.map_or(0, |info| info.open_count),
            });
        }
        for info in self.nodes()?.into_iter().filter(|info| info.deferred_remove) {
            let device = self.catalog.device_by_node(&info.name)?;
            if device.as_ref().is_some_and(|device| device.state == DeviceState::Deleted) {
                continue;
            }
            waiting.push(Waiting {
                device: info.name.to_string(),
                device_id: device.map(|device| device.id.get()),
                to_be: Fate::Removed,
                open_count: info.open_count,
            });
        }
        Ok(waiting)
    }

    fn live(&self) -> Result<Live, PoolError> {
        let table = match self.host.dm.table(&self.device)? {
            Some(Table::ThinPool(table)) => Some(table),
            _ => None,
        };
        let low_water = table.as_ref().map_or(DataBlocks(0), |table| table.low_water_mark);
        let (mode, figures, trend) = match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Fail => (Mode::Fail, None, None),
            PoolStatus::Error => (Mode::Error, None, None),
            PoolStatus::Working(usage) => {
                (usage.mode.into(), Some(figures(&usage, low_water)), self.trend(&usage)?)
            }
        };
        Ok(Live {
            data_device: table.as_ref().and_then(|table| node(table.data)),
            metadata_device: table.as_ref().and_then(|table| node(table.metadata)),
            mode,
            figures,
            monitored: self.location().is_watched(),
            trend,
        })
    }

    /// A growth that was left, and what the pool lies on but doesn't take: whole blocks of it.
    fn unused_room(&self, status: &mut Status) {
        status.problems.extend(match self.is_growth_left() {
            Ok(left) => left.then_some(Problem::GrowthUnfinished),
            Err(error) => Some(Problem::StatusUnreadable { why: error.to_string() }),
        });
        let (Some(live), Some(figures)) = (&status.live, status.figures()) else { return };
        let block = self.record.policy.block_size;
        let parts = [
            (Part::Data, &live.data_device, figures.data.total.bytes(block), block.bytes()),
            (Part::Metadata, &live.metadata_device, figures.metadata.total.bytes(), MetaBlocks::SIZE),
        ];
        let mut found = Vec::new();
        for (part, device, takes, block) in parts {
            let larger = match &self.record.backing {
                Backing::Loop(loopback) => {
                    let path = loopback.file(part);
                    path.metadata().ok().map(|file| (path.to_owned(), Bytes(file.len())))
                }
                Backing::Devices(_) => device.as_ref().and_then(|path| Some((path.clone(), size_of(path)?))),
                Backing::ThinPool(_) => None,
            };
            let most = if part == Part::Metadata { MOST_METADATA } else { Bytes(u64::MAX) };
            found.extend(
                larger
                    .filter(|(_, has)| (*has).min(most) - takes >= block)
                    .map(|(path, has)| Problem::DeviceLarger { part, path, has, takes }),
            );
        }
        status.problems.extend(found);
    }

    /// Whether a growth is open that nobody is at: who makes a pool larger has its life lock from before to after.
    fn is_growth_left(&self) -> Result<bool, PoolError> {
        if self.catalog.growth()?.is_none() || Lock::is_held(&self.paths.life_lock()) {
            return Ok(false);
        }
        // It may have come to its end between the two.
        Ok(self.catalog.growth()?.is_some())
    }

    /// Whether the pool is just one step ahead of the catalog, with the intent to be.
    fn is_half_written(&self, figures: &Figures) -> bool {
        let intent = self.catalog.intent().ok().flatten();
        intent.is_some_and(|intent| intent.before.next() == figures.transaction_id)
    }

    /// What the pool lies on, by what it is known by.
    fn lies_on(&self) -> LiesOn {
        let device = |part| {
            let (_, member) = self.record.backing.members().find(|(which, _)| *which == part)?;
            Some(KnownDevice {
                name: member.name.clone(),
                identity: member.identity.to_string(),
                size: member.size,
            })
        };
        match &self.record.backing {
            Backing::Loop(_) => LiesOn::LoopFiles,
            Backing::ThinPool(existing) => LiesOn::ThinPool { name: existing.name.clone() },
            Backing::Devices(devices) => LiesOn::BlockDevices {
                data: device(Part::Data),
                metadata: device(Part::Metadata),
                volume_group: devices.volumes.as_ref().map(|volumes| volumes.vg.clone()),
                metadata_spare: devices.volumes.as_ref().and_then(Volumes::known_spare),
                data_spare: devices
                    .spare
                    .as_ref()
                    .map(|disk| SpareDisk { name: disk.name.clone(), taken: devices.spare_taken }),
            },
        }
    }

    /// Devices under an inactive pool that aren't there, or have become smaller. (An active one holds them.)
    fn missing_devices(&self, status: &mut Status) {
        for (part, member) in self.record.backing.members() {
            let (name, identity) = (member.name.clone(), member.identity.to_string());
            status.problems.extend(match self.host.blocks.find(&member.identity) {
                Ok(Some(device)) if device.size < member.size => {
                    Some(Problem::DeviceShort { part, name, expected: member.size, found: device.size })
                }
                Ok(Some(_)) => None,
                Ok(None) => Some(Problem::DeviceMissing { part, name, identity }),
                Err(error) => Some(Problem::StatusUnreadable { why: error.to_string() }),
            });
        }
        if let Backing::ThinPool(existing) = &self.record.backing {
            status.problems.push(Problem::ThinPoolMissing { name: existing.name.clone() });
        }
    }

    /// Loop files that are gone or were cut short. A half-made pool may not have them yet.
    fn damaged_files(&self, status: &mut Status) {
        if status.state == State::HalfSetUp {
            return;
        }
        let Some(files) = self.record.backing.loop_files() else { return };
        let policy = &self.record.policy;
        for (path, expected) in [(&files.data, policy.data_size), (&files.metadata, policy.metadata_size)] {
            let path = path.clone();
            status.problems.extend(match path.metadata().map(|metadata| Bytes(metadata.len())) {
                Err(error) if error.kind() == NotFound => Some(Problem::LoopFileMissing { path }),
                Ok(found) if found < expected => Some(Problem::LoopFileShort { path, expected, found }),
                // What can't be asked for its length is told with the room left there.
                _ => None,
            });
        }
    }

    /// Two transaction ids that differ, unless an intent is there: what it is about explains one step.
    fn mismatch(&self, expected: TransactionId, found: TransactionId) -> Option<Problem> {
        let explained = matches!(self.catalog.intent(), Ok(Some(intent)) if intent.before.next() == found);
        (expected != found && !explained).then_some(Problem::TransactionMismatch { expected, found })
    }

    /// What an activation would stumble over. A file that can't be opened is told as missing already, or is none of
    /// the superblock's faults. Devices aren't read: a disk that doesn't answer would hold up the status.
    fn superblock_problem(&self, known: Option<&Known>) -> Option<Problem> {
        let file = File::open(&self.record.backing.loop_files()?.metadata).ok()?;
        match Superblock::read(file) {
            Ok(superblock) if superblock.needs_check => Some(Problem::NeedsCheck),
            Ok(superblock) => self.mismatch(known?.transaction_id, superblock.transaction_id),
            Err(SuperblockError::Empty) => Some(Problem::SuperblockDamaged { all_zero: true }),
            Err(SuperblockError::Read(error)) => Some(Problem::StatusUnreadable { why: error.to_string() }),
            Err(_) => Some(Problem::SuperblockDamaged { all_zero: false }),
        }
    }
}

fn figures(usage: &PoolUsage, low_water: DataBlocks) -> Figures {
    Figures {
        data: usage.data,
        metadata: usage.metadata,
        needs_check: usage.needs_check,
        transaction_id: usage.transaction_id,
        no_space: usage.no_space,
        discard: match (usage.discard, usage.discard_passdown) {
            (false, _) => Discard::Ignored,
            (true, true) => Discard::Passdown,
            (true, false) => Discard::NoPassdown,
        },
        low_water,
        metadata_low_water: usage.metadata_low_water,
        held_root: usage.held_metadata_root.map(|root| root.0),
    }
}

impl From<dm::Mode> for Mode {
    fn from(mode: dm::Mode) -> Self {
        match mode {
            dm::Mode::ReadWrite => Self::ReadWrite,
            dm::Mode::OutOfDataSpace => Self::OutOfDataSpace,
            dm::Mode::ReadOnly => Self::ReadOnly,
        }
    }
}

fn host_support(host: &Host) -> HostSupport {
    let versions = host.dm.versions().ok();
    let driver = versions.as_ref().map(|versions| versions.driver.to_string());
    let library = versions.as_ref().and_then(|versions| versions.library.clone());
    // Docker's row is never empty: where no library is installed, the kernel's own version stands in for it.
    let stand_in = || driver.as_ref().map(|driver| format!("kernel driver {driver}"));
    HostSupport {
        udev_sync: host.dm.udev_sync().supported(),
        library_version: library.or_else(stand_in).unwrap_or_else(|| "unknown".to_owned()),
        thin_pool_target: versions.and_then(|versions| versions.thin_pool).map(|version| version.to_string()),
        kernel_driver: driver,
    }
}

fn loop_file(path: &Path) -> LoopFile {
    let space = FileSpace::of(path).ok();
    LoopFile {
        path: path.to_owned(),
        size: space.map(|space| space.logical),
        allocated: space.map(|space| space.allocated),
        file_system_size: space.map(|space| space.total),
        file_system_available: space.map(|space| space.free),
    }
}

/// The size of a block device, from sysfs: the device isn't opened.
fn size_of(node: &Path) -> Option<Bytes> {
    let number = DeviceNumber::of(node).ok()?;
    let sectors = std::fs::read_to_string(format!("/sys/dev/block/{number}/size")).ok()?;
    Some(Sectors(sectors.trim().parse().ok()?).bytes())
}

/// The node of a block device, by the kernel's name for it; of a device-mapper device by the name that people know.
fn node(device: DeviceNumber) -> Option<PathBuf> {
    if let Ok(name) = std::fs::read_to_string(format!("/sys/dev/block/{device}/dm/name")) {
        return Some(Path::new("/dev/mapper").join(name.trim_end()));
    }
    let link = std::fs::read_link(format!("/sys/dev/block/{device}")).ok()?;
    Some(Path::new("/dev").join(link.file_name()?))
}

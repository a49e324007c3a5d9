//! What a pool is to lie on, looked at before anything is changed, and the making of what isn't there yet.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::beside::{self, Metadata};
use super::blank::Look;
use super::{Setup, Wanted, existing};
use crate::backing::block::{BlockDevice, Identity};
use crate::backing::{
    Backing, Devices, Disk, Group, LoopFileError, LoopFiles, Loopback, Member, Part, Volumes,
};
use crate::catalog::{Catalog, Policy, PoolFile};
use crate::pool::lock::{Lock, LockError};
use crate::pool::{ExtendError, Host, Location, Paths, Pool, PoolError, io_error};
use crate::units::{Bytes, PoolName};

/// The least metadata that the kernel's documentation speaks of.
const LEAST_METADATA: Bytes = Bytes::mib(2);

/// The kernel takes a metadata device whose first block is zeroes for a new pool's, and no other.
const SUPERBLOCK: u64 = 4096;

/// Held from the look at devices until they are written down as a pool's, so that no two pools take the same ones.
pub(in crate::pool) fn lock(location: &Location) -> Result<Lock, LockError> {
    // No pool can have this name.
    Lock::exclusive(&location.root.join(".claims.lock"), location.patience)
}

impl Setup {
    /// What the pool will lie on, and what follows from that for its policy. Nothing is changed.
    pub(super) fn claim(&self, host: &Host) -> Result<(Backing, Policy), PoolError> {
        let backing = match &self.wanted {
            Wanted::LoopFiles(directory) => {
                self.look(host).refuse_strange_wipes(&[])?;
                return Ok((claim_files(directory)?, self.policy.clone()));
            }
            Wanted::ThinPool(name) => {
                self.look(host).refuse_strange_wipes(&[])?;
                return existing::claim(host, &self.location, name, &self.policy);
            }
            Wanted::Devices { data, metadata } => self.claim_devices(host, data, metadata.as_deref())?,
            Wanted::Disks { disks, group, sizes } => {
                let (disks, room) = self.look(host).disks(disks)?;
                let made = Group { disks, sizes: *sizes };
                let volumes = Volumes::of_group(group, made.clone());
                volumes.refuse_group(&lvm::Lvm::find()?, &made, room, self.policy.block_size)?;
                Devices { volumes: Some(volumes), ..Devices::default() }
            }
        };
        let spare = self.spare.as_ref().map(|spare| self.claim_spare(host, spare, &backing)).transpose()?;
        let backing = Backing::Devices(Devices { spare: spare.map(Box::new), ..backing });
        let policy = sized(&self.policy, &backing);
        Ok((backing, policy))
    }

    fn claim_devices(&self, host: &Host, data: &Path, metadata: Option<&Path>) -> Result<Devices, PoolError> {
        let data = self.claim_device(host, data, Part::Data)?;
        let metadata = match metadata {
            Some(path) => Metadata::There(host.blocks.look(path)?),
            None => beside::metadata(host, &data, self.policy.block_size)?,
        };
        let member = |device: &BlockDevice| {
            Member::of(device).ok_or_else(|| PoolError::NoIdentity(device.name.clone()))
        };
        let devices = Devices { data: Some(member(&data)?), ..Devices::default() };
        match metadata {
            Metadata::There(device) if device.number == data.number => {
                Err(PoolError::SameDevice(device.name))
            }
            Metadata::There(device) => {
                let device = self.claim_device(host, &device.name, Part::Metadata)?;
                self.look(host).refuse_strange_wipes(&[&data, &device])?;
                Ok(Devices { metadata: Some(member(&device)?), ..devices })
            }
            Metadata::ToMake(id) => {
                self.look(host).refuse_strange_wipes(&[&data])?;
                Ok(Devices { volumes: Some(Volumes::beside(&id)), ..devices })
            }
        }
    }

    fn claim_device(&self, host: &Host, path: &Path, part: Part) -> Result<BlockDevice, PoolError> {
        let device = host.blocks.look(path)?;
        let needed = match part {
            Part::Data => self.policy.block_size.bytes(),
            Part::Metadata => LEAST_METADATA,
        };
        if device.size < needed {
            return Err(PoolError::DeviceTooSmall { part, device: device.name, size: device.size, needed });
        }
        self.look(host).refuse_used(&device)?;
        if part == Part::Metadata && !self.look(host).wipes(&device)? && !is_blank(&device)? {
            return Err(PoolError::NotBlank(device.name));
        }
        Ok(device)
    }

    /// A disk for later. Only LVM can make a device of two, so the data must be on a volume of its.
    fn claim_spare(&self, host: &Host, path: &Path, devices: &Devices) -> Result<Disk, PoolError> {
        if let Some(data) = &devices.data
            && !matches!(&data.identity, Identity::DmUuid(uuid) if uuid.starts_with("LVM-"))
        {
            let why = format!(
                "{} is no volume of LVM's, and nothing else can be made larger by a spare disk; --device in place of --datadev \
                 makes a volume group of whole disks",
                data.name.display()
            );
            return Err(ExtendError::NoGroup { why }.into());
        }
        let spare = host.blocks.look(path)?;
        let given: &[PathBuf] = match &self.wanted {
            Wanted::Disks { disks, .. } => disks,
            _ => &[],
        };
        for other in given {
            if host.blocks.look(other)?.number == spare.number {
                return Err(PoolError::SameDevice(spare.name));
            }
        }
        // What is to be wiped was settled for the others, and is none of its business.
        let (disks, _) = Look { wipe: &[], ..self.look(host) }.disks(&[path.to_owned()])?;
        disks.into_iter().next().ok_or(PoolError::NoIdentity(spare.name))
    }

    fn look<'a>(&'a self, host: &'a Host) -> Look<'a> {
        Look { host, location: &self.location, wipe: &self.wipe }
    }

    /// Makes what was claimed ready for a pool: what may be wiped is, and volumes are made. From here on what is on the
    /// devices is the pool's.
    pub(super) fn make_devices(&self, pool: &mut Pool<'_>, mut devices: Devices) -> Result<(), PoolError> {
        let host = pool.host;
        devices.taken = true;
        set_devices(pool, devices.clone())?;
        for path in &self.wipe {
            host.blocks.wipe(&host.blocks.look(path)?)?;
        }
        if let Some(spare) = &devices.spare {
            Volumes::make_disk(&lvm::Lvm::find()?, spare)?;
        }
        let Some(volumes) = &devices.volumes else { return Ok(()) };
        let lvm = lvm::Lvm::find()?;
        let (uuid, block) = (pool.record.uuid, pool.record.policy.block_size);
        match &volumes.group {
            Some(group) => {
                volumes.make_group(&lvm, &uuid, group, block)?;
                devices.data = Some(made(host, &volumes.data()?.path())?);
            }
            None => volumes.make_metadata(&lvm, &uuid, pool.record.policy.data_size, block)?,
        }
        devices.metadata = Some(made(host, &volumes.metadata()?.path())?);
        set_devices(pool, devices)
    }
}

/// Writes down what the devices are by now.
fn set_devices(pool: &mut Pool<'_>, devices: Devices) -> Result<(), PoolError> {
    pool.record.backing = Backing::Devices(devices);
    pool.record.policy = sized(&pool.record.policy, &pool.record.backing);
    Ok(pool.catalog.set_backing(&pool.record.backing, &pool.record.policy)?)
}

/// A volume that was made a moment ago.
fn made(host: &Host, path: &Path) -> Result<Member, PoolError> {
    let device = host.blocks.look(path)?;
    Member::of(&device).ok_or(PoolError::NoIdentity(device.name))
}

/// The policy with the sizes that the devices have.
fn sized(policy: &Policy, backing: &Backing) -> Policy {
    let mut policy = policy.clone();
    for (part, member) in backing.members() {
        match part {
            Part::Data => policy.data_size = member.size,
            Part::Metadata => policy.metadata_size = member.size,
        }
    }
    policy
}

fn claim_files(directory: &Path) -> Result<Backing, PoolError> {
    let files = LoopFiles::in_directory(directory);
    for path in [&files.data, &files.metadata] {
        if path.try_exists().map_err(io_error("look for", path))? {
            return Err(LoopFileError::Exists(path.clone()).into());
        }
    }
    Ok(Backing::Loop(Loopback { files, ids: None }))
}

/// Another pool under the same root that lies on this, active or not. A catalog that can't be read is an error: it may be the
/// one.
pub(super) fn pool_with(
    location: &Location,
    has: impl Fn(&Backing) -> bool,
) -> Result<Option<String>, PoolError> {
    for entry in location.root.read_dir().map_err(io_error("list", &location.root))? {
        let name = entry.map_err(io_error("list", &location.root))?.file_name();
        let Some(pool) = name.to_str().and_then(|name| name.parse::<PoolName>().ok()) else { continue };
        let path = Paths::new(&location.root, &pool).catalog();
        let record = Catalog::open(&path)?.map(|catalog| catalog.pool()).transpose()?.flatten();
        let backing = match record {
            Some(record) => Some(record.backing),
            // Its catalog is lost, and can be made again as long as nobody takes what it lies on.
            None => PoolFile::read(&path)?.map(|known| known.backing),
        };
        if pool != location.name && backing.is_some_and(|backing| has(&backing)) {
            return Ok(Some(pool.to_string()));
        }
    }
    Ok(None)
}

/// Whether the place of a pool's superblock is blank.
fn is_blank(device: &BlockDevice) -> Result<bool, PoolError> {
    let mut start = Vec::new();
    File::open(&device.node)
        .and_then(|file| file.take(SUPERBLOCK).read_to_end(&mut start))
        .map_err(io_error("read", &device.name))?;
    Ok(start.iter().all(|byte| *byte == 0))
}

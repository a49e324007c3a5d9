//! What a pool lies on: found by what it is known by, checked, and handed to the kernel.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Host, Pool, PoolError, io_error};
use crate::backing::block::{BlockDevice, Identity};
use crate::backing::{Attached, Backing, Devices, Member, Part};
use crate::dm::{Superblock, SuperblockError};
use crate::units::Bytes;

/// How long a loop device of an earlier activation may linger: a probe of udev's that has it open keeps the kernel
/// from detaching the file at once.
const DETACH_PATIENCE: Duration = Duration::from_secs(2);

/// One part of a pool, found on this host.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A loop file.
    File(PathBuf),
    /// A block device.
    Device(BlockDevice),
}

impl Source {
    /// Where it can be read.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Device(device) => &device.node,
        }
    }
}

impl Pool<'_> {
    /// Finds one part of the pool, and makes sure that it is as large as it was.
    pub(super) fn find_part(&self, part: Part) -> Result<Source, PoolError> {
        match &self.record.backing {
            Backing::Loop(loopback) => {
                let (path, expected) = match part {
                    Part::Data => (&loopback.files.data, self.record.policy.data_size),
                    Part::Metadata => (&loopback.files.metadata, self.record.policy.metadata_size),
                };
                let found = Bytes(path.metadata().map_err(io_error("find", path))?.len());
                if found < expected {
                    return Err(PoolError::PartTooShort { path: path.clone(), expected, found });
                }
                Ok(Source::File(path.clone()))
            }
            backing @ Backing::Devices(_) => {
                let member = backing.members().find(|(which, _)| *which == part).map(|(_, member)| member);
                let member = member.ok_or_else(|| PoolError::HalfSetUp(self.name.to_string()))?;
                self.find_member(part, member).map(Source::Device)
            }
            Backing::ThinPool(existing) => Err(PoolError::ExistingNotActive(existing.name.clone())),
        }
    }

    fn find_member(&self, part: Part, member: &Member) -> Result<BlockDevice, PoolError> {
        let device = self.wait_for_member(member)?.ok_or_else(|| PoolError::PartMissing {
            part,
            name: member.name.clone(),
            identity: member.identity.clone(),
            waited: self.device_patience,
        })?;
        if device.size < member.size {
            let (path, expected, found) = (device.name, member.size, device.size);
            return Err(PoolError::PartTooShort { path, expected, found });
        }
        let users = self.host.blocks.users(&device)?;
        if users.is_empty() {
            Ok(device)
        } else {
            Err(PoolError::Obstacles { device: device.name, obstacles: users })
        }
    }

    /// Waits for a device to appear. A volume of LVM that is only inactive is made active.
    fn wait_for_member(&self, member: &Member) -> Result<Option<BlockDevice>, PoolError> {
        if let Some(device) = self.host.blocks.find(&member.identity)? {
            return Ok(Some(device));
        }
        activate_volume(&member.identity)?;
        if let Some(device) = self.host.blocks.find(&member.identity)? {
            return Ok(Some(device));
        }
        tracing::warn!(
            device = %member.name.display(), identity = %member.identity, "waiting up to {:?} for it to appear",
            self.device_patience
        );
        Ok(self.host.blocks.wait_for(&member.identity, self.device_patience)?)
    }

    /// Hands a part to device-mapper: a file gets its loop device.
    pub(super) fn attach(&self, source: &Source) -> Result<Attached, PoolError> {
        match source {
            Source::File(file) => self.attach_file(file),
            Source::Device(device) => Ok(Attached::as_it_is(device.number, device.node.clone())),
        }
    }

    fn attach_file(&self, file: &Path) -> Result<Attached, PoolError> {
        let deadline = Instant::now() + DETACH_PATIENCE;
        // Nothing in the kernel stops two loop devices on one file, or two pools on them.
        while let Some(device) = self.host.loops.find(file)? {
            if Instant::now() >= deadline {
                return Err(PoolError::AttachedElsewhere { path: file.to_owned(), device });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self.host.loops.attach(file)?)
    }

    /// Makes sure that what is to be loaded is this pool's metadata, of the moment that the catalog knows.
    pub(super) fn check_superblock(&self, metadata: &Path) -> Result<Superblock, PoolError> {
        let superblock = self.own_superblock(metadata)?;
        let (known, intent) = (self.catalog.transaction_id()?, self.catalog.intent()?);
        let explained = intent.is_some_and(|intent| superblock.transaction_id == intent.before.next());
        if superblock.transaction_id != known && !explained {
            let catalog = self.paths.catalog();
            return Err(PoolError::Mismatch { catalog, expected: known, found: superblock.transaction_id });
        }
        Ok(superblock)
    }

    /// The superblock of metadata that can be this pool's. The kernel would format an all-zero device as a new pool, without
    /// a word, and write to whatever other pool it were given.
    pub(super) fn own_superblock(&self, metadata: &Path) -> Result<Superblock, PoolError> {
        let superblock = read_superblock(metadata).map_err(|source| PoolError::Superblock {
            pool: self.name.to_string(),
            path: metadata.to_owned(),
            source,
        })?;
        let expected = self.record.policy.block_size;
        if superblock.block_size != expected {
            return Err(PoolError::BlockSizeMismatch { expected, found: superblock.block_size });
        }
        Ok(superblock)
    }

    /// The devices under the pool that are there, which nobody may use: what is refused is refused before anything is lost.
    pub(super) fn unused_members(&self) -> Result<Vec<(Part, BlockDevice)>, PoolError> {
        let mut found = Vec::new();
        for (part, member) in self.record.backing.members() {
            let Some(device) = self.host.blocks.find(&member.identity)? else {
                tracing::warn!(
                    device = %member.name.display(), identity = %member.identity,
                    "not there, so what the pool left on it is not wiped"
                );
                continue;
            };
            let obstacles = self.host.blocks.users(&device)?;
            if !obstacles.is_empty() {
                return Err(PoolError::Obstacles { device: device.name, obstacles });
            }
            found.push((part, device));
        }
        Ok(found)
    }

    /// Wipes what the pool leaves on devices that stay: they are to be as blank as when they were given. They are touched
    /// only if the pool had taken them, and the metadata still is this pool's: they may have been given to somebody
    /// else since.
    pub(super) fn wipe_members(&self, devices: &Devices) -> Result<(), PoolError> {
        if !devices.taken {
            return Ok(());
        }
        let found = self.unused_members()?;
        let Some((_, metadata)) = found.iter().find(|(part, _)| *part == Part::Metadata) else {
            return Ok(());
        };
        match self.check_superblock(&metadata.node) {
            Ok(_) => {}
            // Nothing was loaded yet, or it was wiped by a destroy that was killed then.
            Err(PoolError::Superblock { source: SuperblockError::Empty, .. }) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the pool's devices are not wiped, as they don't look like this pool's any more");
                return Ok(());
            }
        }
        // The metadata last: as long as it is there, the other is known to be the pool's.
        for (_, device) in &found {
            self.host.blocks.wipe(device)?;
        }
        Ok(())
    }
}

pub(super) fn read_superblock(metadata: &Path) -> Result<Superblock, SuperblockError> {
    Superblock::read(File::open(metadata)?)
}

/// Makes a volume of LVM active, if that is what the identity is of. Where LVM doesn't know it, nothing is done.
fn activate_volume(identity: &Identity) -> Result<(), PoolError> {
    let Identity::DmUuid(uuid) = identity else { return Ok(()) };
    if !uuid.starts_with("LVM-") {
        return Ok(());
    }
    let lvm = lvm::Lvm::find()?;
    if let Some(volume) = lvm.lv_of_dm_uuid(uuid)?
        && !volume.active
    {
        lvm.lv_activate(&volume.id)?;
    }
    Ok(())
}

/// Refuses a device that has anything on it, or is in use. What may be wiped is refused only if nobody said so.
pub(super) fn refuse_obstacles(host: &Host, device: &BlockDevice, wipe: bool) -> Result<(), PoolError> {
    let mut obstacles = host.blocks.obstacles(device)?;
    obstacles.retain(|obstacle| !(wipe && obstacle.can_be_wiped()));
    if obstacles.is_empty() {
        return Ok(());
    }
    Err(PoolError::Obstacles { device: device.name.clone(), obstacles })
}

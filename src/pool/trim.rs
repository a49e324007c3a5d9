//! Giving back to the pool, and to the file system under it, what nobody uses.

use super::{Pool, PoolError};
use crate::backing::{Backing, FileSpace};
use crate::catalog::Device;
use crate::dm;
use crate::units::Bytes;

/// How far a trim has come.
pub trait TrimProgress {
    /// The file systems that are to be trimmed have so much together.
    fn begin(&mut self, total: Bytes);
    /// So much more of it is done.
    fn advance(&mut self, bytes: Bytes);
}

/// What a trim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trimmed {
    /// How many containers were trimmed.
    pub containers: usize,
    /// Those that are active and mounted nowhere that we can see: only who uses them can trim them.
    pub out_of_reach: Vec<String>,
    /// Those that could not be trimmed.
    pub failed: Vec<NotTrimmed>,
    /// What the pool has in use, before.
    pub used_before: Bytes,
    /// The same after.
    pub used_after: Bytes,
    /// What the loop file of the data takes up, before and after.
    pub file: Option<(Bytes, Bytes)>,
}

/// A container that could not be trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTrimmed {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

impl Pool<'_> {
    /// Trims every container that is mounted where we can see it, and frees what waits to be deleted. What is freed in the
    /// pool is passed on to what it lies on, as its table says.
    pub fn trim(&mut self, progress: &mut dyn TrimProgress) -> Result<Trimmed, PoolError> {
        let used = |pool: &Self| -> Result<Bytes, PoolError> {
            Ok(pool.usage()?.data.used.bytes(pool.record.policy.block_size))
        };
        let (used_before, file_before) = (used(self)?, self.taken_by_file());
        // What was deleted while it was in use, and no longer is.
        self.reap()?;
        let mut trimmed = Trimmed {
            containers: 0,
            out_of_reach: Vec::new(),
            failed: Vec::new(),
            used_before,
            used_after: used_before,
            file: None,
        };
        let active = self.active_containers()?;
        progress.begin(Bytes(active.iter().map(|(_, device, _)| device.size.0).sum()));
        for (name, device, info) in active {
            self.trim_one(name, &device, &info, &mut trimmed, progress)?;
        }
        trimmed.used_after = used(self)?;
        trimmed.file = file_before.zip(self.taken_by_file());
        Ok(trimmed)
    }

    fn active_containers(&self) -> Result<Vec<(String, Device, dm::Info)>, PoolError> {
        let mut active = Vec::new();
        for container in self.catalog.containers()? {
            if let Some(info) = self.active_device(&container.device)? {
                active.push((container.name, container.device, info));
            }
        }
        Ok(active)
    }

    /// Trims one container. That one fails is no reason to leave the others.
    fn trim_one(
        &self,
        name: String,
        device: &Device,
        info: &dm::Info,
        trimmed: &mut Trimmed,
        progress: &mut dyn TrimProgress,
    ) -> Result<(), PoolError> {
        let Some(mount) = self.host.fs.mounts(info.device)?.into_iter().next() else {
            trimmed.out_of_reach.push(name);
            progress.advance(device.size);
            return Ok(());
        };
        match self.host.fs.trim(info.device, device.size, &mount.at, &mut |bytes| progress.advance(bytes)) {
            Ok(Some(_)) => trimmed.containers += 1,
            Ok(None) => trimmed.out_of_reach.push(name),
            Err(error) => trimmed.failed.push(NotTrimmed { name, why: error.to_string() }),
        }
        Ok(())
    }

    /// What the file with the data takes up of the host's file system.
    fn taken_by_file(&self) -> Option<Bytes> {
        let Backing::Loop(loopback) = &self.record.backing else { return None };
        FileSpace::of(&loopback.files.data).ok().map(|space| space.allocated)
    }
}

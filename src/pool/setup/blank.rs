//! Devices that are to be a pool's: nothing may be on them, and nobody may use them.

use std::path::PathBuf;

use super::claim::pool_with;
use crate::backing::Disk;
use crate::backing::block::BlockDevice;
use crate::pool::backing::refuse_obstacles;
use crate::pool::{Host, Location, PoolError};
use crate::units::Bytes;

/// A look at devices that somebody wants to give to a pool. Nothing is changed by it.
pub(in crate::pool) struct Look<'a> {
    pub(in crate::pool) host: &'a Host,
    /// The pool that they are for.
    pub(in crate::pool) location: &'a Location,
    /// The devices of which somebody said that they may be wiped.
    pub(in crate::pool) wipe: &'a [PathBuf],
}

impl Look<'_> {
    /// The disks, and how much room they have.
    pub(in crate::pool) fn disks(&self, disks: &[PathBuf]) -> Result<(Vec<Disk>, Bytes), PoolError> {
        let mut found: Vec<BlockDevice> = Vec::new();
        for path in disks {
            let device = self.host.blocks.look(path)?;
            if found.iter().any(|other| other.number == device.number) {
                return Err(PoolError::SameDevice(device.name));
            }
            self.refuse_used(&device)?;
            found.push(device);
        }
        self.refuse_strange_wipes(&found.iter().collect::<Vec<_>>())?;
        let room = Bytes(found.iter().map(|device| device.size.0).sum());
        Ok((found.iter().map(Disk::new).collect(), room))
    }

    /// Refuses a device that has anything on it, is in use, or is another pool's.
    pub(in crate::pool) fn refuse_used(&self, device: &BlockDevice) -> Result<(), PoolError> {
        if let Some(pool) = pool_with(self.location, |backing| {
            backing.identities().any(|it| device.identity.as_ref() == Some(it))
        })? {
            return Err(PoolError::UsedByPool { device: device.name.clone(), pool });
        }
        refuse_obstacles(self.host, device, self.wipes(device)?)
    }

    /// Whether somebody said that the device may be wiped, by whatever of its names.
    pub(in crate::pool) fn wipes(&self, device: &BlockDevice) -> Result<bool, PoolError> {
        for path in self.wipe {
            if self.host.blocks.look(path)?.number == device.number {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is to be wiped must be what the pool is to lie on: anything else is a slip.
    pub(in crate::pool) fn refuse_strange_wipes(&self, taken: &[&BlockDevice]) -> Result<(), PoolError> {
        for path in self.wipe {
            let device = self.host.blocks.look(path)?;
            if !taken.iter().any(|taken| taken.number == device.number) {
                return Err(PoolError::WipeOfStranger(path.clone()));
            }
        }
        Ok(())
    }
}

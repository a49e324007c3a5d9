//! Growing a device, and the file system in it.
//!
//! The new size goes to the catalog first, with a note that the file system is still to follow. Whatever happens then, the
//! next who activates the device gives the kernel that size, and who mounts or resizes it grows the file system, until the
//! note is gone. A device that is longer than its file system is in nobody's way meanwhile.

use super::device::{LARGEST, SIZE_STEP, Use};
use super::lock::Lock;
use super::{Holders, Pool, PoolError};
use crate::catalog::Device;
use crate::dm::{self, Removal};
use crate::fs::MountOptions;
use crate::units::Bytes;

/// What becomes of a device's node after it was grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// It is a user's.
    Stays,
    /// Nobody asked for it; perhaps one who died at this left it.
    Goes,
}

/// How far a growth came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grown {
    /// The device and its file system.
    Whole,
    /// Only the device: somebody has it open who may have his own file system in it mounted, such as a virtual machine. Two
    /// kernels that write to one file system would destroy it.
    DeviceOnly(Holders),
}

impl Pool<'_> {
    /// Does what is left of a growth that the catalog knows of.
    pub(super) fn finish_growth(&mut self, device: &Device, node: Node) -> Result<Grown, PoolError> {
        let usage = if node == Node::Stays { Use::Users } else { Use::Own };
        let info = self.activate_device(device, usage)?;
        let grown = self.grow_file_system(device, &info);
        if node == Node::Goes {
            self.deactivate_device(device, Removal::Now)?;
        }
        let grown = grown?;
        if grown == Grown::Whole {
            self.catalog.end_device_growth(device.id)?;
        }
        Ok(grown)
    }

    /// Finishes what growths of dead processes left, where nobody works on the device or has it open. One that can't be
    /// finished is no reason to fail: whoever mounts or resizes it tries again.
    pub(super) fn finish_growths(&mut self) -> Result<(), PoolError> {
        for device in self.catalog.growing_devices()? {
            let Some(_lock) = Lock::try_exclusive(&self.paths.device_lock(device.id))? else { continue };
            if self.active_device(&device)?.is_some_and(|info| info.open_count > 0) {
                continue;
            }
            let kept = self.catalog.remembered_containers()?.iter().any(|one| one.device.id == device.id);
            let finished = self.finish_growth(&device, if kept { Node::Stays } else { Node::Goes });
            if let Err(error) = finished {
                tracing::warn!(device = %device.node, %error, "its file system is smaller than the device");
            }
        }
        Ok(())
    }

    fn grow_file_system(&self, device: &Device, info: &dm::Info) -> Result<Grown, PoolError> {
        let mounted = self.is_mounted(info)?;
        if !mounted && self.after_probes(device)?.is_some_and(|info| info.open_count > 0) {
            return Ok(Grown::DeviceOnly(self.holders(info)));
        }
        // What a mount of somebody's was told of a full pool stays as it is.
        let options = if mounted { MountOptions::default() } else { self.disposable_mount() };
        let (kind, node) = (self.record.policy.filesystem, info.device.kernel_node());
        self.host.fs.grow(kind, &node, device.size, &options)?;
        Ok(Grown::Whole)
    }

    /// Whether the file system is mounted anywhere, and refuses where it is so for reading only.
    pub(super) fn is_mounted(&self, info: &dm::Info) -> Result<bool, PoolError> {
        let mut mounts = self.host.fs.mounts(info.device)?;
        if mounts.is_empty() && info.open_count > 0 {
            let elsewhere = self.host.fs.mounts_elsewhere(info.device)?;
            mounts = elsewhere.into_iter().flat_map(|namespace| namespace.mounts).collect();
        }
        match mounts.iter().find(|mount| mount.file_system_read_only) {
            Some(mount) => Err(PoolError::MountedReadOnly { at: mount.at.clone() }),
            None => Ok(!mounts.is_empty()),
        }
    }
}

/// Refuses what no device can have.
pub(super) fn check_size(size: Bytes) -> Result<(), PoolError> {
    if size.0.is_multiple_of(SIZE_STEP.0) && size <= LARGEST { Ok(()) } else { Err(PoolError::Size(size)) }
}

//! What a pool stands on: the kernel's device-mapper, loop devices and file systems, or a test's.

use std::sync::Arc;
use std::time::Duration;

use super::PoolError;
use crate::backing::block::{BlockDevices, SystemBlockDevices};
use crate::backing::{LoopDevices, SystemLoops};
use crate::dm::{self, DeviceMapper, Kernel};
use crate::fs::{FileSystems, SystemFileSystems};
use crate::thin_metadata::{MetadataReader, SystemMetadata};
use crate::thin_tools::{MetadataChecker, MetadataTools, ThinCheck, ThinProvisioningTools};

/// The things that a pool asks for anything outside its own directory.
pub struct Host {
    /// Device-mapper.
    pub dm: Arc<dyn DeviceMapper>,
    /// Loop devices.
    pub loops: Arc<dyn LoopDevices>,
    /// Block devices.
    pub blocks: Arc<dyn BlockDevices>,
    /// File systems.
    pub fs: Arc<dyn FileSystems>,
    /// The checker of metadata.
    pub checker: Arc<dyn MetadataChecker>,
    /// What makes metadata anew.
    pub tools: Arc<dyn MetadataTools>,
    /// The reader of metadata.
    pub metadata: Arc<dyn MetadataReader>,
}

impl Host {
    /// The system this runs on. No wait for udev lasts longer than the timeout.
    pub fn system(udev_timeout: Duration) -> Result<Self, dm::Error> {
        Ok(Self {
            dm: Arc::new(Kernel::open(udev_timeout)?),
            loops: Arc::new(SystemLoops),
            blocks: Arc::new(SystemBlockDevices),
            fs: Arc::new(SystemFileSystems),
            checker: Arc::new(ThinCheck),
            tools: Arc::new(ThinProvisioningTools),
            metadata: Arc::new(SystemMetadata),
        })
    }

    /// A device-mapper device that must have this uuid if it is there at all: any other is somebody else's.
    pub(super) fn find_ours(&self, name: &dm::Name, uuid: &dm::Uuid) -> Result<Option<dm::Info>, PoolError> {
        let Some(info) = self.dm.find(name)? else { return Ok(None) };
        if info.uuid.as_deref() == Some(uuid.as_str()) {
            return Ok(Some(info));
        }
        let found = info.uuid.unwrap_or_else(|| "none".to_owned());
        Err(PoolError::Foreign { name: name.clone(), expected: uuid.clone(), found })
    }
}

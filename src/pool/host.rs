//! What a pool stands on: the kernel's device-mapper, loop devices and file systems, or a test's.

use std::sync::Arc;
use std::time::Duration;

use crate::backing::{LoopDevices, SystemLoops};
use crate::dm::{self, DeviceMapper, Kernel};
use crate::fs::{FileSystems, SystemFileSystems};

/// The three things that a pool asks for anything outside its own directory.
pub struct Host {
    /// Device-mapper.
    pub dm: Arc<dyn DeviceMapper>,
    /// Loop devices.
    pub loops: Arc<dyn LoopDevices>,
    /// File systems.
    pub fs: Arc<dyn FileSystems>,
}

impl Host {
    /// The system this runs on. No wait for udev lasts longer than the timeout.
    pub fn system(udev_timeout: Duration) -> Result<Self, dm::Error> {
        Ok(Self {
            dm: Arc::new(Kernel::open(udev_timeout)?),
            loops: Arc::new(SystemLoops),
            fs: Arc::new(SystemFileSystems),
        })
    }
}

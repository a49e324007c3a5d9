//! What the devices of a pool hold and write, as far as it is told without a look into the pool's metadata: cheap enough
//! to be asked every second.

use super::{Host, Location, Pool, PoolError};
use crate::dm::{DeviceNumber, ThinStatus};
use crate::units::{Bytes, Sectors};

/// A device that has a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceActivity {
    /// What it is called: the name of its node without the pool's, which is a container's own name.
    pub name: String,
    /// How much of it has blocks, shared ones included, from the kernel's status; none if the pool failed.
    pub mapped: Option<Bytes>,
    /// What was written to it since it has its node, from the kernel's counters in sysfs.
    pub written: Option<Bytes>,
}

impl Location {
    /// What each active device of the pool holds and has written; none of a pool that isn't there.
    pub fn activity(&self, host: &Host) -> Result<Vec<DeviceActivity>, PoolError> {
        Pool::open_in_any_state(host, self)?.map_or_else(|| Ok(Vec::new()), |pool| pool.activity())
    }
}

impl Pool<'_> {
    fn activity(&self) -> Result<Vec<DeviceActivity>, PoolError> {
        let mut found = Vec::new();
        let prefix = format!("{}-", self.name);
        for info in self.nodes()? {
            let mapped = match self.host.dm.thin_status(&info.name) {
                Ok(ThinStatus::Working(usage)) => Some(usage.mapped.bytes()),
                // One that failed, or was removed since.
                Ok(ThinStatus::Fail | ThinStatus::Error) | Err(_) => None,
            };
            let name = info.name.as_str();
            found.push(DeviceActivity {
                name: name.strip_prefix(&prefix).unwrap_or(name).to_owned(),
                mapped,
                written: written(info.device),
            });
        }
        Ok(found)
    }
}

/// The seventh number of a block device's statistics: sectors written (the kernel's Documentation/block/stat.rst).
fn written(device: DeviceNumber) -> Option<Bytes> {
    let numbers = std::fs::read_to_string(format!("/sys/dev/block/{device}/stat")).ok()?;
    Some(Sectors(numbers.split_ascii_whitespace().nth(6)?.parse().ok()?).bytes())
}

//! Loop devices on the pool's files.

use super::finding::{Finding, Remedy};
use super::view::View;
use crate::backing::Part;
use crate::dm::{DeviceNumber, Table};
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};

pub(super) fn look(pool: &Pool<'_>, _: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let Some(files) = pool.record.backing.loop_files() else { return Ok(()) };
    let table = match pool.active()?.filter(|info| info.live) {
        Some(_) => pool.host.dm.table(&pool.device)?,
        None => None,
    };
    let used = |part| match &table {
        Some(Table::ThinPool(table)) if part == Part::Data => Some(table.data),
        Some(Table::ThinPool(table)) => Some(table.metadata),
        _ => None,
    };
    for (part, file) in [(Part::Data, &files.data), (Part::Metadata, &files.metadata)] {
        match pool.host.loops.find_all(file) {
            Ok(devices) => {
                let strays = devices.into_iter().filter(|device| Some(*device) != used(part));
                findings.extend(strays.map(|device| stray(device, &file.display().to_string())));
            }
            Err(error) => findings.push(Finding::new(
                "not_looked_at",
                Severity::Warning,
                format!("the loop devices on {} could not be looked at: {error}", file.display()),
                Remedy::Nothing,
            )),
        }
    }
    Ok(())
}

/// Ours are detached by the kernel when their last user is gone, however that ended. So this is somebody else's.
fn stray(device: DeviceNumber, file: &str) -> Finding {
    let name = format!("/dev/loop{}", device.minor);
    Finding::new(
        "loop_stray",
        Severity::Warning,
        format!(
            "{name} is on {file}, and the pool doesn't use it: what is written through it destroys the pool"
        ),
        Remedy::ByHand(format!("`losetup -d {name}`, if nobody needs it; it was not made by this program")),
    )
}

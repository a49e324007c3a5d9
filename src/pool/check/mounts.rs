//! Mounts of the pool's devices, and the directories that were made for them.

use std::io::ErrorKind::NotFound;
use std::path::Path;

use super::devices::told;
use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::catalog::DeviceKind;
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError, io_error};
use crate::units::DeviceId;

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    for (info, id) in view.thin_nodes(pool) {
        let id = id.parse().ok().and_then(|id: u32| DeviceId::try_from(id).ok());
        let entry = id.and_then(|id| view.entry(id));
        // A container may be mounted anywhere. What no record knows is told with its node.
        let Some(entry) = entry.filter(|entry| entry.device.kind != DeviceKind::Container) else { continue };
        for mount in view.mounts_of(info.device) {
            let at = mount.at.display();
            findings.push(Finding::new(
                "mount_stray",
                Severity::Warning,
                format!(
                    "{} is mounted at {at}: what is written there is in every image made on it",
                    told(entry)
                ),
                Remedy::ByHand(format!("`umount {at}`: this program doesn't mount it where anybody sees it")),
            ));
        }
    }
    directories(pool, view, findings)
}

fn directories(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let mounts = pool.paths.mounts();
    let listed = match mounts.read_dir() {
        Err(error) if error.kind() == NotFound => return Ok(()),
        listed => {
            listed.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(io_error("list", &mounts))?
        }
    };
    for directory in listed.into_iter().map(|entry| entry.path()) {
        if view.mounts.iter().any(|mount| mount.at == directory) {
            continue;
        }
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let container = view.entries.iter().find(|entry| entry.container.as_deref() == Some(name.as_str()));
        let idle = match container {
            Some(entry) => pool.not_worked_on(entry.device.id)?.map(drop),
            None => Some(()),
        };
        // Somebody is just about to mount it, or has done so since.
        if idle.is_none() || pool.host.fs.all_mounts()?.iter().any(|mount| mount.at == directory) {
            continue;
        }
        findings.extend(left(&directory));
    }
    Ok(())
}

/// A directory that nothing is mounted at.
fn left(directory: &Path) -> Option<Finding> {
    let at = directory.display();
    // It went while we looked.
    let is_empty = directory.read_dir().ok()?.next().is_none();
    Some(if is_empty {
        let remedy = Remedy::Repair(Repair::RemoveDirectory(directory.to_owned()));
        Finding::new("mount_point_left", Severity::Note, format!("nothing is mounted at {at}"), remedy)
    } else {
        let remedy = Remedy::ByHand("move them away, if anybody needs them".to_owned());
        let sentence = format!("nothing is mounted at {at}, and there are files in it");
        Finding::new("mount_point_left", Severity::Note, sentence, remedy)
    })
}

//! The pool's device-mapper nodes: whether each is somebody's.

use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::catalog::{DeviceKind, DeviceState};
use crate::dm::{self, Table};
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError};
use crate::units::DeviceId;

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let ours = view.thin_nodes(pool);
    for (info, id) in &ours {
        let id = id.parse().ok().and_then(|id: u32| DeviceId::try_from(id).ok());
        if let Some(why) = stray(pool, view, info, id)? {
            findings.push(finding(view, info, &why));
        }
    }
    let Some(own) = pool.active()?.filter(|info| info.live) else { return Ok(()) };
    for info in view.nodes.iter().filter(|info| !ours.iter().any(|(ours, _)| ours.name == info.name)) {
        if let Ok(Some(Table::Thin(thin))) = pool.host.dm.table(&info.name)
            && thin.pool == own.device
        {
            findings.push(foreign(info, thin.id));
        }
    }
    Ok(())
}

/// Why nobody needs a node, if that is so.
fn stray(
    pool: &Pool<'_>,
    view: &View,
    info: &dm::Info,
    id: Option<DeviceId>,
) -> Result<Option<String>, PoolError> {
    let Some(id) = id else { return Ok(Some("its uuid names no device".to_owned())) };
    let Some(_idle) = pool.not_worked_on(id)? else { return Ok(None) };
    // It may be gone, or in use, since the view was taken.
    let Some(info) = pool.host.dm.find(&info.name)?.filter(|now| now.uuid == info.uuid) else {
        return Ok(None);
    };
    let Some(device) = pool.catalog.device(id)? else {
        return Ok(Some(format!("the catalog has no device {id}")));
    };
    if device.node != info.name {
        return Ok(Some(format!("the catalog calls the device {id} {}", device.node)));
    }
    if !info.live {
        return Ok(Some("it has no table: whoever made it died".to_owned()));
    }
    let unused = info.open_count == 0 && view.mounts_of(info.device).next().is_none();
    // What the kernel removes by itself, and what is told as unfinished.
    if info.deferred_remove || !unused || device.state != DeviceState::Ready {
        return Ok(None);
    }
    let wanted = view.entry(id).is_some_and(|entry| entry.active);
    Ok(match device.kind {
        DeviceKind::Container if wanted => None,
        DeviceKind::Container => Some("nobody has activated or mounted its container".to_owned()),
        DeviceKind::Base | DeviceKind::Image => Some("nobody works on it".to_owned()),
    })
}

fn finding(view: &View, info: &dm::Info, why: &str) -> Finding {
    let mounted = view.mounts_of(info.device).next().map(|mount| mount.at.display().to_string());
    let sentence = format!("the device-mapper node {} belongs to nobody: {why}", info.name);
    let remedy = match mounted {
        Some(at) => Remedy::ByHand(format!("it is mounted at {at}: unmount it, and repair then removes it")),
        None if info.open_count > 0 => Remedy::ByHand(format!(
            "it is open {} times (`fuser -v {}` shows by whom): repair removes it when it no longer is",
            info.open_count,
            info.name.path().display()
        )),
        None => Remedy::Repair(Repair::RemoveNode(info.name.clone())),
    };
    Finding::new("node_stray", Severity::Warning, sentence, remedy)
}

fn foreign(info: &dm::Info, id: DeviceId) -> Finding {
    Finding::new(
        "node_foreign",
        Severity::Warning,
        format!(
            "the device-mapper node {} is on the pool's device {id} and was not made by this program: written through two \
             nodes, a device is destroyed",
            info.name
        ),
        Remedy::ByHand(format!("`dmsetup remove {}`, if nobody needs it", info.name)),
    )
}

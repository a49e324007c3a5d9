//! What killed commands leave outside of catalog and pool: files of locks, semaphores.

use std::io::ErrorKind::NotFound;

use super::finding::{Finding, Remedy, Repair};
use super::view::View;
use crate::pool::lock::Lock;
use crate::pool::status::Severity;
use crate::pool::{Pool, PoolError, io_error};
use crate::units::DeviceId;

pub(super) fn look(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    locks(pool, view, findings)?;
    cookies(pool, findings);
    Ok(())
}

/// The files of locks on devices that are no more. The kernel lets go of a lock by itself; its file stays.
fn locks(pool: &Pool<'_>, view: &View, findings: &mut Vec<Finding>) -> Result<(), PoolError> {
    let locks = pool.paths.locks();
    let listed = match locks.read_dir() {
        Err(error) if error.kind() == NotFound => return Ok(()),
        listed => {
            listed.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(io_error("list", &locks))?
        }
    };
    for path in listed.into_iter().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = name.parse().ok().and_then(|id: u32| DeviceId::try_from(id).ok());
        let Some(id) = id else { continue };
        // What the pool has and no record knows is told as such, and keeps its lock when it is adopted.
        let is_in_pool = view.devices.as_ref().is_ok_and(|devices| devices.contains_key(&id));
        if is_in_pool || view.claimed.contains(&i64::from(id.get())) {
            continue;
        }
        // One that is held belongs to a device that is just being made.
        let Some(lock) = Lock::try_exclusive(&path)? else { continue };
        if pool.catalog.device(id)?.is_none() {
            findings.push(Finding::new(
                "lock_left",
                Severity::Note,
                format!("{} is the lock of a device that is no more", path.display()),
                Remedy::Repair(Repair::RemoveLock(path.clone())),
            ));
        }
        drop(lock);
    }
    Ok(())
}

/// Semaphores of libdevmapper's. Whose they are nobody can tell: LVM's look the same.
fn cookies(pool: &Pool<'_>, findings: &mut Vec<Finding>) {
    let left = match pool.host.dm.abandoned_cookies() {
        Ok(cookies) => cookies.left,
        Err(error) => {
            let sentence = format!("semaphores could not be looked at: {error}");
            findings.push(Finding::note("not_looked_at", sentence));
            return;
        }
    };
    if left.is_empty() {
        return;
    }
    let told: Vec<String> = left.iter().map(ToString::to_string).collect();
    findings.push(Finding::new(
        "cookies_left",
        Severity::Note,
        format!("commands that died while they waited for udev left the semaphores {}", told.join(", ")),
        Remedy::ByHand(
            "`dmsetup udevcomplete_all 1` removes them; they may be of LVM's as well, so repair doesn't"
                .to_owned(),
        ),
    ));
}

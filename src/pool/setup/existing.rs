//! A thin pool that is there already: taken only if nobody has anything in it.

use crate::backing::{Backing, ExistingPool};
use crate::catalog::Policy;
use crate::dm::{self, Info, PoolStatus, Table};
use crate::pool::{Host, PoolError};
use crate::units::TransactionId;

/// Makes sure that the pool is one, is active and is nobody's, and takes over its block size. Nothing is changed.
pub(super) fn claim(host: &Host, name: &str, policy: &Policy) -> Result<(Backing, Policy), PoolError> {
    let device = dm::Name::new(name)?;
    let info = host.dm.find(&device)?.filter(|info| info.live);
    let info = info.ok_or_else(|| PoolError::ExistingNotActive(name.to_owned()))?;
    let Some(Table::ThinPool(table)) = host.dm.table(&device)? else {
        let behind = dm::Name::new(format!("{name}-tpool"))?;
        let meant = matches!(host.dm.find(&behind)?, Some(info) if info.live).then(|| behind.to_string());
        return Err(PoolError::NotAThinPool { name: name.to_owned(), meant });
    };
    if let Some(whose) = user_of(host, &info)? {
        return Err(PoolError::ExistingInUse { pool: name.to_owned(), whose });
    }
    // By what else would it be told from another of its name?
    let uuid = info
        .uuid
        .filter(|uuid| !uuid.is_empty())
        .ok_or_else(|| PoolError::ExistingUnmarked(name.to_owned()))?;
    let policy = Policy {
        block_size: table.block_size,
        data_size: table.length.bytes(),
        // Nobody but its owner loads it, so what the owner chose holds.
        zero_new_blocks: !table.features.contains(&dm::Feature::SkipBlockZeroing),
        ..policy.clone()
    };
    Ok((Backing::ThinPool(ExistingPool { name: name.to_owned(), uuid }), policy))
}

/// Who uses a pool, and by what that shows.
fn user_of(host: &Host, pool: &Info) -> Result<Option<String>, PoolError> {
    let uuid = pool.uuid.clone().unwrap_or_default();
    if uuid.starts_with("THINPOOL-") {
        return Ok(Some("it is a pool of this program's own (`thinpool --pool NAME status`)".to_owned()));
    }
    if let Some(whose) = device_in(host, pool, None)? {
        return Ok(Some(whose));
    }
    let PoolStatus::Working(usage) = host.dm.pool_status(&pool.name)? else {
        return Ok(Some("it has failed, and can't be read".to_owned()));
    };
    let owner =
        if uuid.starts_with("LVM-") { "thin volumes of LVM's" } else { "devices of another program's" };
    // LVM raises the transaction id with each volume, Docker with each device; containerd doesn't, but fills blocks.
    if usage.transaction_id != TransactionId::default() {
        let id = usage.transaction_id;
        return Ok(Some(format!("its transaction id is {id}, so there are or were {owner} in it")));
    }
    if usage.data.used.0 > 0 {
        return Ok(Some(format!("{} of its blocks are in use, by {owner}", usage.data.used.0)));
    }
    Ok(None)
}

/// An active thin device in a pool, by who made it; not one whose uuid begins with this.
pub(in crate::pool) fn device_in(
    host: &Host,
    pool: &Info,
    ours: Option<&str>,
) -> Result<Option<String>, PoolError> {
    for name in host.dm.list()? {
        if let Some(Table::Thin(thin)) = host.dm.table(&name)?
            && thin.pool == pool.device
        {
            let uuid = host.dm.find(&name)?.and_then(|info| info.uuid);
            if !ours.is_some_and(|ours| uuid.as_ref().is_some_and(|uuid| uuid.starts_with(ours))) {
                return Ok(Some(told(&name, uuid.as_deref())));
            }
        }
    }
    Ok(None)
}

/// A thin device in the pool, by who made it.
fn told(name: &dm::Name, uuid: Option<&str>) -> String {
    let whose = match (uuid, name.as_str()) {
        (Some(uuid), _) if uuid.starts_with("LVM-") => "LVM's",
        (Some(uuid), _) if uuid.starts_with("THINPOOL-") => "of another pool of this program's",
        (_, name) if name.starts_with("docker-") => "Docker's",
        (_, name) if name.contains("-snap-") => "containerd's",
        _ => "of a program that left no mark",
    };
    format!("it has the thin device {name}, which is {whose}")
}

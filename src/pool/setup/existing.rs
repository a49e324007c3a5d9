//! A thin pool that is there already: taken only if nobody has anything in it.

use super::claim::pool_with;
use crate::backing::{Backing, ExistingPool};
use crate::catalog::Policy;
use crate::dm::{self, Feature, Info, PoolStatus, Table, ThinPool};
use crate::pool::{Host, Location, PoolError};
use crate::units::TransactionId;

/// Makes sure that the pool is one, is active and is nobody's, and takes over its block size. Nothing is changed.
pub(super) fn claim(
    host: &Host,
    location: &Location,
    name: &str,
    policy: &Policy,
) -> Result<(Backing, Policy), PoolError> {
    let device = dm::Name::new(name)?;
    let info = host.dm.find(&device)?.filter(|info| info.live);
    let info = info.ok_or_else(|| PoolError::ExistingNotActive(name.to_owned()))?;
    let Some(Table::ThinPool(table)) = host.dm.table(&device)? else {
        let behind = dm::Name::new(format!("{name}-tpool"))?;
        let meant = matches!(host.dm.find(&behind)?, Some(info) if info.live).then(|| behind.to_string());
        return Err(PoolError::NotAThinPool { name: name.to_owned(), meant });
    };
    let uuid = info.uuid.clone().filter(|uuid| !uuid.is_empty());
    let is_it =
        |other: &Backing| matches!(other, Backing::ThinPool(other) if Some(&other.uuid) == uuid.as_ref());
    if let Some(pool) = pool_with(location, is_it)? {
        return Err(PoolError::UsedByPool { device: name.into(), pool });
    }
    // Before its uuid is missed: whoever has something in it should hear that, and not how to have it taken.
    if let Some(User { whose, maybe_ours }) = user_of(host, &info)? {
        return Err(PoolError::ExistingInUse { pool: name.to_owned(), whose, maybe_ours });
    }
    // By what else would it be told from another of its name?
    let uuid = uuid.ok_or_else(|| PoolError::ExistingUnmarked(name.to_owned()))?;
    let backing = Backing::ThinPool(ExistingPool { name: name.to_owned(), uuid });
    Ok((backing, policy_of_owner(policy, &table)))
}

/// The policy for a pool of somebody else's: nobody but its owner loads it, so what the owner chose holds.
pub(in crate::pool) fn policy_of_owner(policy: &Policy, table: &ThinPool) -> Policy {
    Policy {
        block_size: table.block_size,
        data_size: table.length.bytes(),
        zero_new_blocks: !table.features.contains(&Feature::SkipBlockZeroing),
        ..policy.clone()
    }
}

/// Who uses a pool, and by what that shows.
struct User {
    whose: String,
    /// Whether it may be a pool of this program whose catalog is lost. A pool's metadata keeps no mark of ours: only the
    /// devices that are active have one, and that our pools are never at the transaction id that they began with.
    maybe_ours: bool,
}

impl User {
    fn other(whose: impl Into<String>) -> Self {
        Self { whose: whose.into(), maybe_ours: false }
    }
}

fn user_of(host: &Host, pool: &Info) -> Result<Option<User>, PoolError> {
    let uuid = pool.uuid.clone().unwrap_or_default();
    if uuid.starts_with(OURS) {
        return Ok(Some(User::other("it is a pool of this program's own (`thinpool --pool NAME status`)")));
    }
    if let Some(device) = device_in(host, pool, None)? {
        return Ok(Some(User { maybe_ours: device.is_ours(), whose: device.told() }));
    }
    let PoolStatus::Working(usage) = host.dm.pool_status(&pool.name)? else {
        return Ok(Some(User::other("it has failed, and can't be read")));
    };
    let owner =
        if uuid.starts_with("LVM-") { "thin volumes of LVM's" } else { "devices of another program's" };
    // LVM raises the transaction id with each volume, Docker with each device; containerd doesn't, but fills blocks.
    if usage.transaction_id != TransactionId::default() {
        let id = usage.transaction_id;
        let whose = format!("its transaction id is {id}, so there are or were {owner} in it");
        return Ok(Some(User { whose, maybe_ours: true }));
    }
    if usage.data.used.0 > 0 {
        return Ok(Some(User::other(format!("{} of its blocks are in use, by {owner}", usage.data.used.0))));
    }
    Ok(None)
}

/// How the uuids of all devices of this program's begin.
const OURS: &str = "THINPOOL-";

/// An active thin device.
pub(in crate::pool) struct ThinDevice {
    name: dm::Name,
    uuid: String,
}

/// An active thin device in a pool, by who made it; not one whose uuid begins with this.
pub(in crate::pool) fn device_in(
    host: &Host,
    pool: &Info,
    ours: Option<&str>,
) -> Result<Option<ThinDevice>, PoolError> {
    for name in host.dm.list()? {
        if let Some(Table::Thin(thin)) = host.dm.table(&name)?
            && thin.pool == pool.device
        {
            let uuid = host.dm.find(&name)?.and_then(|info| info.uuid).unwrap_or_default();
            if !ours.is_some_and(|ours| uuid.starts_with(ours)) {
                return Ok(Some(ThinDevice { name, uuid }));
            }
        }
    }
    Ok(None)
}

impl ThinDevice {
    fn is_ours(&self) -> bool {
        self.uuid.starts_with(OURS)
    }

    /// The device, by who made it.
    pub(in crate::pool) fn told(&self) -> String {
        let name = &self.name;
        let whose = match name.as_str() {
            _ if self.uuid.starts_with("LVM-") => "LVM's",
            _ if self.is_ours() => "of a pool of this program's that has no catalog here",
            name if name.starts_with("docker-") => "Docker's",
            name if name.contains("-snap-") => "containerd's",
            _ => "of a program that left no mark",
        };
        format!("it has the thin device {name}, which is {whose}")
    }
}

//! What catalog, pool and host say at one moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Entry, Intent, Suspect};
use crate::dm::{self, PoolStatus, Superblock, Uuid};
use crate::fs::Mount;
use crate::pool::lock::Lock;
use crate::pool::{Pool, PoolError};
use crate::thin_metadata::ThinDevice;
use crate::units::{DeviceId, TransactionId};

/// All that must be of one moment, to be compared.
pub(in crate::pool) struct View {
    /// The records that can be understood.
    pub(super) entries: Vec<Entry>,
    /// Those that can't, or that lead nowhere.
    pub(super) suspects: Vec<Suspect>,
    /// The ids that any record has.
    pub(super) claimed: BTreeSet<i64>,
    /// The change that a process died in.
    pub(super) intent: Option<Intent>,
    /// The transaction id that the catalog knows.
    pub(super) expected: TransactionId,
    /// The pool's, if it could be read.
    pub(super) transaction: Option<TransactionId>,
    /// The superblock, if it could be read.
    pub(super) superblock: Option<Superblock>,
    /// The devices that the pool has, or why they couldn't be read.
    pub(super) devices: Result<BTreeMap<DeviceId, ThinDevice>, String>,
    /// Whether the pool is active.
    pub(super) active: bool,
    /// Every device-mapper device on the host.
    pub(super) nodes: Vec<dm::Info>,
    /// Every mount that we can see.
    pub(super) mounts: Vec<Mount>,
}

impl View {
    pub(super) fn of(pool: &Pool<'_>) -> Result<Self, PoolError> {
        // In this order: who changes the pool is not to wait for somebody who reads all its metadata.
        let reading = pool.metadata_lock()?;
        let _change = Lock::exclusive(&pool.paths.change_lock(), pool.patience)?;
        let active = pool.active()?.is_some_and(|info| info.live);
        let read =
            pool.read_metadata_under(&reading, |metadata| Ok((*metadata.superblock(), metadata.devices()?)));
        let (superblock, devices) = match read {
            Ok((superblock, devices)) => {
                (Some(superblock), Ok(devices.into_iter().map(|device| (device.id, device)).collect()))
            }
            Err(error) => (None, Err(error.to_string())),
        };
        let transaction = match active.then(|| pool.host.dm.pool_status(&pool.device)) {
            Some(Ok(PoolStatus::Working(usage))) => Some(usage.transaction_id),
            // That its devices can't be read either is told with the reason.
            _ => superblock.map(|superblock| superblock.transaction_id),
        };
        Ok(Self {
            entries: pool.catalog.entries()?,
            suspects: pool.catalog.suspects()?,
            claimed: pool.catalog.raw_device_ids()?.into_iter().collect(),
            intent: pool.catalog.intent()?,
            expected: pool.catalog.transaction_id()?,
            transaction,
            superblock,
            devices,
            active,
            nodes: nodes(pool)?,
            mounts: pool.host.fs.all_mounts()?,
        })
    }

    /// Whether catalog and pool are at the same transaction, or one step apart with the intent to be.
    pub(super) fn belongs_together(&self) -> bool {
        let Some(transaction) = self.transaction else { return true };
        match self.intent {
            Some(intent) => transaction == intent.before || transaction == intent.before.next(),
            None => transaction == self.expected,
        }
    }

    pub(super) fn entry(&self, id: DeviceId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.device.id == id)
    }

    /// Whether a record is among those that can't be trusted.
    pub(super) fn is_suspect(&self, id: DeviceId) -> bool {
        let id = i64::from(id.get());
        self.suspects.iter().any(|suspect| suspect.record.device() == Some(id))
    }

    /// The thin devices of the pool that are active, by their uuids, each with what follows the pool's part of it.
    pub(super) fn thin_nodes<'a>(&'a self, pool: &Pool<'_>) -> Vec<(&'a dm::Info, &'a str)> {
        let (prefix, own) = (Uuid::prefix_of(&pool.record.uuid), pool.dm_uuid());
        let ours = |info: &'a dm::Info| {
            let uuid = info.uuid.as_deref().filter(|uuid| *uuid != own.as_str())?;
            Some((info, uuid.strip_prefix(&prefix)?))
        };
        self.nodes.iter().filter_map(ours).collect()
    }

    /// Where a device is mounted.
    pub(super) fn mounts_of(&self, device: dm::DeviceNumber) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.device == device)
    }
}

fn nodes(pool: &Pool<'_>) -> Result<Vec<dm::Info>, PoolError> {
    let mut nodes = Vec::new();
    for name in pool.host.dm.list()? {
        nodes.extend(pool.host.dm.find(&name)?);
    }
    Ok(nodes)
}

impl Pool<'_> {
    /// Takes a device's lock if it has one and nobody holds it: `None` if somebody works on the device.
    pub(super) fn not_worked_on(&self, id: DeviceId) -> Result<Option<Idle>, PoolError> {
        let path = self.paths.device_lock(id);
        if !path.try_exists().unwrap_or(true) {
            return Ok(Some(Idle { _lock: None }));
        }
        Ok(Lock::try_exclusive(&path)?.map(|lock| Idle { _lock: Some(lock) }))
    }
}

/// That nobody works on a device, for as long as this is held.
pub(in crate::pool) struct Idle {
    _lock: Option<Lock>,
}

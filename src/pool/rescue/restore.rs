//! A backup becomes the pool's metadata.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::backups::Backups;
use super::plan::Outlook;
use super::replace::Kept;
use super::{Generation, MetadataBackup, RescueError};
use crate::files;
use crate::pool::{Host, Location, Orphans, Pool, PoolError, Repaired, io_error};
use crate::thin_metadata::ThinDevice;
use crate::units::{DeviceId, TransactionId};

/// What a restore would come to.
#[derive(Debug)]
pub struct RestorePlan {
    /// The backup that would be taken.
    pub backup: MetadataBackup,
    /// The transaction id that the catalog knows.
    pub known: TransactionId,
    /// What would be of the devices.
    pub outlook: Outlook,
}

/// What a restore came to.
#[derive(Debug)]
pub struct Restored {
    /// The backup that was taken.
    pub backup: MetadataBackup,
    /// Where the old metadata is.
    pub kept: Kept,
    /// How catalog and pool were brought together.
    pub repaired: Repaired,
}

impl Location {
    /// What a restore would come to; nothing is changed.
    pub fn plan_restore(
        &self,
        host: &Host,
        generation: Option<Generation>,
    ) -> Result<RestorePlan, PoolError> {
        let pool = Pool::open(host, self)?;
        pool.refuse_to_replace()?;
        let backup = pool.choose_backup(generation)?;
        let outlook = pool.outlook(&devices_of(&backup))?;
        Ok(RestorePlan { backup, known: pool.catalog.transaction_id()?, outlook })
    }

    /// Makes new metadata of a backup, the newest unless somebody says which, puts it in the place of the old, which is kept,
    /// and brings catalog and pool together again.
    pub fn restore_metadata(
        &self,
        host: &Host,
        generation: Option<Generation>,
    ) -> Result<Restored, PoolError> {
        let mut pool = Pool::open(host, self)?;
        let life = pool.life()?;
        pool.settle_replacement()?;
        let backup = pool.choose_backup(generation)?;
        let new = pool.make_metadata(&life, |pool, into| pool.restore_into(&backup, into))?;
        let kept = pool.put_in_place(new)?;
        let repaired = pool.repair_and_rest(&life, Orphans::Adopt)?;
        Ok(Restored { backup, kept, repaired })
    }
}

impl Pool<'_> {
    /// The backup of this generation, or the newest, if it can be one of this pool.
    pub(super) fn choose_backup(&self, generation: Option<Generation>) -> Result<MetadataBackup, PoolError> {
        let backup = Backups::in_directory(&self.paths.backups())?.choose(generation, &self.name)?;
        let (path, expected) = (backup.path.clone(), self.record.uuid.to_string());
        if backup.of.pool != expected {
            let found = backup.of.pool.clone();
            return Err(RescueError::OtherPool { path, found, expected }.into());
        }
        let block = self.record.policy.block_size;
        if backup.of.block_size != block {
            let found = backup.of.block_size;
            return Err(PoolError::BlockSizeMismatch { expected: block, found });
        }
        let has = crate::units::DataBlocks(self.record.policy.data_size.0 / block.bytes().0);
        if backup.of.data_blocks > has {
            return Err(RescueError::TooLarge { path, backup: backup.of.data_blocks, pool: has }.into());
        }
        Ok(backup)
    }

    /// Makes metadata of a backup, in a file or on a device.
    pub(super) fn restore_into(&self, backup: &MetadataBackup, into: &Path) -> Result<(), PoolError> {
        let [_, xml, _] = self.paths.new_metadata();
        let mut text = backup.xml()?;
        let mut file = files::create(&xml).map_err(io_error("create", &xml))?;
        let made = io::copy(&mut text, &mut file)
            .map_err(|source| RescueError::BackupUnreadable { path: backup.path.clone(), source })
            .and_then(|_| Ok(self.host.tools.restore(&xml, into, self.longest())?));
        // However that ended: it may be many times the size of the backup.
        let removed = files::remove(&xml).map_err(io_error("remove", &xml));
        match made {
            Ok(()) => removed,
            Err(error) => Err(PoolError::from(error).after_cleaning_up(removed)),
        }
    }
}

/// The devices in a backup, as far as they are compared.
pub(super) fn devices_of(backup: &MetadataBackup) -> BTreeMap<DeviceId, ThinDevice> {
    let device = |(id, device): (&DeviceId, &super::generation::BackedUpDevice)| {
        let (mapped, transaction_id) = (device.mapped, device.made_at);
        (*id, ThinDevice { id: *id, mapped, transaction_id, created: 0, snapshotted: 0 })
    };
    backup.of.devices.iter().map(device).collect()
}

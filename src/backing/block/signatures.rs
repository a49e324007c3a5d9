//! What is on a device: signatures, and the superblock of a thin pool, which libblkid doesn't know.

use std::fs::OpenOptions;
use std::io;

use lvm::Wipefs;

use super::look::{describe, still_there};
use super::usage::{open, with_relatives};
use super::{BlockDevice, BlockError, Obstacle};
use crate::dm::{Superblock, SuperblockError};

/// What is on the device and on its partitions. What is elsewhere on a partition's disk doesn't matter.
pub(super) fn on(device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
    let itself = still_there(device)?;
    let disk = itself.disk();
    let wipefs = Wipefs::find()?;
    let (mut pools, mut signatures) = (Vec::new(), Vec::new());
    for (name, part) in with_relatives(device, &itself)? {
        if Some(&part) == disk.as_ref() {
            continue;
        }
        pools.extend(thin_pool(&BlockDevice { name: name.clone(), ..describe(&part, None)? })?);
        let found = wipefs.signatures(&part.node())?.into_iter();
        signatures.extend(found.map(|signature| Obstacle::Signature {
            device: name.clone(),
            kind: signature.kind,
            offset: signature.offset,
        }));
    }
    pools.extend(signatures);
    Ok(pools)
}

/// The thin pool whose metadata the device has.
pub(super) fn thin_pool(device: &BlockDevice) -> Result<Option<Obstacle>, BlockError> {
    let transaction_id = match Superblock::read(open(device, OpenOptions::new().read(true), 0)?) {
        Ok(superblock) => Some(superblock.transaction_id),
        Err(
            SuperblockError::Checksum { .. }
            | SuperblockError::Location { .. }
            | SuperblockError::BlockSize(_),
        ) => None,
        Err(SuperblockError::Empty | SuperblockError::Magic { .. }) => return Ok(None),
        // Too small to have one.
        Err(SuperblockError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(SuperblockError::Read(source)) => {
            return Err(BlockError::Io { action: "read", device: device.node.clone(), source });
        }
    };
    Ok(Some(Obstacle::ThinPool { device: device.name.clone(), transaction_id }))
}

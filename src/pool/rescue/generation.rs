//! A backup as a file.
//!
//! It begins with a skippable frame of zstd's (RFC 8878, 3.1.2) that says in JSON what it is a backup of; `zstd -d` skips
//! that, and what comes out is the XML.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{RescueError, in_a_name};
use crate::pool::{PoolError, io_error};
use crate::thin_metadata::{Metadata, MetadataError};
use crate::units::{BlockSize, Bytes, DataBlocks, DeviceId, MetaBlocks, TransactionId};

/// The first of zstd's sixteen magic numbers for frames that are skipped.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// The longest description that is believed: 2^24 devices would take more, and no pool has metadata for them.
const LONGEST: u32 = 256 << 20;

/// Which backup: they are counted from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Generation {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// A backup of a pool's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataBackup {
    /// Which.
    pub generation: Generation,
    /// Its file.
    pub path: PathBuf,
    /// The size of that.
    pub size: Bytes,
    /// What it is a backup of.
    pub of: BackedUp,
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The pool's uuid.
    pub pool: String,
    /// When it was taken, in seconds since 1970.
    pub taken_at: i64,
    /// The pool's transaction id.
    pub transaction_id: TransactionId,
    /// The size of the pool's blocks.
    pub block_size: BlockSize,
    /// How many blocks the pool had for data.
    pub data_blocks: DataBlocks,
    /// How many of them were in use.
    pub used_blocks: DataBlocks,
    /// Where the trees began: each change of any mapping moves them.
    roots: [MetaBlocks; 2],
    /// The devices, by id.
    pub devices: BTreeMap<DeviceId, BackedUpDevice>,
}

/// A device in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpDevice {
    /// The pool's transaction id when it was made.
    pub made_at: TransactionId,
    /// How many blocks it had.
    pub mapped: DataBlocks,
}

impl BackedUp {
    /// What is to be backed up.
    pub(super) fn of(metadata: &Metadata, pool: &uuid::Uuid, taken_at: i64) -> Result<Self, MetadataError> {
        let (superblock, data) = (metadata.superblock(), metadata.data());
        let devices = metadata.devices()?.into_iter();
        Ok(Self {
            pool: pool.to_string(),
            taken_at,
            transaction_id: superblock.transaction_id,
            block_size: superblock.block_size,
            data_blocks: data.total,
            used_blocks: data.used,
            roots: [superblock.mapping_root, superblock.details_root],
            devices: devices
                .map(|device| {
                    let made_at = device.transaction_id;
                    (device.id, BackedUpDevice { made_at, mapped: device.mapped })
                })
                .collect(),
        })
    }

    /// Whether this is of the same metadata, however much later.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        *self == Self { taken_at: self.taken_at, ..other.clone() }
    }

    /// The name of its file.
    pub(super) fn file_name(&self, generation: Generation) -> String {
        let time = in_a_name(self.taken_at);
        format!("{PREFIX}{generation}-transaction-{}-{time}{SUFFIX}", self.transaction_id)
    }

    /// Writes the whole backup.
    pub(super) fn write(&self, metadata: &Metadata, file: &File) -> Result<(), MetadataError> {
        let copy = |error: io::Error| MetadataError::Copy(error);
        let described = serde_json::to_vec(self).map_err(|error| copy(error.into()))?;
        let length = u32::try_from(described.len()).map_err(|error| copy(io::Error::other(error)))?;
        let mut plain = BufWriter::new(file);
        plain.write_all(&SKIPPABLE).map_err(copy)?;
        plain.write_all(&length.to_le_bytes()).map_err(copy)?;
        plain.write_all(&described).map_err(copy)?;
        let mut compressed = zstd::Encoder::new(plain, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(copy)?;
        compressed.include_checksum(true).map_err(copy)?;
        let mut text = BufWriter::new(compressed);
        let comment = format!(
            "thinpool: metadata of the pool {} at its transaction {}, {} s after 1970",
            self.pool, self.transaction_id, self.taken_at
        );
        metadata.write_xml(&comment, metadata.leaves_for_xml()?, &mut text)?;
        let compressed = text.into_inner().map_err(|error| copy(error.into_error()))?;
        compressed.finish().and_then(|mut plain| plain.flush()).map_err(copy)
    }
}

const PREFIX: &str = "metadata-";
const SUFFIX: &str = ".xml.zst";

/// The generation that a file of this name is.
pub(super) fn of_name(name: &str) -> Option<Generation> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    rest.split_once("-transaction-")?.0.parse().ok()
}

impl MetadataBackup {
    /// Looks what a file is a backup of.
    pub(super) fn open(path: &Path, generation: Generation) -> Result<Self, PoolError> {
        let (of, size) = describe(path).map_err(io_error("read the backup", path))?;
        Ok(Self { generation, path: path.to_owned(), size, of })
    }

    /// The XML in it, as it comes out.
    pub(in crate::pool) fn xml(&self) -> Result<impl Read + use<>, RescueError> {
        let failed = |source| RescueError::BackupUnreadable { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(failed)?;
        zstd::Decoder::new(file).map_err(failed)
    }
}

/// At which moment a backup was taken: what it is of, without the devices, which may be many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BackupMoment {
    /// The pool's uuid.
    pub pool: String,
    /// The pool's transaction id.
    pub transaction_id: TransactionId,
    /// How many blocks of the pool were in use.
    pub used_blocks: DataBlocks,
}

/// What a file is a backup of, and how large it is.
pub(super) fn describe<T: DeserializeOwned>(path: &Path) -> io::Result<(T, Bytes)> {
    let file = File::open(path)?;
    let size = Bytes(file.metadata()?.len());
    let mut reader = BufReader::new(file);
    let (mut magic, mut length) = ([0; 4], [0; 4]);
    reader.read_exact(&mut magic)?;
    reader.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if magic != SKIPPABLE || length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it doesn't begin as one does"));
    }
    let of = serde_json::from_reader(reader.take(length.into()))?;
    Ok((of, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_named_as_a_backup_is_one() {
        assert_eq!(of_name("metadata-12-transaction-7-20261128T134500Z.xml.zst"), Some(Generation(12)));
        for name in ["metadata-12.xml.zst", "metadata-x-transaction-7-.xml.zst", ".draft", "metadata"] {
            assert_eq!(of_name(name), None, "{name}");
        }
    }
}

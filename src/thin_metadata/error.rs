//! What can be wrong with metadata: which block, and what about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::dm::SuperblockError;
use crate::units::{DataBlocks, DeviceId, MetaBlocks};

/// Why a pool's metadata can't be read.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// It can't be opened.
    #[error("the pool's metadata on {} can't be opened: {source}", .path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A block can't be read.
    #[error("block {} of the pool's metadata can't be read: {source}", .block.0)]
    Read {
        /// Which.
        block: MetaBlocks,
        /// Why.
        source: io::Error,
    },
    /// The superblock of the pool, or of its metadata snapshot.
    #[error("block {} of the pool's metadata is no superblock: {source}", .block.0)]
    Superblock {
        /// Where it should be.
        block: MetaBlocks,
        /// What is wrong.
        source: SuperblockError,
    },
    /// A block isn't what it should be.
    #[error("block {} of the pool's metadata is damaged: {damage}", .block.0)]
    Damaged {
        /// Which.
        block: MetaBlocks,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A device has mappings and no details, or the other way round.
    #[error("the pool's metadata has {has} of the thin device {device}, and no {lacks}")]
    HalfADevice {
        /// Which.
        device: DeviceId,
        /// What is there.
        has: &'static str,
        /// What isn't.
        lacks: &'static str,
    },
    /// The pool has no such device.
    #[error("the pool has no thin device {0}")]
    NoSuchDevice(DeviceId),
    /// What was read can't be written to where it was to go.
    #[error("the copy of the pool's metadata can't be written: {0}")]
    Copy(io::Error),
}

/// What is wrong with a block of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// It would be beyond the end of the metadata.
    #[error("the metadata has only {} blocks", .blocks.0)]
    Beyond {
        /// How many there are.
        blocks: MetaBlocks,
    },
    /// Its content isn't what was written.
    #[error("its checksum is {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// What it carries.
        found: u32,
        /// What its content gives.
        computed: u32,
    },
    /// It belongs elsewhere.
    #[error("it says that it is block {found}")]
    Location {
        /// Where it says that it is.
        found: u64,
    },
    /// Neither an inner node nor a leaf.
    #[error("its flags {0:#x} are neither those of an inner node nor those of a leaf")]
    Flags(u32),
    /// It has values of another kind.
    #[error("its values have {found} bytes, not {expected}")]
    ValueSize {
        /// How large they are.
        found: u32,
        /// How large they should be.
        expected: u32,
    },
    /// It says that it holds more than a block can.
    #[error("it has {entries} entries, with room for {capacity}, which is more than a block holds")]
    Entries {
        /// How many it says.
        entries: u32,
        /// For how many it says that it has room.
        capacity: u32,
    },
    /// A node below a root, or an inner node, without entries.
    #[error("it has no entries")]
    Empty,
    /// Its keys don't grow, or aren't those that the node above it says.
    #[error("its keys are not in order, or not those that the node above it says")]
    Keys,
    /// The tree has more levels than any kernel makes: most likely a node leads back to one above it.
    #[error("it is the {0}th level of its tree, which no kernel makes: the tree leads back into itself")]
    Deep(u32),
    /// Leaves of one tree lie at different depths.
    #[error("it is a leaf where its siblings are none, or the other way round")]
    Uneven,
    /// A key that can't be a thin device's id.
    #[error("it has a thin device {0}, and ids have 24 bits")]
    DeviceId(u64),
    /// A mapping leads beyond the end of the data.
    #[error("it maps to data block {}, and there are only {}", .found.0, .blocks.0)]
    DataBlock {
        /// Where it leads.
        found: DataBlocks,
        /// How many there are.
        blocks: DataBlocks,
    },
}

impl Damage {
    pub(super) fn of(self, block: MetaBlocks) -> MetadataError {
        MetadataError::Damaged { block, damage: self }
    }
}

//! A pool's metadata, read as the kernel lays it out (drivers/md/dm-thin-metadata.c): nothing is ever written.
//!
//! From the superblock two B-trees begin: one from a device's id to what is known of it, the other from a device's id to
//! one more tree, from the device's blocks to those of the data. A snapshot is a second way into its origin's tree, of
//! which each write to either copies what leads to the block that it changes: devices share mappings by sharing nodes.
//!
//! Every block is verified before anything in it is believed (checksum, place, kind, order of its keys), and damage is an
//! error that names the block.

mod blocks;
mod devices;
mod differences;
mod error;
mod node;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod usage;
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use blocks::Blocks;
pub use devices::ThinDevice;
pub use error::{Damage, MetadataError};
pub use usage::{BlockUsage, Share};
pub use xml::Leaves;

use self::blocks::{Buffer, FileBlocks};
use crate::dm::{self, DeviceNumber, Superblock, SuperblockError};
use crate::units::{DataBlocks, DeviceId, MetaBlocks};

/// Opens a pool's metadata: a device or a file, or as a test wants it.
pub trait MetadataReader: Send + Sync {
    /// Opens it, to be read.
    fn open(&self, place: &Place) -> Result<Box<dyn Blocks>, MetadataError>;
}

/// Where a pool's metadata is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On a block device, by its number: what a live pool's table names.
    Device(DeviceNumber),
    /// In a file, or on a device by its node.
    Path(PathBuf),
}

/// The devices and files of this system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemMetadata;

impl MetadataReader for SystemMetadata {
    fn open(&self, place: &Place) -> Result<Box<dyn Blocks>, MetadataError> {
        let path = match place {
            Place::Device(number) => kernel_node(*number)?,
            Place::Path(path) => path.clone(),
        };
        match FileBlocks::open(&path) {
            Ok(blocks) => Ok(Box::new(blocks)),
            Err(source) => Err(MetadataError::Open { path, source }),
        }
    }
}

/// The node that devtmpfs gave the device: it is there before udev has seen it.
fn kernel_node(number: DeviceNumber) -> Result<PathBuf, MetadataError> {
    let sysfs = PathBuf::from(format!("/sys/dev/block/{number}/uevent"));
    let node = std::fs::read_to_string(&sysfs).and_then(|uevent| {
        let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        let node = Path::new("/dev").join(name.ok_or(io::ErrorKind::NotFound)?);
        let found = DeviceNumber::of(&node)?;
        if found == number { Ok(node) } else { Err(io::Error::other(format!("it is {found}"))) }
    });
    node.map_err(|source| MetadataError::Open { path: sysfs, source })
}

/// The metadata of a pool, at one moment.
pub struct Metadata {
    blocks: Box<dyn Blocks>,
    superblock: Superblock,
    data: dm::Blocks<DataBlocks>,
    /// A mapping that leads further is damaged.
    data_blocks: DataBlocks,
    /// Where each device's mappings begin, once that was read.
    roots: OnceLock<BTreeMap<DeviceId, MetaBlocks>>,
}

/// Each block of metadata that counts references to data counts those to as many data blocks as this: `struct disk_bitmap_header`
/// and four of them a byte.
const COUNTED_BY_A_BLOCK: u64 = (4096 - 16) * 4;

impl Metadata {
    /// The metadata of a pool that nobody changes meanwhile: one that isn't active, or that can't write.
    pub fn at_rest(blocks: Box<dyn Blocks>) -> Result<Self, MetadataError> {
        let superblock = read_superblock(blocks.as_ref(), MetaBlocks(0))?;
        Ok(Self::new(blocks, superblock, superblock.data))
    }

    /// A live pool's metadata snapshot: where its superblock is, and the pool's data blocks, which that superblock doesn't
    /// tell.
    pub fn snapshot(
        blocks: Box<dyn Blocks>,
        root: MetaBlocks,
        data: dm::Blocks<DataBlocks>,
    ) -> Result<Self, MetadataError> {
        let superblock = read_superblock(blocks.as_ref(), root)?;
        Ok(Self::new(blocks, superblock, data))
    }

    fn new(blocks: Box<dyn Blocks>, superblock: Superblock, data: dm::Blocks<DataBlocks>) -> Self {
        let countable = DataBlocks(blocks.count().0.saturating_mul(COUNTED_BY_A_BLOCK));
        Self { blocks, superblock, data, data_blocks: data.total.min(countable), roots: OnceLock::new() }
    }

    /// The superblock it was read from.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// How many data blocks the pool uses, and has.
    #[must_use]
    pub fn data(&self) -> dm::Blocks<DataBlocks> {
        self.data
    }

    /// Whether its superblock still is what it was: each commit of the kernel's writes another one.
    pub(crate) fn is_unchanged(&self) -> bool {
        let now = read_superblock(self.blocks.as_ref(), MetaBlocks(0));
        now.is_ok_and(|now| now == self.superblock)
    }
}

fn read_superblock(blocks: &dyn Blocks, block: MetaBlocks) -> Result<Superblock, MetadataError> {
    let mut buffer = Buffer::of_blocks(1);
    buffer.read(blocks, block)?;
    Superblock::parse(buffer.block(), block)
        .map_err(|source: SuperblockError| MetadataError::Superblock { block, source })
}

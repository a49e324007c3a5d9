//! Why a pool could not be made larger.

use std::path::PathBuf;

use thiserror::Error;

use crate::backing::{MOST_METADATA, Part};
use crate::units::{Bytes, Growth};

/// Why a pool could not be made larger.
#[derive(Debug, Error)]
pub enum ExtendError {
    /// A smaller size was asked for.
    #[error(
        "the pool's {part} can't be made smaller: it has {is}, asked for {asked}. Blocks in use lie anywhere in it, and the kernel \
         moves none; set up a smaller pool beside it and import its images there"
    )]
    Shrink {
        /// Data or metadata.
        part: Part,
        /// Its size.
        is: Bytes,
        /// What was asked for.
        asked: Bytes,
    },
    /// More metadata than there can be.
    #[error("{asked} for metadata is more than the kernel can use, which is {MOST_METADATA}")]
    TooMuchMetadata {
        /// What was asked for.
        asked: Bytes,
    },
    /// Nothing can be that large.
    #[error("nothing can be as large as {growth} makes it")]
    BeyondCounting {
        /// What was asked for.
        growth: Growth,
    },
    /// The growth of the data takes more metadata than is free.
    #[error(
        "to count {data} of data takes {needed} more of metadata, and {free} of it are free: a pool that runs out of it while \
         it grows has to be repaired. Grow the metadata as well (--metadata +{needed} or more)"
    )]
    NoMetadata {
        /// The size that the data was to have.
        data: Bytes,
        /// What that takes.
        needed: Bytes,
        /// What there is.
        free: Bytes,
    },
    /// The pool is in somebody else's thin pool.
    #[error(
        "this pool is in the thin pool {pool}, which is for whoever made it to grow (an LVM pool: `lvextend`); what it \
         grows by is there at once"
    )]
    SomebodyElses {
        /// The thin pool.
        pool: String,
    },
    /// A device that only its owner can make larger.
    #[error(
        "the pool's {part} is on {device}, which has {has}; it can't be made {asked} from here. Make it larger, then run \
         `thinpool extend` without a size, which takes what is there",
        device = .device.display()
    )]
    DeviceTooSmall {
        /// Data or metadata.
        part: Part,
        /// The device.
        device: PathBuf,
        /// Its size.
        has: Bytes,
        /// What was asked for.
        asked: Bytes,
    },
    /// A device under the pool can't be found, although the kernel has it.
    #[error("{} isn't found under {identity} any more; nothing was changed", .device.display())]
    DeviceGone {
        /// What it was called.
        device: PathBuf,
        /// What it is known by.
        identity: String,
    },
    /// The host's file system has not the room for what the file may take.
    #[error(
        "{path} can't grow by {needed}: the file system under it has {free} left, and the pool may still take {promised} of \
         that already",
        path = .path.display()
    )]
    NoRoomOnHost {
        /// The file.
        path: PathBuf,
        /// What it was to grow by.
        needed: Bytes,
        /// What is free.
        free: Bytes,
        /// What the pool can take without any growth.
        promised: Bytes,
    },
    /// A disk can't be added.
    #[error("no disk can be added to this pool: {why}")]
    NoGroup {
        /// What it lies on, and what can be done.
        why: String,
    },
    /// The kernel said yes and did nothing.
    #[error(
        "the kernel accepted the growth of the pool's {part} to {expected}, and has {found} all the same; its log (`dmesg`) has \
         the reason. The next `thinpool extend` tries again"
    )]
    NotGrown {
        /// Data or metadata.
        part: Part,
        /// What it was to have.
        expected: Bytes,
        /// What it has.
        found: Bytes,
    },
}

//! What speaks against giving a device to a pool.

use std::path::PathBuf;

use thiserror::Error;

use crate::units::TransactionId;

/// Something that speaks against giving a device to a pool, told as a sentence. The device in it may be a partition of
/// the one that was asked about, or the disk it is a partition of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// Mounted.
    #[error("{} is mounted at {}", device.display(), at.display())]
    Mounted {
        /// The device, or its partition.
        device: PathBuf,
        /// Where.
        at: PathBuf,
    },
    /// Used as swap.
    #[error("{} is used as swap", device.display())]
    Swap {
        /// The device, or its partition.
        device: PathBuf,
    },
    /// Another block device is made of it.
    #[error("{} is held by {by}", device.display())]
    Held {
        /// The device, or its partition.
        device: PathBuf,
        /// The holder: `the LVM volume vg/lv`, `the RAID array md0`, `the loop device loop3`.
        by: String,
    },
    /// Somebody has it for himself alone, and the kernel doesn't tell who.
    #[error(
        "{} is in use by something that the kernel doesn't name: zfs, btrfs, drbd, or a mount that only another mount \
         namespace sees", device.display()
    )]
    Busy {
        /// The device.
        device: PathBuf,
    },
    /// The kernel refuses writes.
    #[error("{} is read-only (`blockdev --setrw` if it need not be)", device.display())]
    ReadOnly {
        /// The device.
        device: PathBuf,
    },
    /// The metadata of a thin pool.
    #[error("{} has the metadata of a thin pool on it{}", device.display(), progress(*transaction_id))]
    ThinPool {
        /// The device, or its partition.
        device: PathBuf,
        /// The pool's transaction id; none if its superblock is damaged.
        transaction_id: Option<TransactionId>,
    },
    /// A signature: a file system, a partition table, a member of an array.
    #[error("{} has a signature of {kind} at {offset}", device.display())]
    Signature {
        /// The device, or its partition.
        device: PathBuf,
        /// What it is of, in libblkid's words: `ext4`, `gpt`, `LVM2_member`.
        kind: String,
        /// Where it starts, in hexadecimal.
        offset: String,
    },
}

impl Obstacle {
    /// Whether wiping may do away with it: with signatures and old pools, never with anything in use.
    #[must_use]
    pub fn can_be_wiped(&self) -> bool {
        matches!(self, Self::ThinPool { .. } | Self::Signature { .. })
    }
}

fn progress(transaction_id: Option<TransactionId>) -> String {
    match transaction_id {
        Some(id) => format!(" (transaction id {id})"),
        None => " (its superblock is damaged)".to_owned(),
    }
}

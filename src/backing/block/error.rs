//! What can go wrong with block devices.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lvm::{LvId, RunError, Signature};
use thiserror::Error;

use super::identity::Identity;
use super::obstacle::Obstacle;
use crate::fs::MountTableError;

/// What can go wrong with block devices.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The path leads nowhere.
    #[error("there is no {}{hint}", path.display())]
    NotThere {
        /// The path.
        path: PathBuf,
        /// What may be the reason.
        hint: Hint,
    },
    /// The path leads to something else.
    #[error("{} is {found}, not a block device{}", path.display(), found.advice())]
    NotABlockDevice {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: Found,
    },
    /// The device, or what the kernel tells about it, can't be read.
    #[error("could not {action} {}: {source}", device.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which device or file.
        device: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// udev can't be asked.
    #[error("could not {action}: {source}")]
    Udev {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Several devices have one identity.
    #[error(
        "{} have the same {identity}, and only one of them can be meant; take the others away (the copy of a disk?), or \
         bring up multipath if they are paths to one disk",
        told(devices)
    )]
    Ambiguous {
        /// The identity.
        identity: Identity,
        /// The devices' nodes.
        devices: Vec<PathBuf>,
    },
    /// The mounts can't be read.
    #[error(transparent)]
    Mounts(#[from] MountTableError),
    /// wipefs, which knows signatures, isn't there.
    #[error(transparent)]
    NoWipefs(#[from] lvm::NotInstalled),
    /// wipefs failed.
    #[error(transparent)]
    Wipefs(#[from] RunError),
    /// A device that is in use is not wiped.
    #[error("{} is not wiped, because it is in use: {}", device.display(), sentences(obstacles))]
    InUse {
        /// The device.
        device: PathBuf,
        /// Who uses it.
        obstacles: Vec<Obstacle>,
    },
    /// Another device has taken the place of the one that was looked at.
    #[error("{} is not the device any more that it was a moment ago; nothing was changed on it", device.display())]
    Replaced {
        /// The name of both.
        device: PathBuf,
    },
    /// Wiping didn't help.
    #[error(
        "{} was wiped, and still has {}; is something else writing to it?", device.display(), signatures(found)
    )]
    StillThere {
        /// The device.
        device: PathBuf,
        /// What is still there.
        found: Vec<Signature>,
    },
}

/// Why a path may lead nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// It is the path of a logical volume, which exists only while the volume is active.
    InactiveVolume(LvId),
    /// A link that udev makes.
    Unplugged,
    /// Nothing is known.
    Unknown,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InactiveVolume(lv) => {
                write!(
                    f,
                    "; if it is an LVM volume, it may be inactive: `lvchange -ay {lv}` (`lvs` shows all)"
                )
            }
            Self::Unplugged => {
                f.write_str("; the disk may be unplugged or have another name (`ls -l /dev/disk/by-id`)")
            }
            Self::Unknown => f.write_str(" (`lsblk` shows the devices there are)"),
        }
    }
}

/// What a path leads to instead of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

impl Found {
    fn advice(self) -> &'static str {
        match self {
            Self::File | Self::Directory => "; a pool on files is made with --dir instead",
            Self::Other => "",
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Other => "something else",
        })
    }
}

fn told(devices: &[PathBuf]) -> String {
    devices.iter().map(|device| device.display().to_string()).collect::<Vec<_>>().join(" and ")
}

fn sentences(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(Obstacle::to_string).collect::<Vec<_>>().join("; ")
}

fn signatures(found: &[Signature]) -> String {
    found.iter().map(|signature| format!("a signature of {signature}")).collect::<Vec<_>>().join(", ")
}

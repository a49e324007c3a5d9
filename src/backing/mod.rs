//! Where a pool's blocks come from.

pub mod block;
mod loop_device;
mod loopback;

use serde::{Deserialize, Serialize};

pub use loop_device::{Attached, LoopDevices, LoopError, SystemLoops, backing_file};
pub(crate) use loopback::make_private_directory;
pub use loopback::{FileSpace, LoopFileError, LoopFileIds, LoopFiles, Loopback};

/// Where a pool's blocks come from, as its catalog keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Backing {
    /// Two sparse files on loop devices.
    Loop(Loopback),
}

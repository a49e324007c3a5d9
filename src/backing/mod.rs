//! Where a pool's blocks come from: block devices, or two loopback files.

pub mod block;
mod loop_device;
mod loopback;

pub use loop_device::{Attached, LoopDevices, LoopError, SystemLoops, backing_file};
pub(crate) use loopback::make_private_directory;
pub use loopback::{FileSpace, LoopFileError, LoopFileIds, LoopFiles};

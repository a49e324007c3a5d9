//! Mounts, made and undone by nothing but the two calls.

use std::path::Path;

use nix::mount::{MsFlags, umount};

use crate::tool::Outcome;

pub fn mount_ext4(device: &Path, at: &Path) -> Outcome {
    let options = None::<&str>;
    nix::mount::mount(Some(device), at, Some("ext4"), MsFlags::empty(), options)
        .map_err(|error| format!("mount {} at {}: {error}", device.display(), at.display()).into())
}

pub fn unmount(at: &Path) -> Outcome {
    umount(at).map_err(|error| format!("umount {}: {error}", at.display()).into())
}

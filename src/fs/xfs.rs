//! How long XFS tries to write what its device has no room for.
//!
//! It tries for ever, unless it is told otherwise (`xfs_buf_ioerror_permanent` in fs/xfs/xfs_buf.c), and whoever freezes it waits for that.
//! A device is suspended with its file system frozen, and as long as that takes, the kernel makes the pool no larger: what
//! is waited for could never come. So whoever freezes one gives its tries an end. It shuts down then, with all that was synced
//! in its log, and the others go on.

use std::io;
use std::path::{Path, PathBuf};

use super::{FileSystems, FsError};
use crate::dm::DeviceNumber;
use crate::files;

/// What a device of a pool without room fails a write with: data that is used up, and metadata.
const CLASSES: [&str; 2] = ["ENOSPC", "EIO"];

/// What the kernel says and takes for tries and a time without end.
const FOREVER: &str = "-1";

/// How many seconds it tries while somebody waits for it. A number that nobody else chooses: by it the time is known that was
/// given by us.
const HURRIED: &str = "11";

/// A file system that gives up soon what it can't write. Dropping this gives it the time that it had.
pub struct Hurried<'a> {
    fs: &'a dyn FileSystems,
    device: DeviceNumber,
}

impl<'a> Hurried<'a> {
    /// Has the file system on a device hurry. Where that can't be told (a `/sys` that can't be written to), it is as it was.
    pub fn on(fs: &'a dyn FileSystems, device: DeviceNumber) -> Self {
        if let Err(error) = fs.hurry(device) {
            tracing::debug!(%device, %error, "it isn't hurried");
        }
        Self { fs, device }
    }
}

impl Drop for Hurried<'_> {
    fn drop(&mut self) {
        end_hurry(self.fs, self.device);
    }
}

/// Gives the file system on a device its time back, also where who had it hurry was killed.
pub fn end_hurry(fs: &dyn FileSystems, device: DeviceNumber) {
    if let Err(error) = fs.end_hurry(device) {
        tracing::warn!(%device, %error, "until it is mounted anew, it gives up after {HURRIED} seconds what it can't write");
    }
}

/// Gives the tries an end where they have none. Nothing is done where no XFS is mounted.
pub(super) fn hurry(device: DeviceNumber) -> Result<(), FsError> {
    let tries_for_ever = |class: &&str| reads(&knob(&device.kernel_node(), class, "max_retries"), FOREVER);
    CLASSES.into_iter().filter(tries_for_ever).try_for_each(|class| exchange(device, class, FOREVER, HURRIED))
}

/// The other way round.
pub(super) fn give_time(device: DeviceNumber) -> Result<(), FsError> {
    CLASSES.into_iter().try_for_each(|class| exchange(device, class, HURRIED, FOREVER))
}

/// Tells XFS how often to retry metadata writes that find no space.
pub(super) fn limit_retries(device: &Path, retries: u32) -> Result<(), FsError> {
    let device = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    let knob = knob(&device, "ENOSPC", "max_retries");
    files::tell_kernel(&knob, &retries.to_string()).map_err(|source| FsError::Retries { path: knob, source })
}

/// What XFS does about an error. Its knobs are under the kernel's name of the device.
fn knob(node: &Path, class: &str, what: &str) -> PathBuf {
    let name = node.file_name().unwrap_or_default();
    Path::new("/sys/fs/xfs").join(name).join("error/metadata").join(class).join(what)
}

/// Whether a knob is there and at this value.
fn reads(knob: &Path, value: &str) -> bool {
    std::fs::read_to_string(knob).is_ok_and(|now| now.trim_end() == value)
}

/// Sets the time for an error, if it is this one. A mount may go at any moment, and its knobs with it.
fn exchange(device: DeviceNumber, class: &str, from: &str, to: &str) -> Result<(), FsError> {
    let path = knob(&device.kernel_node(), class, "retry_timeout_seconds");
    if !reads(&path, from) {
        return Ok(());
    }
    match files::tell_kernel(&path, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || !path.exists() => Ok(()),
        told => told.map_err(|source| FsError::Patience { path, source }),
    }
}

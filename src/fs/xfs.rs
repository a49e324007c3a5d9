//! How long XFS tries to write what its device has no room for.
//!
//! It tries for ever, unless it is told otherwise (`xfs_buf_ioerror_permanent` in fs/xfs/xfs_buf.c), and whoever freezes it waits for that.
//! A device is suspended with its file system frozen, and as long as that takes, the kernel makes the pool no larger: what
//! is waited for could never come. So whoever freezes one gives its tries an end. It shuts down then, with all that was synced
//! in its log, and the others go on.

use std::io;
use std::path::{Path, PathBuf};

use super::FsError;
use crate::dm::DeviceNumber;
use crate::files;

/// What the kernel says and takes for a time without end.
const FOREVER: &str = "-1";

/// How many seconds it tries while somebody waits for it.
const HURRIED: &str = "10";

/// An XFS that gives up soon what it can't write. Dropping this gives it the time that it had.
#[derive(Debug)]
pub struct Hurried {
    knob: PathBuf,
}

impl Hurried {
    /// Lets the file system on a device try for some seconds only. Nothing is done where no XFS is mounted, or has an end to
    /// its tries already.
    pub fn on(device: DeviceNumber) -> Result<Option<Self>, FsError> {
        let knob = knob(&device.kernel_node(), "retry_timeout_seconds");
        Ok(exchange(&knob, FOREVER, HURRIED)?.then_some(Self { knob }))
    }

    /// Gives it back its time where a process was killed that had it hurry.
    pub fn end_on(device: DeviceNumber) -> Result<(), FsError> {
        let knob = knob(&device.kernel_node(), "retry_timeout_seconds");
        exchange(&knob, HURRIED, FOREVER).map(drop)
    }
}

impl Drop for Hurried {
    fn drop(&mut self) {
        if let Err(error) = exchange(&self.knob, HURRIED, FOREVER) {
            tracing::warn!(%error, "it goes on giving up after {HURRIED} seconds, until it is mounted anew");
        }
    }
}

/// Tells XFS how often to retry metadata writes that find no space.
pub(super) fn limit_retries(device: &Path, retries: u32) -> Result<(), FsError> {
    let device = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    set(&knob(&device, "max_retries"), &retries.to_string())
}

/// What XFS does when there is no room. Its knobs are under the kernel's name of the device.
fn knob(node: &Path, what: &str) -> PathBuf {
    Path::new("/sys/fs/xfs")
        .join(node.file_name().unwrap_or_default())
        .join("error/metadata/ENOSPC")
        .join(what)
}

/// Sets a knob, if it is there and at this value.
fn exchange(knob: &Path, from: &str, to: &str) -> Result<bool, FsError> {
    match std::fs::read_to_string(knob) {
        Ok(now) if now.trim_end() == from => set(knob, to).map(|()| true),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FsError::Retries { path: knob.to_owned(), source }),
    }
}

fn set(knob: &Path, value: &str) -> Result<(), FsError> {
    files::tell_kernel(knob, value).map_err(|source| FsError::Retries { path: knob.to_owned(), source })
}

//! What udev knows: which devices it has finished with, and which links each of them claims.
//!
//! The links themselves tell less: of two devices that claim one link, udev lets it lead to either.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libudev::{Context, Device, Monitor, MonitorSocket};
use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::BlockError;
use super::sysfs::{SysBlock, unless_gone};

/// Whether a udevd runs, as libudev's own callers ask.
pub(super) fn is_running() -> bool {
    Path::new("/run/udev/control").exists()
}

/// The links that a device claims. `None` if udev hasn't finished with it, or it is gone.
pub(super) fn links_of(device: &SysBlock) -> Result<Option<Vec<PathBuf>>, BlockError> {
    links_in(&context()?, device)
}

/// The devices that claim a link.
pub(super) fn claimants(link: &Path) -> Result<Vec<SysBlock>, BlockError> {
    let context = context()?;
    let mut found = Vec::new();
    for device in noted_claimants(link)? {
        if links_in(&context, &device)?.is_some_and(|links| links.iter().any(|claimed| claimed == link)) {
            found.push(device);
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    // Nobody, or a udev that keeps its notes otherwise: every device is asked.
    for device in SysBlock::all()? {
        // A pool may have a thousand devices. Of those of device-mapper, only multipath's claim what a disk claims.
        if device.dm_uuid().is_some_and(|uuid| !uuid.contains("mpath-") && !link.ends_with(dm_link(&uuid))) {
            continue;
        }
        let links = links_in(&context, &device)?.unwrap_or_default();
        if links.iter().any(|claimed| claimed == link) {
            found.push(device);
        }
    }
    Ok(found)
}

/// The devices that udev has noted as claimants of a link: it has a folder for each link, and in that an entry for each
/// device, called by its number (`b8:16`), to decide which of them the link leads to. That is udev's own affair, so nobody
/// may rely on its being there, and what is found is only where to ask first.
fn noted_claimants(link: &Path) -> Result<Vec<SysBlock>, BlockError> {
    let Some(name) = link.to_str().and_then(|link| link.strip_prefix("/dev/")) else { return Ok(Vec::new()) };
    let folder = Path::new("/run/udev/links").join(name.replace('\\', "\\x5c").replace('/', "\\x2f"));
    let Ok(entries) = folder.read_dir() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix('b')?.parse().ok());
        if let Some(number) = number {
            found.extend(unless_gone(SysBlock::of(number))?);
        }
    }
    Ok(found)
}

/// Looks, and as long as nothing is found, looks again whenever udev has finished with a device that claims this link.
pub(super) fn wait_for<T>(
    link: &Path,
    patience: Duration,
    look: impl FnMut() -> Result<Option<T>, BlockError>,
) -> Result<Option<T>, BlockError> {
    let claims = |event: &Device| claimed_by(event).iter().any(|claimed| claimed == link);
    look_at_events(claims, patience, look)
}

/// The links that a device claims, once udev has finished with it. `None` if that takes longer than this.
pub(super) fn links_when_finished(
    device: &SysBlock,
    patience: Duration,
) -> Result<Option<Vec<PathBuf>>, BlockError> {
    if let Some(links) = links_of(device)? {
        return Ok(Some(links));
    }
    let is_it = |event: &Device| event.syspath() == Some(device.folder());
    look_at_events(is_it, patience, || links_of(device))
}

/// Looks, and as long as nothing is found, looks again after each event that matters.
fn look_at_events<T>(
    matters: impl Fn(&Device) -> bool,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>, BlockError>,
) -> Result<Option<T>, BlockError> {
    let deadline = Instant::now() + patience;
    // First listen, then look: what comes in between is heard.
    let context = context()?;
    let failed = |_| BlockError::Udev { action: "listen to udev", source: io::Error::last_os_error() };
    let mut monitor = Monitor::new(&context).map_err(failed)?;
    monitor.match_subsystem("block").map_err(failed)?;
    let mut socket = monitor.listen().map_err(failed)?;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if !heard(&matters, &mut socket, deadline)? {
            return Ok(None);
        }
    }
}

/// Waits for an event that matters; false when the time is up.
fn heard(
    matters: &impl Fn(&Device) -> bool,
    socket: &mut MonitorSocket,
    deadline: Instant,
) -> Result<bool, BlockError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if !is_readable(socket, left)? {
            return Ok(false);
        }
        match socket.receive_event() {
            Some(event) if matters(&event) => return Ok(true),
            Some(_) => {}
            // Something was there, and it was no event: the socket ran over (ENOBUFS), and the one may be among the
            // lost ones.
            None => return Ok(true),
        }
    }
}

fn is_readable(socket: &MonitorSocket, left: Duration) -> Result<bool, BlockError> {
    let failed = |source| BlockError::Udev { action: "wait for udev", source };
    // SAFETY: the socket is open as long as it is borrowed here.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let timeout = Timespec::try_from(left).map_err(io::Error::other).map_err(failed)?;
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)) {
        // A signal: the caller's next look at the clock decides.
        Err(rustix::io::Errno::INTR) => Ok(true),
        result => Ok(result.map_err(|errno| failed(errno.into()))? > 0),
    }
}

fn links_in(context: &Context, device: &SysBlock) -> Result<Option<Vec<PathBuf>>, BlockError> {
    // The crate's own error has lost the number by now; libudev leaves it in errno.
    match Device::from_syspath(context, device.folder()) {
        Ok(device) => Ok(device.is_initialized().then(|| claimed_by(&device))),
        Err(_) => match Errno::last() {
            Errno::ENODEV | Errno::ENOENT => Ok(None),
            errno => Err(BlockError::Udev { action: "ask udev for a device", source: errno.into() }),
        },
    }
}

fn claimed_by(device: &Device) -> Vec<PathBuf> {
    split_links(device.property_value("DEVLINKS").unwrap_or_default())
}

/// Links stand one after the other, with blanks between; none has a blank in it, since udev puts `_` or `\x20` there.
fn split_links(links: &OsStr) -> Vec<PathBuf> {
    let links = links.as_bytes().split(|byte| *byte == b' ').filter(|link| !link.is_empty());
    links.map(|link| PathBuf::from(OsStr::from_bytes(link))).collect()
}

fn dm_link(uuid: &str) -> String {
    format!("dm-uuid-{uuid}")
}

fn context() -> Result<Context, BlockError> {
    Context::new()
        .map_err(|_| BlockError::Udev { action: "open libudev", source: io::Error::last_os_error() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_link_is_found_whatever_is_in_its_name(
            links in proptest::collection::vec("/dev/disk/[!-~]{1,40}", 0..10),
        ) {
            let paths: Vec<PathBuf> = links.iter().map(PathBuf::from).collect();
            prop_assert_eq!(split_links(OsStr::new(&links.join(" "))), paths);
        }
    }
}

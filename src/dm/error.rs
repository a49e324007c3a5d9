//! What can go wrong between us and the kernel's device-mapper.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::name::Name;
use super::status::StatusError;
use super::table::TableError;

/// An error of the dm layer. Decisions are made by [`Error::errno`], never by a text.
#[derive(Debug, Error)]
pub enum Error {
    /// The control node can't be opened.
    #[error("device-mapper can't be reached through /dev/mapper/control: {errno}{}", control_hint(*errno))]
    Control {
        /// Why.
        errno: Errno,
    },
    /// The kernel refused.
    #[error("the kernel refused to {operation} {device}: {errno}")]
    Refused {
        /// What was asked.
        operation: Operation,
        /// Of which device.
        device: String,
        /// Why.
        errno: Errno,
    },
    /// The device-mapper crate failed before or after the kernel was asked.
    #[error("could not {operation} {device}: {reason}")]
    Interface {
        /// What was asked.
        operation: Operation,
        /// Of which device.
        device: String,
        /// Why, in the crate's words.
        reason: String,
    },
    /// The status line of a device is not one the kernel is known to print.
    #[error("the status of {device} can't be understood: {source}")]
    Status {
        /// Which device.
        device: Name,
        /// What is wrong with the line.
        source: StatusError,
    },
    /// The table of a device is not one the kernel is known to print.
    #[error("the table of {device} can't be understood: {source}")]
    Table {
        /// Which device.
        device: Name,
        /// What is wrong with the line.
        source: TableError,
    },
    /// A device has another target than the one asked about.
    #[error("{device} is not a {expected} device but a {found} device")]
    Target {
        /// Which device.
        device: Name,
        /// The target's name that was expected.
        expected: &'static str,
        /// The one it has.
        found: String,
    },
    /// The cookie that joins us to udev could not be had.
    #[error("no semaphore for udev to answer on while trying to {operation} {device}: {errno}{}", semaphore_hint(*errno))]
    Cookie {
        /// What was asked.
        operation: Operation,
        /// Of which device.
        device: String,
        /// Why.
        errno: Errno,
    },
    /// A device's node did not come, or did not go.
    #[error(
        "waited {waited:?} for udev to {change} the node of {device}, and could not do it ourselves: {reason}"
    )]
    Node {
        /// Which device.
        device: Name,
        /// `make` or `remove`.
        change: &'static str,
        /// How long was waited.
        waited: Duration,
        /// What failed at the end.
        reason: String,
    },
}

impl Error {
    /// The kernel's own error number, if the kernel refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Control { errno } | Self::Refused { errno, .. } | Self::Cookie { errno, .. } => {
                Some(*errno)
            }
            _ => None,
        }
    }
}

/// What to do about a control node that can't be opened.
fn control_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => " (run as root)",
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => {
            " (load the kernel's device-mapper: modprobe dm_mod dm_thin_pool)"
        }
        _ => "",
    }
}

/// What to do when semaphores ran out.
fn semaphore_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => {
            " (all semaphores are in use: see `ipcs -s` and kernel.sem; `dmsetup udevcomplete_all` frees those of dead processes)"
        }
        _ => "",
    }
}

/// A thing asked of the kernel, in words that follow "refused to".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read versions.
    Version,
    /// List all devices.
    List,
    /// Look a device up.
    Find,
    /// Make the device.
    Create,
    /// Load a table.
    Load,
    /// Suspend.
    Suspend,
    /// Resume.
    Resume,
    /// Rename.
    Rename,
    /// Remove.
    Remove,
    /// Take a message.
    Message,
    /// Give a status.
    Status,
    /// Give the table.
    Table,
    /// Tell of events.
    Listen,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "tell the version of",
            Self::List => "list the devices of",
            Self::Find => "look up",
            Self::Create => "create",
            Self::Load => "load the table of",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Message => "pass on the message",
            Self::Status => "give the status of",
            Self::Table => "give the table of",
            Self::Listen => "tell the events of",
        })
    }
}

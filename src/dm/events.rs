//! Device-mapper's events, waited for with poll(2).

use std::os::fd::{AsFd, BorrowedFd};

use super::Operation;
use super::error::Error;
use super::ioctl::Ioctls;
use super::kernel::{control_errno, told};

/// A control node of its own, which becomes readable when anything happens to any device-mapper device of the host: the
/// kernel counts the events of all of them together (`dm_global_event_nr` in dm-ioctl.c), and several that come one
/// after the other are heard as one.
pub struct Events {
    control: Ioctls,
}

impl Events {
    /// Opens the control node. Nothing is heard before [`Events::arm`].
    pub fn open() -> Result<Self, Error> {
        Ok(Self { control: Ioctls::open().map_err(|_| Error::Control { errno: control_errno() })? })
    }

    /// From here on, the next event makes the node readable, until it is armed again. So arm first, then look: what comes in
    /// between is heard. Needs device-mapper's interface 4.37 (Linux 4.14).
    pub fn arm(&self) -> Result<(), Error> {
        self.control.asking().arm_poll().map(drop).map_err(told(Operation::Listen, "device-mapper"))
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.asking().file().as_fd()
    }
}

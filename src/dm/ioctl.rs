//! The ioctls that change something, each a step at which a test can kill the process.
//!
//! What raises no uevent goes through the `devicemapper` crate's core. Resume and remove do, and the crate waits
//! for udev on them without a bound, so these two ioctls are made here.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "these are the steps")]

use std::os::fd::AsRawFd;

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions, DmResult, DmUuid};
use devicemapper_sys::{DM_DEV_REMOVE_CMD, DM_DEV_SUSPEND_CMD, DM_IOCTL, dm_ioctl};
use nix::errno::Errno;
use nix::libc;
use steps::around;

use super::Name;

/// The control node.
pub(super) struct Ioctls {
    dm: DM,
}

/// One that raises a uevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notifying {
    Resume,
    Remove,
}

impl Ioctls {
    pub(super) fn open() -> DmResult<Self> {
        Ok(Self { dm: DM::new()? })
    }

    /// For the ioctls that only ask.
    pub(super) fn asking(&self) -> &DM {
        &self.dm
    }

    pub(super) fn create(&self, name: &DmName, uuid: &DmUuid) -> DmResult<()> {
        around(format_args!("dm create {name}"), || {
            self.dm.device_create(name, Some(uuid), DmOptions::default()).map(drop)
        })
    }

    pub(super) fn load(
        &self,
        id: &DevId<'_>,
        line: (u64, u64, String, String),
        flags: DmFlags,
    ) -> DmResult<()> {
        around(format_args!("dm load {id}"), || {
            self.dm.table_load(id, &[line], DmOptions::default().set_flags(flags)).map(drop)
        })
    }

    pub(super) fn clear(&self, id: &DevId<'_>) -> DmResult<()> {
        around(format_args!("dm clear {id}"), || self.dm.table_clear(id).map(drop))
    }

    pub(super) fn suspend(&self, id: &DevId<'_>) -> DmResult<()> {
        let options = DmOptions::default().set_flags(DmFlags::DM_SUSPEND);
        around(format_args!("dm suspend {id}"), || self.dm.device_suspend(id, options).map(drop))
    }

    pub(super) fn message(&self, id: &DevId<'_>, text: &str) -> DmResult<()> {
        around(format_args!("dm message {id} {text}"), || self.dm.target_msg(id, None, text).map(drop))
    }

    /// Resumes or removes a device. Gives back the flags that the kernel set.
    pub(super) fn notify(
        &self,
        what: Notifying,
        name: &Name,
        flags: u32,
        event_nr: u32,
    ) -> Result<DmFlags, Errno> {
        let (word, command) = match what {
            Notifying::Resume => ("resume", DM_DEV_SUSPEND_CMD),
            Notifying::Remove => ("remove", DM_DEV_REMOVE_CMD),
        };
        around(format_args!("dm {word} {name}"), || self.raw(command, name, flags, event_nr))
    }

    fn raw(&self, command: u32, name: &Name, flags: u32, event_nr: u32) -> Result<DmFlags, Errno> {
        #[allow(clippy::cast_possible_truncation, reason = "the header is 312 bytes")]
        let size = size_of::<dm_ioctl>() as u32;
        // Interface 4.0 is what these two commands need; the kernel takes any lower minor than its own.
        let mut header = dm_ioctl {
            version: [4, 0, 0],
            data_size: size,
            data_start: size,
            flags,
            event_nr,
            ..Default::default()
        };
        for (to, from) in header.name.iter_mut().zip(name.as_str().bytes()) {
            *to = from.cast_signed();
        }
        let request = nix::request_code_readwrite!(DM_IOCTL, command, size_of::<dm_ioctl>());
        // SAFETY: the header is a whole `dm_ioctl` whose data_size says that nothing follows it, its name is
        // NUL-terminated (a Name is shorter than the zeroed field), and it lives until the call returns.
        Errno::result(unsafe { libc::ioctl(self.dm.file().as_raw_fd(), request, &raw mut header) })?;
        Ok(DmFlags::from_bits_truncate(header.flags))
    }
}

//! The ioctls that change something, each a step at which a test can kill the process.
//!
//! What raises no uevent goes through the `devicemapper` crate's core. Resume, rename and remove do, and the crate
//! waits for udev on them without a bound, so these three ioctls are made here.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "these are the steps")]

use std::os::fd::AsRawFd;

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions, DmResult, DmUuid};
use devicemapper_sys::{
    DM_DEV_REMOVE_CMD, DM_DEV_RENAME_CMD, DM_DEV_SUSPEND_CMD, DM_IOCTL, DM_NAME_LEN, dm_ioctl,
};
use nix::errno::Errno;
use nix::libc;
use steps::around;

use super::{DeviceNumber, Info, Name};

/// The control node.
pub(super) struct Ioctls {
    dm: DM,
}

/// One that raises a uevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notifying<'a> {
    Resume(DmFlags),
    Remove(DmFlags),
    Rename { to: &'a Name },
}

/// What the kernel says of the device. It writes name and uuid into whatever it is asked by, too (`__find_device_hash_cell` in
/// dm-ioctl.c).
pub(super) struct Answer(dm_ioctl);

impl Answer {
    pub(super) fn flags(&self) -> DmFlags {
        DmFlags::from_bits_truncate(self.0.flags)
    }

    /// The device as it was after a resume. One that was removed is none any more.
    pub(super) fn info(&self) -> Info {
        let flags = self.flags();
        let uuid = text(&self.0.uuid);
        Info {
            name: Name::found(&text(&self.0.name)),
            uuid: (!uuid.is_empty()).then_some(uuid),
            device: DeviceNumber::from_dev(self.0.dev),
            open_count: self.0.open_count.try_into().unwrap_or(0),
            suspended: flags.contains(DmFlags::DM_SUSPEND),
            read_only: flags.contains(DmFlags::DM_READONLY),
            deferred_remove: flags.contains(DmFlags::DM_DEFERRED_REMOVE),
            live: flags.contains(DmFlags::DM_ACTIVE_PRESENT),
            events: self.0.event_nr,
        }
    }
}

fn text(field: &[libc::c_char]) -> String {
    let bytes: Vec<u8> =
        field.iter().map(|letter| letter.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the kernel is given: its own header, and behind it the new name, if there is one. Zeroes end it.
#[repr(C)]
struct Message {
    header: dm_ioctl,
    data: [u8; DM_NAME_LEN as usize],
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

    /// Resumes, removes or renames a device. The kernel answers how it is then.
    pub(super) fn notify(&self, what: Notifying<'_>, name: &Name, event_nr: u32) -> Result<Answer, Errno> {
        match what {
            // Without the flag that would make it a suspend, this command resumes.
            Notifying::Resume(flags) => around(format_args!("dm resume {name}"), || {
                self.raw(DM_DEV_SUSPEND_CMD, name, flags, event_nr, None)
            }),
            Notifying::Remove(flags) => around(format_args!("dm remove {name}"), || {
                self.raw(DM_DEV_REMOVE_CMD, name, flags, event_nr, None)
            }),
            Notifying::Rename { to } => around(format_args!("dm rename {name} {to}"), || {
                self.raw(DM_DEV_RENAME_CMD, name, DmFlags::empty(), event_nr, Some(to))
            }),
        }
    }

    fn raw(
        &self,
        command: u32,
        name: &Name,
        flags: DmFlags,
        event_nr: u32,
        new_name: Option<&Name>,
    ) -> Result<Answer, Errno> {
        #[allow(clippy::cast_possible_truncation, reason = "both are a few hundred bytes")]
        let (data_start, data_size) = (size_of::<dm_ioctl>() as u32, size_of::<Message>() as u32);
        // Interface 4.0 is what these commands need; the kernel takes any lower minor than its own.
        let header = dm_ioctl {
            version: [4, 0, 0],
            data_size,
            data_start,
            flags: flags.bits(),
            event_nr,
            ..Default::default()
        };
        let mut message = Message { header, data: [0; DM_NAME_LEN as usize] };
        for (to, from) in message.header.name.iter_mut().zip(name.as_str().bytes()) {
            *to = from.cast_signed();
        }
        let new_name = new_name.map(|name| name.as_str().bytes());
        for (to, from) in message.data.iter_mut().zip(new_name.into_iter().flatten()) {
            *to = from;
        }
        let request = nix::request_code_readwrite!(DM_IOCTL, command, size_of::<dm_ioctl>());
        // SAFETY: the message begins with a whole `dm_ioctl` whose data_size says how long all of it is, both names are
        // NUL-terminated (a Name is shorter than either zeroed field), and it lives until the call returns.
        Errno::result(unsafe { libc::ioctl(self.dm.file().as_raw_fd(), request, &raw mut message) })?;
        Ok(Answer(message.header))
    }
}

//! Device-mapper's ioctls with nothing around them: what any program has to do, and no more. None of it is thinpool's.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use devicemapper_sys::{
    DM_DEV_CREATE_CMD, DM_DEV_REMOVE_CMD, DM_DEV_SUSPEND_CMD, DM_IOCTL, DM_TABLE_LOAD_CMD, DM_TARGET_MSG_CMD,
    DM_UDEV_DISABLE_DISK_RULES_FLAG, DM_UDEV_DISABLE_OTHER_RULES_FLAG, DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG,
    DM_UDEV_FLAGS_SHIFT, dm_ioctl,
};
use nix::errno::Errno;
use nix::libc;

/// Room for one target, or one message.
const ROOM: usize = 512;

/// udev's rules have nothing to do for these devices.
const NO_RULES: u32 = (DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG
    | DM_UDEV_DISABLE_DISK_RULES_FLAG
    | DM_UDEV_DISABLE_OTHER_RULES_FLAG)
    << DM_UDEV_FLAGS_SHIFT;

/// The control node.
pub struct Control(File);

#[repr(C)]
struct Message {
    header: dm_ioctl,
    data: [u8; ROOM],
}

impl Control {
    pub fn open() -> io::Result<Self> {
        File::options().read(true).write(true).open("/dev/mapper/control").map(Self)
    }

    /// Sends a message to a pool.
    pub fn message(&self, pool: &str, text: &str) -> io::Result<()> {
        // struct dm_target_msg: the sector, and the text.
        let data = [&0_u64.to_ne_bytes()[..], text.as_bytes()].concat();
        self.call(DM_TARGET_MSG_CMD, pool, 0, &data).map(drop)
    }

    /// Makes a device of one target live, and gives the kernel's own node of it.
    pub fn activate(&self, name: &str, sectors: u64, target: &str, table: &str) -> io::Result<PathBuf> {
        self.call(DM_DEV_CREATE_CMD, name, 0, &[])?;
        self.call(DM_TABLE_LOAD_CMD, name, 0, &specification(sectors, target, table))?;
        // Without the flag that would make it a suspend, this resumes.
        let live = self.call(DM_DEV_SUSPEND_CMD, name, NO_RULES, &[])?;
        Ok(PathBuf::from(format!("/dev/dm-{}", nix::sys::stat::minor(live.dev))))
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.call(DM_DEV_REMOVE_CMD, name, NO_RULES, &[]).map(drop)
    }

    fn call(&self, command: u32, name: &str, event_nr: u32, data: &[u8]) -> io::Result<dm_ioctl> {
        #[allow(clippy::cast_possible_truncation, reason = "both are a few hundred bytes")]
        let (data_start, data_size) = (size_of::<dm_ioctl>() as u32, size_of::<Message>() as u32);
        let target_count = u32::from(command == DM_TABLE_LOAD_CMD);
        let version = [4, 0, 0];
        let header =
            dm_ioctl { version, data_size, data_start, target_count, event_nr, ..Default::default() };
        let mut message = Message { header, data: [0; ROOM] };
        for (to, from) in message.header.name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        message.data[..data.len()].copy_from_slice(data);
        let request = nix::request_code_readwrite!(DM_IOCTL, command, size_of::<dm_ioctl>());
        // SAFETY: the message begins with a whole `dm_ioctl` whose data_size says how long all of it is, its strings end
        // in zeroes, and it lives until the call returns.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut message) })?;
        Ok(message.header)
    }
}

/// struct dm_target_spec: the first sector, how many there are, a status, where the next one is, the target's name in 16
/// bytes; and the target's own words.
fn specification(sectors: u64, target: &str, table: &str) -> Vec<u8> {
    let mut name = [0; 16];
    name[..target.len()].copy_from_slice(target.as_bytes());
    let (start, status_and_next) = (0_u64.to_ne_bytes(), [0; 8]);
    [&start[..], &sectors.to_ne_bytes(), &status_and_next, &name, table.as_bytes()].concat()
}

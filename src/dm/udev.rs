//! Waiting for udev, with a bound.
//!
//! libdevmapper's protocol: a System V semaphore whose key is a *cookie* is set to 1 and raised once for each
//! ioctl that makes the kernel emit a uevent; the cookie travels in the ioctl's `event_nr`; udev's rule
//! 95-dm-notify runs `dmsetup udevcomplete` to lower it; the caller takes its own 1 off and waits for zero. A lost
//! event means that zero never comes, so the wait here ends at a deadline, and the caller verifies the result.
#![allow(unsafe_code)]

use std::fmt;
use std::path::Path;
use std::time::Duration;

use devicemapper_sys::{
    DM_COOKIE_MAGIC, DM_UDEV_DISABLE_DISK_RULES_FLAG, DM_UDEV_DISABLE_OTHER_RULES_FLAG,
    DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG, DM_UDEV_FLAGS_MASK, DM_UDEV_FLAGS_SHIFT, DM_UDEV_LOW_PRIORITY_FLAG,
    DM_UDEV_PRIMARY_SOURCE_FLAG, SETVAL, semun,
};
use nix::errno::Errno;
use nix::libc;
use steps::around;

use super::{Visibility, semaphore};

/// How well changes can be synchronised with udev on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdevSync {
    /// udevd runs and answers cookies.
    Supported,
    /// No udevd: nodes are made by us, at once.
    NoDaemon,
    /// udevd runs, but device-mapper's rules, which answer cookies, are not installed.
    NoRules,
    /// The kernel has no System V semaphores, or none may be used here.
    NoSemaphores,
}

impl UdevSync {
    /// Looks at the host.
    #[must_use]
    pub fn detect() -> Self {
        const RULES: [&str; 4] =
            ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"];
        if !Path::new("/run/udev/control").exists() {
            Self::NoDaemon
        } else if !RULES.iter().any(|folder| Path::new(folder).join("95-dm-notify.rules").exists()) {
            Self::NoRules
        } else if !Path::new("/proc/sysvipc/sem").exists() {
            Self::NoSemaphores
        } else {
            Self::Supported
        }
    }

    /// Whether `docker info` would say `Udev Sync Supported: true`.
    #[must_use]
    pub fn supported(self) -> bool {
        self == Self::Supported
    }

    /// Whether udevd and we might both make nodes, with nothing to order the two.
    #[must_use]
    pub fn races(self) -> bool {
        matches!(self, Self::NoRules | Self::NoSemaphores)
    }
}

impl fmt::Display for UdevSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Supported => "udev answers",
            Self::NoDaemon => "udevd is not running",
            Self::NoRules => "device-mapper's udev rules (95-dm-notify.rules) are not installed",
            Self::NoSemaphores => "the kernel has no System V semaphores",
        })
    }
}

/// What a device's `event_nr` tells udev's rules about it, without a cookie.
pub(super) fn rule_flags(visibility: Visibility) -> u32 {
    let flags = match visibility {
        Visibility::Internal => {
            DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG
                | DM_UDEV_DISABLE_DISK_RULES_FLAG
                | DM_UDEV_DISABLE_OTHER_RULES_FLAG
        }
        Visibility::Snapshot => DM_UDEV_LOW_PRIORITY_FLAG,
    };
    (flags | DM_UDEV_PRIMARY_SOURCE_FLAG) << DM_UDEV_FLAGS_SHIFT
}

/// A semaphore that udev lowers when it is done. Dropping it removes the semaphore, waited for or not.
#[derive(Debug)]
pub(super) struct Cookie {
    semaphore: libc::c_int,
    base: u32,
}

impl Cookie {
    /// A new cookie, already raised for one ioctl.
    pub(super) fn new() -> Result<Self, Errno> {
        const ATTEMPTS: u32 = 16;
        for _ in 0..ATTEMPTS {
            let base = random_base();
            match around(format_args!("make a semaphore"), || Self::with_base(base)) {
                Ok(cookie) => return Ok(cookie),
                // Somebody else drew the same 16 bits: draw again.
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EEXIST)
    }

    fn with_base(base: u32) -> Result<Self, Errno> {
        let semaphore = make_semaphore(DM_COOKIE_MAGIC << DM_UDEV_FLAGS_SHIFT | base)?;
        let cookie = Self { semaphore, base };
        // Our signature: see `semaphore`.
        cookie.set(semaphore::MAKERS, 1)?;
        cookie.set(0, 2)?;
        Ok(cookie)
    }

    /// What goes into the ioctl's `event_nr`.
    pub(super) fn event_nr(&self, visibility: Visibility) -> u32 {
        rule_flags(visibility) | self.base
    }

    /// Waits until udev has answered. `false` when it had not by the end of the timeout.
    pub(super) fn wait(self, timeout: Duration) -> Result<bool, Errno> {
        let waited =
            self.operate(-1, libc::IPC_NOWAIT, Duration::ZERO).and_then(|()| self.operate(0, 0, timeout));
        match waited {
            // Somebody removed the semaphore (`dmsetup udevcomplete_all`): that is an answer, too.
            Ok(()) | Err(Errno::EIDRM | Errno::EINVAL) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn set(&self, number: libc::c_int, value: i32) -> Result<(), Errno> {
        // SAFETY: SETVAL reads the union's `val`, which is what is set.
        Errno::result(unsafe { libc::semctl(self.semaphore, number, SETVAL, semun { val: value }) }).map(drop)
    }

    /// One semaphore operation with a deadline; a signal in between only costs a retry with the same timeout.
    fn operate(&self, amount: i16, flags: libc::c_int, timeout: Duration) -> Result<(), Errno> {
        #[allow(clippy::cast_possible_truncation, reason = "IPC_NOWAIT fits: the field was made for it")]
        let mut operation = libc::sembuf { sem_num: 0, sem_op: amount, sem_flg: flags as i16 };
        let timeout: libc::timespec = *nix::sys::time::TimeSpec::from_duration(timeout).as_ref();
        loop {
            // SAFETY: one operation is passed with the count 1, and both pointers outlive the call.
            let result = unsafe { semtimedop(self.semaphore, &raw mut operation, 1, &raw const timeout) };
            match Errno::result(result) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Whether a semaphore with this key is a cookie: libdevmapper's own number, and 16 bits that were drawn.
#[must_use]
pub fn is_cookie(key: u32) -> bool {
    key >> DM_UDEV_FLAGS_SHIFT == DM_COOKIE_MAGIC
}

/// How many processes wait on a cookie, for udev.
pub fn cookie_waiters(semaphore: i32) -> Result<u32, Errno> {
    /// semctl(2): the number of processes that wait for zero. The libc crate doesn't have it.
    const GETZCNT: libc::c_int = 15;
    // SAFETY: GETZCNT takes no argument and changes nothing.
    let waiting = Errno::result(unsafe { libc::semctl(semaphore, 0, GETZCNT) })?;
    Ok(waiting.unsigned_abs())
}

impl Drop for Cookie {
    fn drop(&mut self) {
        semaphore::remove(self.semaphore);
    }
}

unsafe extern "C" {
    /// semop(2) with a timeout. In glibc and musl both; the libc crate just doesn't declare it.
    fn semtimedop(
        semaphore: libc::c_int,
        operations: *mut libc::sembuf,
        count: usize,
        timeout: *const libc::timespec,
    ) -> libc::c_int;
}

fn make_semaphore(key: u32) -> Result<libc::c_int, Errno> {
    let (key, flags) = (key.cast_signed(), 0o600 | libc::IPC_CREAT | libc::IPC_EXCL);
    // SAFETY: semget takes plain integers. The key's bits matter, not its sign.
    Errno::result(unsafe { libc::semget(key, semaphore::OURS, flags) })
}

/// A random number of 16 bits that is not zero, which means "no cookie".
fn random_base() -> u32 {
    loop {
        let [a, b, ..] = *uuid::Uuid::new_v4().as_bytes();
        let base = u32::from(u16::from_ne_bytes([a, b])) & !DM_UDEV_FLAGS_MASK;
        if base != 0 {
            return base;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_udev_lost_does_not_hang_us() {
        let Ok(cookie) = Cookie::new() else { return };
        assert_eq!(cookie.wait(Duration::from_millis(10)), Ok(false));
    }

    #[test]
    fn an_answered_cookie_is_waited_for_and_leaves_no_semaphore() {
        let Ok(cookie) = Cookie::new() else { return };
        let semaphore = cookie.semaphore;
        cookie.operate(-1, 0, Duration::from_secs(1)).expect("what udevcomplete does");
        assert_eq!(cookie.wait(Duration::from_secs(10)), Ok(true));
        // SAFETY: GETVAL takes no argument.
        let gone = unsafe { libc::semctl(semaphore, 0, devicemapper_sys::GETVAL) };
        assert_eq!(gone, -1, "the semaphore is still there");
    }

    #[test]
    fn snapshots_never_take_a_link_from_their_origin_and_internals_are_hidden() {
        assert_eq!(rule_flags(Visibility::Snapshot), 0x0050_0000);
        assert_eq!(rule_flags(Visibility::Internal), 0x004e_0000);
    }
}

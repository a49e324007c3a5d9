//! System V semaphores as the kernel lists them, and those of ours whose maker died.
//!
//! A killed process leaves the semaphore on which it waited for udev. Whose libdevmapper's are, nobody can tell; ours have
//! a second semaphore in their set, which only their maker ever sets, and the kernel remembers who did (GETPID).
#![allow(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use steps::around;

use super::udev::{cookie_waiters, is_cookie};

/// The kernel's list of semaphores: proc(5).
pub const SEMAPHORES: &str = "/proc/sysvipc/sem";

/// How many semaphores a cookie of ours has; libdevmapper's have one.
pub(super) const OURS: libc::c_int = 2;

/// The one of them that only its maker sets.
pub(super) const MAKERS: libc::c_int = 1;

/// Between making a set and setting its maker's semaphore lie microseconds.
const YOUNG: Duration = Duration::from_secs(10);

/// A set of semaphores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Semaphore {
    /// Its key.
    pub(crate) key: u32,
    /// Its number.
    pub(crate) id: i32,
    /// How many it has.
    pub(crate) count: libc::c_int,
    /// When it was made or set, in seconds since 1970.
    pub(crate) changed: u64,
}

impl Semaphore {
    /// Reads the kernel's list.
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        text.lines().skip(1).filter_map(Self::parse).collect()
    }

    /// A line of "key semid perms nsems uid gid cuid cgid otime ctime".
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let key: i32 = words.first()?.parse().ok()?;
        Some(Self {
            key: key.cast_unsigned(),
            id: words.get(1)?.parse().ok()?,
            count: words.get(3)?.parse().ok()?,
            changed: words.get(9)?.parse().ok()?,
        })
    }
}

/// Removes the cookies of ours whose maker died. That one can't be removed costs a semaphore, nothing else.
pub(super) fn remove_abandoned() {
    let list = std::fs::read_to_string(SEMAPHORES).unwrap_or_default();
    let ours = |one: &Semaphore| is_cookie(one.key) && one.count == OURS;
    for cookie in Semaphore::list(&list).into_iter().filter(ours) {
        match is_abandoned(cookie) {
            Ok(true) => remove(cookie.id),
            // It went while we looked.
            Ok(false) | Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(errno) => tracing::debug!(id = cookie.id, %errno, "whose semaphore it is can't be told"),
        }
    }
}

pub(super) fn remove(id: libc::c_int) {
    around(format_args!("remove a semaphore"), || {
        // SAFETY: IPC_RMID takes no argument. A semaphore that is gone already (`dmsetup udevcomplete_all`) is as
        // good as removed, so the result doesn't matter.
        unsafe { libc::semctl(id, 0, libc::IPC_RMID) }
    });
}

fn is_abandoned(cookie: Semaphore) -> Result<bool, Errno> {
    // SAFETY: GETPID takes no argument and changes nothing.
    let maker = Errno::result(unsafe { libc::semctl(cookie.id, MAKERS, libc::GETPID) })?;
    if maker > 0 {
        return Ok(kill(Pid::from_raw(maker), None) == Err(Errno::ESRCH));
    }
    // Its maker died before it could sign, or lives in another namespace of processes.
    let made = UNIX_EPOCH + Duration::from_secs(cookie.changed);
    let is_old = SystemTime::now().duration_since(made).is_ok_and(|age| age > YOUNG);
    Ok(is_old && cookie_waiters(cookie.id)? == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_list_of_semaphores_makes_the_reader_panic(text in ".*|( *-?[0-9]{1,12}){0,12}\n") {
            let _ = Semaphore::parse(&text);
        }
    }

    #[test]
    fn a_cookie_of_a_living_process_or_of_libdevmapper_is_never_removed() {
        let list = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n\
                    223195655         17   600          1     0     0     0     0          0 1795564691\n";
        let found = Semaphore::list(list);
        assert!(is_cookie(found[0].key) && found[0].count != OURS && found[0].id == 17);
        let Ok(cookie) = super::super::udev::Cookie::new() else { return };
        remove_abandoned();
        assert_eq!(cookie.wait(std::time::Duration::ZERO), Ok(false), "it was removed");
    }
}

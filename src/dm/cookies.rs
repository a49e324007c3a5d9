//! libdevmapper's cookies among the semaphores: on each of them somebody waits for udev.

use std::fmt;

use nix::errno::Errno;

use super::semaphore::Semaphore;
use super::udev::is_cookie;

/// Between making a cookie and waiting on it a command makes one ioctl; by then it has long been made.
const YOUNG: u64 = 10;
/// udev answers in milliseconds. Who waits for so long waits in vain.
const TOO_LONG: u64 = 60;

/// A semaphore of libdevmapper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// Its key.
    pub key: u32,
    /// How many seconds ago it was last changed.
    pub age: u64,
}

/// Cookies that will never be answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cookies {
    /// Those that nobody waits on: their makers died.
    pub left: Vec<Cookie>,
    /// Those on which somebody waits in vain.
    pub stuck: Vec<Cookie>,
}

impl Cookies {
    /// Those among all semaphores that will never be answered. `waiters` tells how many processes wait on one.
    pub fn among(
        semaphores: &[Semaphore],
        now: u64,
        waiters: impl Fn(i32) -> Result<u32, Errno>,
    ) -> Result<Self, Errno> {
        let mut cookies = Self::default();
        for semaphore in semaphores.iter().filter(|semaphore| is_cookie(semaphore.key)) {
            let cookie = Cookie { key: semaphore.key, age: now.saturating_sub(semaphore.changed) };
            match waiters(semaphore.id) {
                // It went while we looked.
                Err(Errno::EINVAL | Errno::EIDRM) => {}
                Err(errno) => return Err(errno),
                Ok(0) if cookie.age >= YOUNG => cookies.left.push(cookie),
                Ok(1..) if cookie.age >= TOO_LONG => cookies.stuck.push(cookie),
                Ok(_) => {}
            }
        }
        Ok(cookies)
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x} ({} s old)", self.key, self.age)
    }
}

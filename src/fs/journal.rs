//! What ext4 still owes its device before it is unmounted.
//!
//! What could not be written back, because the pool was read-only or full at that moment, still stands in the journal. But
//! the kernel may see that only at the end of an unmount, and mark the journal as played back all the same
//! (`ext4_put_super`, seen with 6.1): files that were synced would be gone at the next mount. Where the journal is flushed
//! before, it finds out in time, and the next mount plays it back.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

// EXT4_IOC_CHECKPOINT, since Linux 5.14.
nix::ioctl_write_ptr!(checkpoint, b'f', 43, u32);

/// Has ext4 write back all that is in its journal. That this can't be done keeps nobody from unmounting: it is told.
pub(super) fn flush(at: &Path) {
    let Ok(root) = File::open(at) else { return };
    let no_flags = 0_u32;
    let flushed = steps::around(format_args!("flush the journal at {}", at.display()), || {
        // SAFETY: the kernel reads one u32 during the call.
        unsafe { checkpoint(root.as_raw_fd(), &raw const no_flags) }
    });
    match flushed {
        // Another file system, an older kernel, no journal.
        Ok(_) | Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::EROFS) => {}
        Err(errno) => tracing::warn!(
            at = %at.display(), %errno,
            "not all that was written there could be brought to its place: it stays in the journal, and comes back with the next \
             mount that can write"
        ),
    }
}

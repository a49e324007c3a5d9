//! ext4's inode tables on thin devices: where what was never written reads as zeroes, nobody has to zero them.
//!
//! By itself the kernel does, in the background (`init_itable`, ext4(5)): of each GiB that a file system has grown by, 16 MiB of
//! the pool, in every snapshot anew. So ext4 is mounted with [`LEFT_ALONE`] in a pool that zeroes new blocks. But one that is
//! mounted so zeroes at once what it grows by (`ext4_setup_next_flex_gd` in the kernel's fs/ext4/resize.c): while it grows,
//! it is as it would be by itself.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};

/// The option that leaves them as they are.
pub(super) const LEFT_ALONE: &str = "noinit_itable";

/// The one that leaves those of new groups for later, to be zeroed in the background.
const LEFT_FOR_LATER: &str = "init_itable";

/// Does what makes the file system with this root directory larger. Where it was mounted so that tables are left alone, those that
/// come are, too; one that somebody mounted otherwise stays as he wanted it. If that can't be had the tables take room of
/// the pool; nothing else comes of it.
pub(super) fn left_alone_while<T>(root: &File, grow: impl FnOnce() -> T) -> T {
    if !are_left_alone(root) {
        return grow();
    }
    let change = |option| {
        if let Err(error) = reconfigure(root, option) {
            tracing::warn!(%error, option, "ext4 zeroes inode tables, which takes room of the pool");
        }
    };
    change(LEFT_FOR_LATER);
    let outcome = grow();
    change(LEFT_ALONE);
    outcome
}

/// Whether the file system is mounted so, whoever mounted it, in whatever namespace. Its device is one of device-mapper's.
fn are_left_alone(root: &File) -> bool {
    let Ok(found) = rustix::fs::fstat(root.as_fd()) else { return false };
    let options = format!("/proc/fs/ext4/dm-{}/options", rustix::fs::minor(found.st_dev));
    std::fs::read_to_string(options).is_ok_and(|options| options.lines().any(|option| option == LEFT_ALONE))
}

#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn reconfigure(root: &File, option: &str) -> io::Result<()> {
    steps::around(format_args!("mount again with {option}"), || {
        let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
        let context = fspick(root, "", flags)?;
        fsconfig_set_flag(&context, option)?;
        Ok(fsconfig_reconfigure(&context)?)
    })
}

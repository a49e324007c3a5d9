//! What keeps a mount in its own namespace.
//!
//! A mount that is made in a shared one shows up in every namespace that shares it, and stays there, busy, when it is
//! unmounted here: the old trouble of "device is busy" (moby#10991). No flag of move_mount(2) prevents that, but the
//! propagation of what a mount is made *in* decides. So where that is shared, an empty file system that is private is put
//! between the two: a tmpfs, read-only, of no size, whose source says whose it is.

use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno as RustixErrno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount,
};

use super::mount::errno;
use super::mounts::{Mount, MountTableError, all_mounts, mount_id};
use super::{FsError, is_on_top, unmount_top};

/// Puts a shield over a directory, if anything mounted there would show in other namespaces.
pub(super) fn raise(at: &Path, whose: &str) -> Result<(), FsError> {
    let failed = |source| MountTableError { path: at.to_owned(), source };
    let under = mount_id(at).map_err(failed)?;
    if !all_mounts()?.iter().any(|mount| mount.id == under && mount.shared) {
        return Ok(());
    }
    steps::around(format_args!("shield {}", at.display()), || put(at, whose))
        .map_err(|error| FsError::Shield { at: at.to_owned(), errno: errno(error) })
}

#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn put(at: &Path, whose: &str) -> Result<(), RustixErrno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", whose)?;
    fsconfig_set_string(&context, "size", "4k")?;
    fsconfig_set_string(&context, "mode", "0")?;
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(&mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    // By its descriptor: nobody can have put anything else there.
    let itself = format!("/proc/self/fd/{}", mount.as_raw_fd());
    mount_change(itself, MountPropagationFlags::PRIVATE)
}

/// Whether a mount is a shield of somebody's.
pub(super) fn is_one(mount: &Mount, whose: &str) -> bool {
    is_of(mount, &|source| source == whose)
}

fn is_of(mount: &Mount, whose: &dyn Fn(&str) -> bool) -> bool {
    mount.read_only && whose(&mount.source)
}

/// Takes the shield at a directory away, if there is one and nothing lies on it.
pub(super) fn lower(at: &Path, whose: &str) -> Result<(), FsError> {
    lower_those(|mount| is_one(mount, whose) && mount.at == at)
}

/// Takes every shield away that nothing lies on, of everybody for whom `whose` says so: a mount that was killed leaves one.
pub(super) fn lower_all(whose: &dyn Fn(&str) -> bool) -> Result<(), FsError> {
    lower_those(|mount| is_of(mount, whose))
}

fn lower_those(which: impl Fn(&Mount) -> bool) -> Result<(), FsError> {
    for shield in all_mounts()?.into_iter().rev().filter(|mount| which(mount)) {
        if is_on_top(&shield)? {
            unmount_top(&shield.at)?;
        }
    }
    Ok(())
}

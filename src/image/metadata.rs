//! Owners, modes, extended attributes and times, in the one order that keeps them all: a change of owner clears the
//! setuid bit and capabilities, so it comes first; and everything changes times, so they come last.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use super::error::Refusal;
use super::pax::Time;
use super::resolve::{Doing, Problem, as_path};
use super::tar_reader::{Entry, Kind};

/// The label that a security module gives by its own policy: it makes no sense on another machine.
pub(super) const SELINUX: &[u8] = b"security.selinux";

/// Gives an open file or directory all but its times; `stat` is what it has now. What is right already isn't set again,
/// which saves two journalled changes for most files. Returns how many attributes were left out.
pub(super) fn apply_open(file: &File, stat: &FileStat, entry: &Entry) -> Result<u64, Problem> {
    let (uid, gid) = owner(entry)?;
    strip(entry, file.list_xattr(), |name| file.remove_xattr(name))?;
    let same_owner = (stat.st_uid, stat.st_gid) == (uid.as_raw(), gid.as_raw());
    if !same_owner {
        fchown(file, Some(uid), Some(gid)).doing("set its owner")?;
    }
    // A change of owner may have cleared bits of the mode.
    if !same_owner || stat.st_mode & 0o7777 != entry.mode {
        fchmod(file, Mode::from_bits_truncate(entry.mode)).doing("set its mode")?;
    }
    xattrs(entry, |name, value| file.set_xattr(name, value))
}

/// Gives what is called `name` all there is. Returns how many attributes were left out.
pub(super) fn apply_named(directory: &OwnedFd, name: &[u8], entry: &Entry) -> Result<u64, Problem> {
    let (uid, gid) = owner(entry)?;
    let path = as_path(name);
    fchownat(directory, path, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).doing("set its owner")?;
    if entry.kind != Kind::Symlink {
        let full = through_descriptor(directory, name);
        strip(entry, xattr::list(&full), |name| xattr::remove(&full, name))?;
        // It isn't a link: this program has just made it.
        let mode = Mode::from_bits_truncate(entry.mode);
        fchmodat(directory, path, mode, FchmodatFlags::FollowSymlink).doing("set its mode")?;
    }
    let mut skipped = 0;
    if !entry.xattrs.is_empty() {
        let full = through_descriptor(directory, name);
        skipped = xattrs(entry, |name, value| xattr::set(&full, name, value))?;
    }
    let time = time_spec(entry.mtime);
    utimensat(directory, path, &time, &time, UtimensatFlags::NoFollowSymlink).doing("set its time")?;
    Ok(skipped)
}

/// Sets both times of an open file.
pub(super) fn set_times(file: &File, mtime: Time) -> nix::Result<()> {
    let time = time_spec(mtime);
    futimens(file, &time, &time)
}

/// The path of something in an open directory, for the calls on attributes, which have no variant for descriptors.
pub(super) fn through_descriptor(directory: &OwnedFd, name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    path.push(as_path(name));
    path
}

fn time_spec(time: Time) -> TimeSpec {
    TimeSpec::new(time.secs, time.nanos.into())
}

fn owner(entry: &Entry) -> Result<(Uid, Gid), Refusal> {
    // The largest number says "leave the owner" to the kernel, which would leave the file to root.
    let number = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(Refusal::BadOwner);
    Ok((Uid::from_raw(number(entry.uid)?), Gid::from_raw(number(entry.gid)?)))
}

/// Takes away the attributes that the entry doesn't have: those of a lower layer's directory, whose attributes the
/// image specification wants replaced, and the access control list that a new file inherits from its directory.
fn strip(
    entry: &Entry,
    there: io::Result<xattr::XAttrs>,
    remove: impl Fn(&OsStr) -> io::Result<()>,
) -> Result<(), Problem> {
    // A file system without attributes has none to take away; one that fails will say so when it is written to.
    let Ok(there) = there else { return Ok(()) };
    for name in there {
        let name = name.as_bytes();
        // What is in `security` is the host's own, but for capabilities.
        let foreign = name.starts_with(b"security.") && name != b"security.capability";
        if !foreign && !entry.xattrs.iter().any(|(kept, _)| kept == name) {
            match remove(OsStr::from_bytes(name)) {
                // XFS lists an access control list by two names, and both go at once.
                Err(error) if error.raw_os_error() != Some(Errno::ENODATA as i32) => {
                    return Err(xattr_problem(name, &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn xattr_problem(name: &[u8], error: &io::Error) -> Problem {
    Problem::Xattr(name.to_vec(), error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))
}

fn xattrs(entry: &Entry, set: impl Fn(&OsStr, &[u8]) -> io::Result<()>) -> Result<u64, Problem> {
    let mut skipped = 0;
    for (name, value) in &entry.xattrs {
        if name == SELINUX {
            skipped += 1;
            continue;
        }
        let dot = name.iter().position(|&b| b == b'.');
        if name.contains(&0) || dot.is_none_or(|dot| dot == 0 || dot + 1 == name.len()) {
            return Err(Refusal::BadXattrName.into());
        }
        set(OsStr::from_bytes(name), value).map_err(|error| xattr_problem(name, &error))?;
    }
    Ok(skipped)
}

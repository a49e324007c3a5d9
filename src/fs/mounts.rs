//! Where a device is mounted.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::dm::DeviceNumber;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What the kernel calls it: no two mounts that are there have the same number, in whatever namespaces.
    pub id: u64,
    /// The device.
    pub device: DeviceNumber,
    /// The directory.
    pub at: PathBuf,
    /// Whether what is mounted in it shows in other namespaces, too.
    pub shared: bool,
    /// Whether nothing can be written by way of this mount.
    pub read_only: bool,
    /// Whether the file system itself is read-only, by way of whichever mount.
    pub file_system_read_only: bool,
    /// What was mounted, in the words of who did.
    pub source: String,
}

/// The table of mounts can't be read.
#[derive(Debug, Error)]
#[error("{path} can't be read: {source}")]
pub struct MountTableError {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// All mounts of our own namespace, in the order they were made.
pub fn all_mounts() -> Result<Vec<Mount>, MountTableError> {
    let path = Path::new("/proc/self/mountinfo");
    let table = std::fs::read(path).map_err(|source| MountTableError { path: path.to_owned(), source })?;
    Ok(parse_table(&table))
}

/// The mounts in a table of the kernel's.
pub(super) fn parse_table(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse).collect()
}

/// A line of mountinfo: `36 35 98:0 /root /mnt/point options shared:7 … - type source options` (proc(5)).
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let is_read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    let end = fields.iter().position(|field| *field == b"-")?;
    let (optional, last) = (fields.get(6..end)?, fields.get(end + 1..)?);
    Some(Mount {
        id: text(fields[0]).parse().ok()?,
        device: text(fields[2]).parse().ok()?,
        at: PathBuf::from(OsString::from_vec(unescape(fields[4]))),
        shared: optional.iter().any(|field| field.starts_with(b"shared:")),
        read_only: is_read_only(fields[5]),
        file_system_read_only: is_read_only(last.get(2)?),
        source: text(&unescape(last.get(1)?)),
    })
}

/// The number of the mount that a path leads into: of what lies on top there.
pub(super) fn mount_id(path: &Path) -> io::Result<u64> {
    mount_id_seen_by(&File::open("/proc/self")?, path)
}

/// The same, for a thread in another namespace, by its directory in /proc.
pub(super) fn mount_id_seen_by(task: &File, path: &Path) -> io::Result<u64> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let place = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let info = format!("fdinfo/{}", place.as_raw_fd());
    let mut text = String::new();
    let info = openat(task, info, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(info).read_to_string(&mut text)?;
    mount_id_in(&text).ok_or_else(|| io::Error::other("the kernel doesn't tell which mount it is in"))
}

/// The same, from what /proc has on an open file.
pub(super) fn mount_id_in(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// In mountinfo and in /proc/swaps, blanks, tabs, line ends and backslashes come as a backslash and three octal digits.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mount_point_with_blanks_is_found_by_its_real_name() {
        let line = b"41 29 253:3 / /mnt/my\\040pool\\134x rw,nodev - xfs /dev/mapper/p-c rw";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.at, Path::new("/mnt/my pool\\x"));
        assert_eq!(mount.device, DeviceNumber { major: 253, minor: 3 });
        assert!(!mount.shared && !mount.read_only && !mount.file_system_read_only);
    }

    #[test]
    fn what_is_read_only_and_what_propagates_is_seen_in_the_table() {
        let line = b"41 29 253:3 / /mnt ro,nodev shared:7 master:3 - ext4 /dev/mapper/p-c rw,discard";
        let mount = parse(line).expect("a mount");
        assert!(mount.shared && mount.read_only && !mount.file_system_read_only);
        assert_eq!((mount.id, mount.source.as_str()), (41, "/dev/mapper/p-c"));
    }

    proptest! {
        #[test]
        fn no_table_makes_the_reader_panic(table in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_table(&table);
        }
    }

    #[test]
    fn a_line_that_is_no_mount_is_passed_over() {
        for line in [
            &b""[..],
            b"41 29",
            b"41 29 x:y / /mnt rw - xfs a rw",
            b"41 29 253:3 /",
            b"41 29 253:3 / /mnt rw - xfs",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
        assert_eq!(unescape(b"tail\\04"), b"tail\\04");
    }
}

//! Where a device is mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::dm::DeviceNumber;

/// One mount of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device.
    pub device: DeviceNumber,
    /// The directory.
    pub at: PathBuf,
}

/// The table of mounts can't be read.
#[derive(Debug, Error)]
#[error("{path} can't be read: {source}")]
pub struct MountTableError {
    path: PathBuf,
    source: io::Error,
}

/// The mounts of a device in our own mount namespace, in the order they were made.
pub fn mounts_of(device: DeviceNumber) -> Result<Vec<Mount>, MountTableError> {
    let mut mounts = all_mounts()?;
    mounts.retain(|mount| mount.device == device);
    Ok(mounts)
}

/// All mounts in our own mount namespace, in the order they were made.
pub fn all_mounts() -> Result<Vec<Mount>, MountTableError> {
    let path = Path::new("/proc/self/mountinfo");
    let table = std::fs::read(path).map_err(|source| MountTableError { path: path.to_owned(), source })?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// A line of mountinfo: `36 35 98:0 /root /mnt/point options … - type source options` (proc(5)).
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
    let at = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    Some(Mount { device, at })
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
    use super::*;

    #[test]
    fn a_mount_point_with_blanks_is_found_by_its_real_name() {
        let line = b"41 29 253:3 / /mnt/my\\040pool\\134x rw,nodev - xfs /dev/mapper/p-c rw";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.at, Path::new("/mnt/my pool\\x"));
        assert_eq!(mount.device, DeviceNumber { major: 253, minor: 3 });
    }

    #[test]
    fn a_line_that_is_no_mount_is_passed_over() {
        for line in [&b""[..], b"41 29", b"41 29 x:y / /mnt", b"41 29 253:3 /"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
        assert_eq!(unescape(b"tail\\04"), b"tail\\04");
    }
}

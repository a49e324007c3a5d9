//! What is on a device, told by its signatures: file systems, partition tables, members of arrays.

use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{LvmError, NotInstalled};
use crate::run::{RunError, run};
use crate::tool::{Lvm, TIME_LIMIT, clean, find_tool};

/// A signature on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What it is of, in libblkid's words: `ext4`, `gpt`, `LVM2_member`.
    pub kind: String,
    /// Where it starts.
    pub offset: String,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind, self.offset)
    }
}

/// Signatures for people.
pub(crate) fn told(found: &[Signature]) -> String {
    let words: Vec<String> = found.iter().map(|signature| format!("a signature of {signature}")).collect();
    words.join(", ")
}

/// wipefs, util-linux's finder of signatures, as it is on this machine. It needs no LVM.
#[derive(Debug, Clone)]
pub struct Wipefs {
    path: PathBuf,
    time_limit: Duration,
}

impl Wipefs {
    /// Finds `wipefs`.
    pub fn find() -> Result<Self, NotInstalled> {
        Ok(Self { path: find_tool("wipefs", "util-linux")?, time_limit: TIME_LIMIT })
    }

    /// The same, with another time for each command.
    #[must_use]
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Every signature on a device. Nothing is changed.
    pub fn signatures(&self, device: &Path) -> Result<Vec<Signature>, RunError> {
        Ok(read(&String::from_utf8_lossy(&self.run(&["--parsable"], device)?)))
    }

    /// Wipes every signature of a device that the caller has open with `O_EXCL`, so that nobody else can use it, and that a
    /// second such open would fail. Partition tables inside of partitions are wiped, too.
    pub fn wipe_claimed(&self, device: &Path) -> Result<(), RunError> {
        self.run(&["--all", "--force"], device).map(drop)
    }

    fn run(&self, options: &[&str], device: &Path) -> Result<Vec<u8>, RunError> {
        run(clean(&self.path).args(options).arg("--").arg(device), self.time_limit)
    }
}

impl Lvm {
    /// Every signature on a device. Nothing is changed.
    pub fn signatures(&self, device: &Path) -> Result<Vec<Signature>, LvmError> {
        Ok(self.wipefs()?.signatures(device)?)
    }
}

/// Reads what `wipefs --parsable` prints: lines `OFFSET,UUID,LABEL,KIND`, after a heading that starts with `#`.
/// (Its JSON is younger than the systems that are still about.)
fn read(output: &str) -> Vec<Signature> {
    let lines = output.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| Some((line.split_once(',')?.0, line.rsplit_once(',')?.1)));
    fields.map(|(offset, kind)| Signature { kind: kind.to_owned(), offset: offset.to_owned() }).collect()
}

/// Whether somebody has a block device for himself: a mount, an array, LVM. The kernel says so with EBUSY.
pub(crate) fn is_busy(device: &Path) -> std::io::Result<bool> {
    let exclusive = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or_default();
    match std::fs::OpenOptions::new().read(true).custom_flags(exclusive).open(device) {
        Ok(_) => Ok(false),
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_on_a_disk_can_be_named() {
        // Two disks, one after the other; the label of the first is "a,b".
        let found = read(include_str!("../tests/recorded/wipefs.txt"));
        assert_eq!(
            told(&found),
            "a signature of ext4 at 0x438, a signature of ext4 at 0x438, a signature of dos at 0x1fe"
        );
        assert_eq!(read(""), []);
        assert_eq!(read("# offset,uuid,label,type\n"), []);
    }

    proptest! {
        #[test]
        fn no_output_makes_the_reader_panic(text in "(.*\n)*") {
            let _ = told(&read(&text));
        }
    }
}

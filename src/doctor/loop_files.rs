//! The file system under a pool's loop files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::statfs::{FsType, statfs};

use super::{Finding, Machine};
use crate::units::Bytes;

/// Below this, a pool on files is out of room before it is full. Of the file system, or so many bytes.
const SCARCE: (u64, Bytes) = (20, Bytes::mib(1024));

/// What is wrong with a kind of file system. By the numbers that statfs(2) has for them.
const KINDS: [(i64, &str, Trouble); 10] = [
    (0x6969, "NFS", Trouble::Network),
    (0xFF53_4D42, "CIFS", Trouble::Network),
    (0xFE53_4D42, "SMB", Trouble::Network),
    (0x00C3_6400, "Ceph", Trouble::Network),
    (0x0102_1997, "9p", Trouble::Network),
    (0x6573_5546, "FUSE", Trouble::Network),
    (0x794C_7630, "overlay", Trouble::Overlay),
    (0x0102_1994, "tmpfs", Trouble::Memory),
    (0x9123_683E, "btrfs", Trouble::CopyOnWrite),
    (0x2FC1_2FC1, "ZFS", Trouble::CopyOnWrite),
];

#[derive(Clone, Copy)]
enum Trouble {
    Network,
    Overlay,
    Memory,
    CopyOnWrite,
}

const ELSEWHERE: &str = "put the loop files on a local ext4 or xfs with --dir, or use block devices";

pub(super) fn file_system(machine: &Machine) -> Vec<Finding> {
    // What isn't there yet will be made on the file system of what is.
    let Some(directory) = machine.pools.loop_files.ancestors().find(|path| path.exists()) else {
        return vec![Finding::unseen(&machine.pools.loop_files.display().to_string(), Errno::ENOENT)];
    };
    let mut findings = vec![kind_and_room(directory), holes(directory), direct(directory)];
    findings.retain(|finding| finding.remedy.is_some());
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{} is fit for sparse files", directory.display())));
    }
    findings
}

fn kind_and_room(directory: &Path) -> Finding {
    let at = directory.display();
    let statistics = match statfs(directory) {
        Ok(statistics) => statistics,
        Err(errno) => return Finding::unseen(&at.to_string(), errno),
    };
    if let Some((name, trouble)) = kind(statistics.filesystem_type()) {
        return told(&at.to_string(), name, trouble);
    }
    let block = u64::try_from(statistics.block_size()).unwrap_or_default();
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(block));
    let (free, all) = (bytes(statistics.blocks_available()), bytes(statistics.blocks()));
    let (share, least) = SCARCE;
    if free < least || free < Bytes(all.0 / share) {
        return Finding::warning(
            format!(
                "only {free} of {all} are free at {at}: when they are used up, so is every pool on files there"
            ),
            ELSEWHERE,
        );
    }
    Finding::ok("room")
}

fn kind(found: FsType) -> Option<(&'static str, Trouble)> {
    // The numbers have 32 bits; where the field has them as signed ones, they were extended.
    KINDS
        .iter()
        .find(|(number, ..)| *number == found.0 & 0xFFFF_FFFF)
        .map(|(_, name, trouble)| (*name, *trouble))
}

fn told(at: &str, name: &str, trouble: Trouble) -> Finding {
    match trouble {
        Trouble::Network => Finding::problem(
            format!(
                "{at} is on {name}: what was acknowledged may be lost, and a connection that hangs hangs the pool"
            ),
            ELSEWHERE,
        ),
        Trouble::Overlay => Finding::problem(
            format!(
                "{at} is on {name}, as in a container: loop devices don't get on with it, and it goes with the \
                     container"
            ),
            ELSEWHERE,
        ),
        Trouble::Memory => {
            Finding::warning(format!("{at} is on {name}: a pool there is gone after a reboot"), ELSEWHERE)
        }
        Trouble::CopyOnWrite => Finding::note(format!(
            "{at} is on {name}, which copies what is overwritten: a pool there is slow and falls into pieces"
        ))
        .with_remedy(format!("on btrfs, `chattr +C` the directory while it is empty; or {ELSEWHERE}")),
    }
}

/// Whether what a pool gives back makes its file smaller.
#[allow(clippy::disallowed_methods, reason = "no step: the file has no name, and is gone with the process")]
fn holes(directory: &Path) -> Finding {
    let punched = unnamed(directory, 0).and_then(|file| {
        file.set_len(1 << 16)?;
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(&file, mode, 0, 1 << 16)?)
    });
    match punched {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Finding::warning(
            format!(
                "the file system at {} makes no holes: a pool on files there never shrinks",
                directory.display()
            ),
            ELSEWHERE,
        ),
        Err(error) => unwritable(directory, &error),
        Ok(()) => Finding::ok("holes"),
    }
}

/// Whether the loop device can go past the page cache.
fn direct(directory: &Path) -> Finding {
    match unnamed(directory, libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Finding::note(format!(
            "the file system at {} has no direct I/O: everything a pool on files does is cached twice",
            directory.display()
        ))
        .with_remedy(ELSEWHERE),
        // The same was told of holes.
        Err(_) | Ok(_) => Finding::ok("direct I/O"),
    }
}

fn unwritable(directory: &Path, error: &io::Error) -> Finding {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => Finding::unseen(&directory.display().to_string(), error),
        _ => Finding::warning(format!("no file can be made in {}: {error}", directory.display()), ELSEWHERE),
    }
}

/// A file without a name, which is gone when it is closed.
fn unnamed(directory: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE | flags).open(directory)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_file_system_that_loses_a_pool_is_told_by_its_name() {
        for (number, level) in
            [(0x6969, Level::Problem), (0x794C_7630, Level::Problem), (0x0102_1994, Level::Warning)]
        {
            let (name, trouble) = kind(FsType(number)).unwrap();
            let found = told("/srv", name, trouble);
            assert!(found.level == level && found.sentence.contains(name), "{found:?}");
        }
        assert!(kind(FsType(0xEF53)).is_none(), "ext4");
    }

    #[test]
    fn looking_leaves_nothing_behind_and_makes_no_directory() {
        let bench = Bench::new();
        file_system(&bench.machine());
        assert_eq!(std::fs::read_dir(bench.path()).unwrap().count(), 0);
    }
}

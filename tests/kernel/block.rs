//! Block devices on a real kernel with udev and LVM: what is on them, who uses them, and that they are found again.

use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc;
use tempfile::TempDir;
use thinpool::backing::block::{
    BlockDevice, BlockDevices, BlockError, Identity, Obstacle, SystemBlockDevices as System,
};
use thinpool::dm::DeviceNumber;
use thinpool::units::{Bytes, TransactionId};

use crate::support::wait_until;

const SIZE: Bytes = Bytes::mib(64);

/// Runs a line of shell, which has to succeed; gives what it printed.
fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().expect("a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A number that nothing else in this binary has.
fn unique_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(100);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A name that no other test has.
fn unique(what: &str) -> String {
    format!("{what}{}x{}", std::process::id(), unique_number())
}

/// A disk for a test: a loop device. Dropped, it is gone, and so is what the test made of it.
struct Disk {
    directory: TempDir,
    node: PathBuf,
    /// What takes away what was made of it.
    undo: Vec<String>,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = std::fs::File::create(directory.path().join("disk")).expect("a file");
        file.set_len(SIZE.0).expect("its length");
        let mut disk = Self { directory, node: PathBuf::new(), undo: Vec::new() };
        disk.attach("");
        disk
    }

    /// A disk with one partition, from its first MiB on, and with this number in its partition table.
    fn partitioned(id: u32) -> Self {
        let mut disk = Self::new();
        disk.detach();
        let mut table = [0; 512];
        table[440..444].copy_from_slice(&id.to_le_bytes());
        // Of type Linux, 2048 sectors from the start, and 32 MiB long.
        table[446 + 4] = 0x83;
        table[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
        table[446 + 12..446 + 16].copy_from_slice(&65536_u32.to_le_bytes());
        table[510..].copy_from_slice(&[0x55, 0xAA]);
        disk.write_file(&table);
        disk.attach("");
        disk
    }

    /// A disk with an LVM volume on it, and the volume's path.
    fn with_volume() -> (Self, PathBuf) {
        let mut disk = Self::new();
        // Hyphens, of which device-mapper makes two each.
        let vg = unique("v-g");
        disk.undo.push(format!(
            "vgremove --yes --force {vg}; rm -f /etc/lvm/archive/{vg}_*.vg /etc/lvm/backup/{vg}"
        ));
        sh(&format!("vgcreate -q {vg} {} && lvcreate -q -y -Wy -L 16M -n my-data {vg}", disk.node.display()));
        crate::devices::wait_for_activation(&vg);
        (disk, Path::new("/dev").join(vg).join("my-data"))
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn write_file(&self, start: &[u8]) {
        let file = std::fs::File::options().write(true).open(self.file()).expect("the file");
        file.write_all_at(start, 0).expect("written");
    }

    /// Attaches it, under a name that no disk ever had.
    fn attach(&mut self, option: &str) {
        self.node = format!("/dev/loop{}", unique_number()).into();
        let (node, file) = (self.node.display(), self.file());
        sh(&format!("losetup {option} --partscan {node} {}; udevadm settle", file.display()));
    }

    fn detach(&self) {
        sh(&format!("losetup --detach {}", self.node.display()));
        // Another test's LVM may be reading it: the kernel lets go of the file when that one has closed it.
        let attached = Path::new("/sys/block").join(self.node.file_name().expect("a name")).join("loop");
        wait_until("the disk to go", || !attached.exists());
        sh("udevadm settle");
    }

    fn partition(&self) -> PathBuf {
        format!("{}p1", self.node.display()).into()
    }

    fn look(&self) -> BlockDevice {
        System.look(&self.node).expect("a block device")
    }

    /// All that is on it.
    fn content(&self) -> Vec<u8> {
        let node = self.node.display();
        sh(&format!("sync {node} $(ls {node}p* 2>/dev/null)"));
        std::fs::read(self.file()).expect("the file")
    }

    /// Makes something of it; when the disk is dropped, it is taken away again.
    fn make(&mut self, how: &str, undo: &str) {
        self.undo.push(undo.to_owned());
        sh(&format!("{how}; udevadm settle"));
    }

    /// Mounts a device, and gives where.
    fn mount(&mut self, device: &Path) -> PathBuf {
        let at = self.directory.path().join("mount point");
        std::fs::create_dir(&at).expect("a directory");
        let (device, quoted) = (device.display(), format!("'{}'", at.display()));
        self.make(
            &format!("mkfs.ext4 -q {device}; mount -o ro {device} {quoted}"),
            &format!("umount {quoted}"),
        );
        at
    }

    /// Everything against a device, which must all be of use, not of content; and that neither looking nor an attempt
    /// to wipe the device changes a byte.
    fn users_of(&self, device: &Path) -> Vec<Obstacle> {
        let before = self.content();
        let device = System.look(device).expect("a block device");
        let mut found = System.obstacles(&device).expect("obstacles");
        let error = System.wipe(&device).expect_err("in use");
        assert!(matches!(error, BlockError::InUse { .. }), "{error}");
        assert!(self.content() == before, "{} was changed", device.node.display());
        found.retain(|obstacle| !obstacle.can_be_wiped());
        found
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What isn't there any more is no failure.
        let run = |line: &str| drop(Command::new("sh").args(["-c", line]).output());
        run("udevadm settle");
        self.undo.iter().rev().for_each(|line| run(line));
        run(&format!(
            "losetup -nl -O NAME -j {} | xargs -r losetup --detach; udevadm settle",
            self.file().display()
        ));
    }
}

fn path(path: &Path) -> PathBuf {
    path.to_owned()
}

#[test]
fn a_blank_disk_is_a_blank_disk() {
    let disk = Disk::new();
    let device = disk.look();
    assert_eq!((&device.node, &device.name), (&disk.node, &disk.node));
    assert_eq!((device.size, device.read_only), (SIZE, false));
    assert_eq!(device.number, DeviceNumber::of(&disk.node).expect("a number"));
    assert_eq!(device.identity, None, "nothing tells a loop device from another");
    assert_eq!(System.obstacles(&device).expect("obstacles"), []);
}

#[test]
fn a_mounted_device_is_named_with_its_mount_point_and_left_alone() {
    let mut disk = Disk::new();
    let at = disk.mount(&path(&disk.node));
    assert_eq!(disk.users_of(&disk.node), [Obstacle::Mounted { device: path(&disk.node), at }]);
}

#[test]
fn a_disk_with_a_mounted_partition_is_in_use_and_so_is_the_partition() {
    let mut disk = Disk::partitioned(0x51);
    let at = disk.mount(&disk.partition());
    let mounted = Obstacle::Mounted { device: disk.partition(), at };
    assert_eq!(disk.users_of(&disk.node), std::slice::from_ref(&mounted));
    assert_eq!(disk.users_of(&disk.partition()), [mounted]);
}

#[test]
fn swap_is_named_and_left_alone() {
    let mut disk = Disk::new();
    let node = disk.node.display().to_string();
    disk.make(&format!("mkswap -q {node}; swapon {node}"), &format!("swapoff {node}"));
    assert_eq!(disk.users_of(&disk.node), [Obstacle::Swap { device: path(&disk.node) }]);
}

#[test]
fn the_disk_under_an_active_volume_is_held_by_it_and_without_it_still_lvms() {
    let (disk, volume) = Disk::with_volume();
    let by = format!("the LVM volume {}", volume.strip_prefix("/dev").expect("a device").display());
    assert_eq!(disk.users_of(&disk.node), [Obstacle::Held { device: path(&disk.node), by }]);
    sh(&format!("lvchange -an {}; udevadm settle", volume.display()));
    let found = System.obstacles(&disk.look()).expect("obstacles");
    assert!(
        matches!(&found[..], [Obstacle::Signature { kind, offset, .. }] if kind == "LVM2_member" && offset == "0x218"),
        "{found:?}"
    );
    let error = System.look(&volume).expect_err("inactive").to_string();
    assert!(error.contains("lvchange -ay"), "{error}");
}

#[test]
fn whatever_else_is_made_of_a_disk_is_named() {
    let mut disk = Disk::partitioned(0x52);
    let (name, node) = (unique("t"), disk.partition());
    let table = format!("0 2048 linear {} 0", node.display());
    disk.make(&format!("dmsetup create {name} --table '{table}'"), &format!("dmsetup remove --retry {name}"));
    let held = Obstacle::Held { device: node, by: format!("the device-mapper device {name}") };
    assert_eq!(disk.users_of(&disk.node), std::slice::from_ref(&held));
    assert_eq!(disk.users_of(&disk.partition()), [held]);
}

#[test]
fn a_loop_device_on_a_disk_counts_although_the_kernel_names_no_holder() {
    let mut disk = Disk::new();
    let upper = sh(&format!("losetup --find --show {}", disk.node.display()));
    disk.undo.push(format!("losetup --detach {upper}"));
    let by = format!("the loop device {}", upper.trim_start_matches("/dev/"));
    assert_eq!(disk.users_of(&disk.node), [Obstacle::Held { device: path(&disk.node), by }]);
}

#[test]
fn a_disk_that_somebody_has_for_himself_is_in_use_whoever_it_is() {
    let disk = Disk::new();
    // As zfs does it: without a mount, a holder or swap.
    let exclusively = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&disk.node);
    let _held = exclusively.expect("opened");
    assert_eq!(disk.users_of(&disk.node), [Obstacle::Busy { device: path(&disk.node) }]);
}

#[test]
fn a_read_only_disk_is_refused() {
    let mut disk = Disk::new();
    disk.detach();
    disk.attach("--read-only");
    assert!(disk.look().read_only);
    assert_eq!(disk.users_of(&disk.node), [Obstacle::ReadOnly { device: path(&disk.node) }]);
}

/// A superblock of a thin pool in its first life, as the kernel makes it of zeroes.
fn make_pool_on(disk: &Disk) {
    let (name, data) = (unique("t"), Disk::new());
    let table = format!("0 131072 thin-pool {} {} 128 0", disk.node.display(), data.node.display());
    sh(&format!("dmsetup create {name} --table '{table}'; udevadm settle"));
    sh(&format!(
        "dmsetup message {name} 0 'set_transaction_id 0 7'; dmsetup remove --retry {name}; udevadm settle"
    ));
}

#[test]
fn another_pools_metadata_is_recognised_and_wiped_only_when_told_to() {
    let disk = Disk::new();
    make_pool_on(&disk);
    let before = disk.content();
    let device = disk.look();
    let pool = |transaction_id| Obstacle::ThinPool { device: path(&disk.node), transaction_id };
    assert_eq!(System.obstacles(&device).expect("obstacles"), [pool(Some(TransactionId(7)))]);
    assert!(disk.content() == before);
    sh(&format!("printf x | dd of={} bs=1 seek=100 conv=notrunc status=none", disk.node.display()));
    assert_eq!(System.obstacles(&device).expect("obstacles"), [pool(None)], "a damaged one is one, too");
    System.wipe(&device).expect("wiped");
    assert_eq!(System.obstacles(&device).expect("obstacles"), []);
    assert!(disk.content()[..4096].iter().all(|byte| *byte == 0));
}

/// A disk that begins with zeroes but for these bytes at these places.
fn disk_with(pieces: &[(usize, &[u8])]) -> Disk {
    let mut disk = Disk::new();
    disk.detach();
    let mut start = vec![0; 256 << 10];
    for (at, bytes) in pieces {
        start[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    disk.write_file(&start);
    disk.attach("");
    disk
}

#[test]
fn members_of_arrays_and_pools_encrypted_disks_and_swap_are_named_and_nothing_of_them_is_changed() {
    // As LUKS, zfs (five of its uberblocks), md 1.2 (with its checksum, a sum of words), bcache (a checksum of its first 200 bytes,
    // its place in sectors, its version) and mkswap leave them.
    let luks = disk_with(&[(0, b"LUKS\xba\xbe\0\x01")]);
    let uberblock = 0x00ba_b10c_u64.to_le_bytes();
    let zfs = disk_with(&[0, 1, 2, 3, 4].map(|slot| ((132 + slot) << 10, &uberblock[..])));
    let (md, csum) = (4096, 0xa92b_4f05_u32.to_le_bytes());
    let array = disk_with(&[
        (md, &0xa92b_4efc_u32.to_le_bytes()),
        (md + 4, &[1]),
        (md + 144, &[8]),
        (md + 216, &csum),
    ]);
    let bcache = disk_with(&[
        (4096, &0xf92d_b40c_1bab_4307_u64.to_le_bytes()),
        (4096 + 8, &[8]),
        (4096 + 16, &[1]),
        (4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ]);
    let swap = Disk::new();
    sh(&format!("mkswap -q {}; udevadm settle", swap.node.display()));
    for (disk, kind) in [
        (&luks, "crypto_LUKS"),
        (&zfs, "zfs_member"),
        (&array, "linux_raid_member"),
        (&bcache, "bcache"),
        (&swap, "swap"),
    ] {
        let before = disk.content();
        let found = System.obstacles(&disk.look()).expect("obstacles");
        assert!(
            !found.is_empty()
                && found
                    .iter()
                    .all(|found| matches!(found, Obstacle::Signature { kind: is, .. } if is == kind)),
            "{kind}: {found:?}"
        );
        assert!(found.iter().all(Obstacle::can_be_wiped), "{kind}");
        assert!(disk.content() == before, "{kind}: looking changed something");
    }
}

#[test]
fn a_partitioned_disk_tells_what_is_on_its_partitions_and_can_be_wiped() {
    let disk = Disk::partitioned(0x53);
    sh(&format!("mkfs.ext4 -q {}; udevadm settle", disk.partition().display()));
    let before = disk.content();
    let device = disk.look();
    let found = System.obstacles(&device).expect("obstacles");
    let told: Vec<String> = found.iter().map(Obstacle::to_string).collect();
    let node = disk.node.display();
    assert_eq!(
        told,
        [
            format!("{node} has a signature of dos at 0x1fe"),
            format!("{node}p1 has a signature of ext4 at 0x438")
        ]
    );
    assert!(found.iter().all(Obstacle::can_be_wiped));
    assert!(disk.content() == before, "looking changed something");
    System.wipe(&device).expect("wiped");
    sh("udevadm settle");
    assert_eq!(System.obstacles(&device).expect("obstacles"), []);
    assert!(!disk.partition().exists(), "the kernel still has the partition");
}

#[test]
fn a_partition_table_inside_of_a_partition_is_wiped_and_the_disks_own_stays() {
    let disk = Disk::partitioned(0x54);
    let table = disk.content()[..512].to_vec();
    let mut partition = std::fs::File::options().write(true).open(disk.partition()).expect("opened");
    partition.write_all(&table).and_then(|()| partition.sync_all()).expect("written");
    drop(partition);
    sh("udevadm settle");
    let device = System.look(&disk.partition()).expect("a partition");
    assert_eq!(System.obstacles(&device).expect("obstacles").len(), 1);
    System.wipe(&device).expect("wiped");
    assert_eq!(System.obstacles(&device).expect("obstacles"), []);
    assert!(disk.content()[..512] == table);
    assert!(disk.partition().exists());
}

#[test]
fn a_volume_is_known_by_its_uuid_under_every_name() {
    let (_disk, volume) = Disk::with_volume();
    let device = System.look(&volume).expect("a volume");
    assert_eq!(device.name, volume);
    assert_eq!(device.node, volume.canonicalize().expect("a node"));
    let uuid = sh(&format!("dmsetup info -c --noheadings -o uuid {}", volume.display()));
    assert_eq!(device.identity, Some(Identity::DmUuid(uuid)));
    let identity = device.identity.clone().expect("just seen");
    for name in [device.node.clone(), identity.link()] {
        assert_eq!(System.look(&name).expect("the same"), device);
    }
    assert_eq!(System.find(&identity).expect("found"), Some(device));
    sh(&format!("lvchange -an {}; udevadm settle", volume.display()));
    assert_eq!(System.find(&identity).expect("looked for"), None);
}

#[test]
fn a_partition_is_found_again_when_its_disk_has_another_name() {
    let mut disk = Disk::partitioned(0x55);
    let device = System.look(&disk.partition()).expect("a partition");
    assert_eq!(device.identity, Some(Identity::PartUuid("00000055-01".into())));
    let identity = device.identity.clone().expect("just seen");
    assert_eq!(disk.look().identity, None, "a disk is not its partition");
    disk.detach();
    assert_eq!(System.find(&identity).expect("looked for"), None);
    disk.attach("");
    let found = System.find(&identity).expect("looked for").expect("found");
    assert_eq!(found.node, disk.partition());
    assert_eq!((found.size, &found.identity), (device.size, &device.identity));
    let asked = sh(&format!("udevadm info --query=symlink {}", found.node.display()));
    let expected = identity.udev_match();
    assert!(asked.split(' ').any(|link| expected == format!("SYMLINK==\"{link}\"")), "{asked}; {expected}");
}

#[test]
fn of_a_disk_and_its_copy_none_is_taken_by_mistake() {
    let one = Disk::partitioned(0x56);
    let identity = System.look(&one.partition()).expect("a partition").identity.expect("an identity");
    let two = Disk::partitioned(0x56);
    let error = System.find(&identity).expect_err("two of them").to_string();
    for disk in [&one, &two] {
        assert!(error.contains(&disk.partition().display().to_string()), "{error}");
        assert_eq!(System.look(&disk.partition()).expect("a partition").identity, None);
    }
}

#[test]
fn of_a_multipath_device_and_its_paths_the_upper_is_taken() {
    let mut disk = Disk::new();
    let name = unique("t");
    let rules = format!("/run/udev/rules.d/99-{name}.rules");
    // As multipath's rules and those of disks do it, each for its own.
    let rule = format!(
        r#"KERNEL=="{}", SYMLINK+="disk/by-id/wwn-{name}"
ENV{{DM_NAME}}=="{name}", SYMLINK+="disk/by-id/wwn-{name}", OPTIONS+="link_priority=50""#,
        disk.node.strip_prefix("/dev").expect("a node").display()
    );
    disk.make(
        &format!("mkdir -p /run/udev/rules.d; echo '{rule}' >{rules}; udevadm control --reload"),
        &format!("rm {rules}; udevadm control --reload"),
    );
    let identity = Identity::Wwn(format!("wwn-{name}"));
    sh(&format!("udevadm trigger --settle {}", disk.node.display()));
    assert_eq!(disk.look().identity.as_ref(), Some(&identity));
    let table = format!("0 2048 linear {} 0", disk.node.display());
    disk.make(
        &format!("dmsetup create {name} --uuid mpath-{name} --table '{table}'"),
        &format!("dmsetup remove --retry {name}"),
    );
    let found = System.find(&identity).expect("one").expect("found");
    assert_eq!(found.name, Path::new("/dev/mapper").join(&name));
    assert_eq!(disk.look().identity, None);
}

#[test]
fn a_device_that_comes_late_is_waited_for_and_one_that_never_comes_is_given_up() {
    let mut disk = Disk::partitioned(0x57);
    let identity = System.look(&disk.partition()).expect("a partition").identity.expect("an identity");
    let wait = |patience| System.wait_for(&identity, patience).expect("waited");
    assert_eq!(wait(Duration::ZERO).map(|found| found.node), Some(disk.partition()));
    disk.detach();
    assert_eq!(wait(Duration::from_millis(300)), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(Duration::from_secs(60)));
        // This is how late it comes.
        std::thread::sleep(Duration::from_secs(2));
        assert!(!waiting.is_finished());
        disk.attach("");
        let found = waiting.join().expect("no panic").expect("found");
        assert_eq!(System.look(&disk.partition()).expect("a partition"), found);
    });
}

#[test]
fn a_device_in_the_place_of_another_is_not_wiped() {
    let mut disk = Disk::partitioned(0x58);
    // The same number for both, whatever else is going on.
    let major = sh("awk '$2 == \"device-mapper\" { print $1 }' /proc/devices");
    let minor = 1000 + unique_number();
    let (first, second) = (unique("t"), unique("t"));
    let create = |name: &str| {
        let table = format!("0 2048 linear {} 0", disk.node.display());
        format!("dmsetup create {name} --uuid TEST-{name} --major {major} --minor {minor} --table '{table}'")
    };
    let (create_first, create_second) = (create(&first), create(&second));
    disk.make(&create_first, &format!("dmsetup remove --retry {first}"));
    let device = System.look(&Path::new("/dev/mapper").join(&first)).expect("a device");
    assert_eq!(device.identity, Some(Identity::DmUuid(format!("TEST-{first}"))));
    let before = disk.content();
    let is_refused = || {
        let error = System.wipe(&device).expect_err("it isn't there");
        assert!(matches!(error, BlockError::Replaced { .. }), "{error}");
        let error = System.obstacles(&device).expect_err("it isn't there");
        assert!(matches!(error, BlockError::Replaced { .. }), "{error}");
    };
    sh(&format!("dmsetup remove --retry {first}; udevadm settle"));
    is_refused();
    disk.make(&create_second, &format!("dmsetup remove --retry {second}"));
    is_refused();
    assert!(disk.content() == before);
}

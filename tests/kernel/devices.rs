//! Pools on block devices: volumes, raw disks, partitions, and thin pools that are there already.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Bench, ok, run};

/// A shell's line, which must succeed; what it printed.
pub fn sh(line: &str) -> String {
    ok(Command::new("sh").args(["-ec", line])).trim().to_owned()
}

/// Waits for what LVM does when a group has come: a rule of udev's starts a unit that makes all its volumes active, whatever
/// was made inactive meanwhile. Where there is none, or none any more, there is nothing to wait for.
pub fn wait_for_activation(vg: &str) {
    let unit = format!("lvm-activate-{vg}.service");
    sh(&format!("udevadm settle; timeout 120 systemctl start --wait {unit} 2>/dev/null || true"));
}

/// A bench with a disk: a loop device that LVM or a partition table can be put on. All of it goes with the test.
pub struct Disk {
    pub bench: Bench,
    pub node: PathBuf,
    pub vg: String,
}

impl Disk {
    pub fn new() -> Self {
        let bench = Bench::new();
        let file = bench.beside("disk");
        let node =
            sh(&format!("truncate -s 3G {0}; losetup --find --show {0}; udevadm settle", file.display()));
        // A hyphen, of which device-mapper makes two.
        let vg = format!("v-{}", bench.name);
        Self { bench, node: node.into(), vg }
    }

    /// The disk as a volume group, with a volume `data` of this many MiB in it.
    pub fn with_data(mib: u32) -> Self {
        let disk = Self::new();
        sh(&format!("pvcreate -q {0}; vgcreate -q {1} {0}", disk.node.display(), disk.vg));
        wait_for_activation(&disk.vg);
        disk.make_volume("data", mib);
        disk
    }

    pub fn make_volume(&self, name: &str, mib: u32) -> PathBuf {
        // udev looks into it once it is wiped, and has it open for that.
        sh(&format!("lvcreate -q --yes --wipesignatures y -n {name} -L {mib}M {}; udevadm settle", self.vg));
        self.volume(name)
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        Path::new("/dev").join(&self.vg).join(name)
    }

    /// The names of the volumes in the group.
    pub fn volumes(&self) -> Vec<String> {
        let all = sh(&format!("lvs --noheadings -o lv_name {}", self.vg));
        all.split_whitespace().map(str::to_owned).collect()
    }

    /// Every block of the disk that isn't all zero, with its place.
    fn content(&self) -> Vec<(i64, Vec<u8>)> {
        use nix::unistd::Whence::{SeekData, SeekHole};
        sh("sync");
        let file = std::fs::File::open(self.bench.beside("disk")).expect("the disk");
        let (mut blocks, mut end) = (Vec::new(), 0);
        // The file's holes needn't be read.
        while let Ok(start) = nix::unistd::lseek(&file, end, SeekData) {
            end = nix::unistd::lseek(&file, start, SeekHole).expect("an end");
            let mut piece = vec![0; usize::try_from(end - start).expect("a length")];
            file.read_exact_at(&mut piece, start.unsigned_abs()).expect("read");
            let places = (start..end).step_by(4096).zip(piece.chunks(4096));
            blocks.extend(
                places
                    .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
                    .map(|(at, block)| (at, block.to_vec())),
            );
        }
        blocks
    }

    /// What LVM knows of the disk and of the group, also which volumes are open: while nobody looks into them.
    pub fn known_to_lvm(&self) -> String {
        sh("udevadm settle");
        let node = self.node.display();
        run(Command::new("sh")
            .args(["-c", &format!("pvs {node}; vgs -o+tags {0}; lvs -o+tags {0}", self.vg)]))
        .out
    }

    /// That a setup is refused with this exit code and these words, and changes nothing, not a byte.
    fn refuses(&self, code: i32, arguments: &[&str], words: &[&str]) {
        let before = (self.content(), self.known_to_lvm());
        let error = self.bench.fails(code, setup(arguments));
        for word in words {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
        assert_eq!(self.known_to_lvm(), before.1, "{error}");
        let after = self.content();
        let changed: Vec<i64> =
            before.0.iter().filter(|block| !after.contains(block)).map(|(at, _)| *at).collect();
        assert!(after == before.0, "blocks at {changed:?} were changed: {error}");
        assert!(!self.bench.state().exists(), "{error}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.bench.remove_nodes();
        let line = format!(
            "vgremove --yes --force {0}; pvremove --yes {1}; rm -f /etc/lvm/archive/{0}_*.vg /etc/lvm/backup/{0}; \
             losetup --detach {1}; udevadm settle",
            self.vg,
            self.node.display()
        );
        drop(Command::new("sh").args(["-c", &line]).output());
    }
}

/// A setup on these devices, which is small and made in no time.
pub fn setup<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["setup", "--no-enable", "--base-size", "128M", "--fs", "ext4"], more].concat()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A container of the pool is made, written to, and found again after the pool was put to rest.
fn live(bench: &Bench) {
    let tree = bench.beside("tree");
    std::fs::create_dir(&tree).expect("a directory");
    std::fs::write(tree.join("file"), "of the image").expect("a file");
    bench.ok(["image", "import", "small", text(&tree)]);
    bench.ok(["container", "create", "small", "--name", "box"]);
    let at = bench.ok(["container", "mount", "box"]);
    std::fs::write(Path::new(at.trim_end()).join("own"), "of the container").expect("written");
    bench.ok(["container", "unmount", "box"]);
    bench.ok(["deactivate"]);
    bench.ok(["activate"]);
    let at = bench.ok(["container", "mount", "box"]);
    let read = |name| std::fs::read_to_string(Path::new(at.trim_end()).join(name)).expect("read");
    assert_eq!((read("file"), read("own")), ("of the image".to_owned(), "of the container".to_owned()));
    bench.ok(["container", "unmount", "box"]);
}

#[test]
fn a_blank_volume_beside_the_data_becomes_the_metadata_and_both_are_blank_again_in_the_end() {
    let disk = Disk::with_data(1024);
    for name in ["data-metadata", "metadata"] {
        disk.make_volume(name, 16);
    }
    let (bench, data) = (&disk.bench, disk.volume("data"));
    let said = bench.ok(setup(&["--datadev", text(&data)]));
    assert!(said.contains(text(&disk.volume("metadata"))), "{said}");
    live(bench);
    // By another of its names, the same device is the same.
    let node = std::fs::canonicalize(&data).expect("a node");
    assert!(bench.ok(setup(&["--datadev", text(&node)])).contains("nothing to do"));
    let error = bench.fails(7, setup(&["--datadev", text(&disk.volume("data-metadata"))]));
    assert!(error.contains("datadev is") && error.contains("asked for"), "{error}");
    bench.ok(["destroy", "--yes"]);
    assert_eq!(disk.volumes(), ["data", "data-metadata", "metadata"]);
    for name in disk.volumes() {
        assert_eq!(sh(&format!("wipefs {}", disk.volume(&name).display())), "", "{name} isn't blank");
    }
    // One that somebody has open, who is not just udev, is passed over.
    let held = std::fs::File::open(disk.volume("metadata")).expect("opened");
    let said = bench.ok(setup(&["--datadev", text(&data)]));
    assert!(said.contains(text(&disk.volume("data-metadata"))), "{said}");
    drop(held);
    bench.ok(["destroy", "--yes"]);
}

/// Beside what mkfs writes, such a pool's blocks have what was on the disk; nothing of it may pass for an inode.
#[test]
fn where_new_blocks_are_not_zeroed_no_inode_of_the_base_is_what_was_on_the_disk() {
    let disk = Disk::with_data(256);
    let data = disk.volume("data");
    sh(&format!(
        "tr '\\0' '\\377' </dev/zero | dd of={} bs=1M count=64 iflag=fullblock conv=fsync status=none; udevadm settle",
        data.display()
    ));
    disk.bench.ok(setup(&["--datadev", text(&data), "--zero-new-blocks=false"]));
    let mut far = [0; 4096];
    std::fs::File::open(&data).and_then(|data| data.read_exact_at(&mut far, 60 << 20)).expect("read");
    assert_eq!(far, [0xff; 4096], "the setup itself wiped the disk: this test shows nothing");
    let tree = disk.bench.beside("tree");
    std::fs::create_dir(&tree).expect("a directory");
    disk.bench.ok(["image", "import", "empty", text(&tree)]);
    disk.bench.ok(["container", "create", "empty", "--name", "box"]);
    let node = disk.bench.ok(["container", "activate", "box"]);
    let number = |after: &str| {
        let first = format!(
            "dumpe2fs {} 2>/dev/null | sed -n 's/^ *{after}[[:space:]]*\\([0-9]*\\).*/\\1/p' | head -n 1",
            node.trim_end()
        );
        sh(&first).parse::<u64>().expect(after)
    };
    let (block, inode) = (number("Block size:"), number("Inode size:"));
    // An empty image takes a dozen of them.
    let unused = number("Inodes per group:") - 32;
    let mut table = vec![0; usize::try_from(unused * inode).expect("small")];
    let begin = number("Inode table at") * block + 32 * inode;
    std::fs::File::open(node.trim_end())
        .and_then(|device| device.read_exact_at(&mut table, begin))
        .expect("read");
    assert!(table.iter().all(|byte| *byte == 0), "inodes that nobody made");
    disk.bench.ok(["container", "deactivate", "box"]);
}

#[test]
fn a_metadata_volume_is_made_where_there_is_room_and_goes_with_the_pool() {
    let disk = Disk::with_data(1024);
    // One that is named for it but not blank is passed over.
    let taken = disk.make_volume("metadata", 16);
    sh(&format!("mkfs.ext4 -q {}", taken.display()));
    let bench = &disk.bench;
    let said = bench.ok(setup(&["--datadev", text(&disk.volume("data"))]));
    assert!(said.contains("data_meta") && said.contains("made for it"), "{said}");
    assert_eq!(disk.volumes(), ["data", "data_meta", "metadata"]);
    assert!(disk.known_to_lvm().contains("thinpool.pool="));
    live(bench);
    bench.ok(["destroy", "--yes"]);
    assert_eq!(disk.volumes(), ["data", "metadata"]);
    assert!(sh(&format!("wipefs {}", taken.display())).contains("ext4"));
}

#[test]
fn a_volume_that_was_made_inactive_is_made_active_for_its_pool() {
    let disk = Disk::with_data(1024);
    let bench = &disk.bench;
    bench.ok(setup(&["--datadev", text(&disk.volume("data"))]));
    bench.ok(["deactivate"]);
    sh(&format!("vgchange -q -an {}", disk.vg));
    let (code, status) = (bench.run(["status"]).code, bench.status());
    assert_eq!((code, &status["problems"][0]["key"]), (5, &"device_missing".into()), "{status}");
    bench.ok(["activate"]);
    assert_eq!(bench.run(["status"]).code, 0);
    bench.ok(["destroy", "--yes"]);
}

#[test]
fn without_room_for_metadata_it_is_told_what_to_type_and_nothing_is_made() {
    let disk = Disk::with_data(3000);
    disk.make_volume("metadata", 16);
    // In this order: what changes the group may make LVM activate all of it.
    sh(&format!(
        "lvcreate -q --yes -n rest -l 100%FREE {0}; udevadm settle; lvchange -an {0}/metadata",
        disk.vg
    ));
    let data = disk.volume("data");
    let words = ["lvchange -ay", "vgextend", "lvcreate", "--metadatadev"];
    disk.refuses(2, &["--datadev", text(&data)], &words);
}

#[test]
fn what_is_on_a_device_or_uses_it_is_named_and_stays_as_it_is() {
    let disk = Disk::with_data(512);
    let (data, metadata) = (disk.volume("data"), disk.make_volume("metadata", 16));
    let both = ["--datadev", text(&data), "--metadatadev", text(&metadata)];

    sh(&format!("mkfs.ext4 -q {}", data.display()));
    disk.refuses(7, &both, &["ext4", "0x438", "--wipe"]);
    let at = disk.bench.beside("mounted");
    std::fs::create_dir(&at).expect("a directory");
    sh(&format!("mount -o ro {} {}", data.display(), at.display()));
    let wiping = [&both[..], &["--wipe", text(&data)]].concat();
    for arguments in [&both[..], &wiping] {
        disk.refuses(6, arguments, &["mounted at", text(&at)]);
    }
    sh(&format!("umount {0}; wipefs -q -a {1}", at.display(), data.display()));

    sh(&format!("echo precious | dd of={} bs=4096 conv=fsync status=none", metadata.display()));
    disk.refuses(7, &both, &["not blank", "--wipe"]);
    sh(&format!("dd if=/dev/zero of={} bs=4096 count=1 conv=fsync status=none", metadata.display()));

    disk.refuses(6, &["--device", text(&disk.node)], &["LVM2_member", "held by the LVM volume"]);
    let wiping = ["--device", text(&disk.node), "--wipe", text(&disk.node)];
    disk.refuses(6, &wiping, &["held by the LVM volume"]);
    disk.refuses(2, &[&both[..], &["--wipe", text(&disk.node)]].concat(), &["none of the devices"]);
    disk.refuses(2, &["--datadev", text(&data), "--metadatadev", text(&data)], &["given twice"]);
    disk.refuses(2, &["--datadev", text(&disk.bench.beside("disk"))], &["not a block device", "--dir"]);
    disk.refuses(2, &["--datadev", "/dev/nowhere/data"], &["lvchange -ay nowhere/data"]);
    disk.refuses(2, &[&both[..], &["--device", text(&disk.node)]].concat(), &["datadev", "device"]);

    // What may be wiped is.
    sh(&format!("mkfs.ext4 -q {}", data.display()));
    disk.bench.ok(setup(&[&both[..], &["--wipe", text(&data)]].concat()));
    let error = Disk::with_data(64).bench.fails(6, setup(&both));
    assert!(error.contains("of a thinpool pool"), "{error}");
    disk.bench.ok(["destroy", "--yes"]);
}

#[test]
fn a_disk_that_could_not_be_known_again_is_not_taken() {
    let (disk, other) = (Disk::new(), Disk::new());
    let both = ["--datadev", text(&disk.node), "--metadatadev", text(&other.node)];
    disk.refuses(7, &both, &["after a reboot", "--dir"]);
}

#[test]
fn a_pool_that_is_not_active_keeps_its_devices() {
    let disk = Disk::with_data(512);
    let bench = &disk.bench;
    let both = ["--datadev", text(&disk.volume("data"))].map(str::to_owned);
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    bench.ok(setup(&both));
    bench.ok(["deactivate"]);
    let mut other = bench.command(setup(&both));
    other.args(["--pool", "another"]);
    let said = run(&mut other);
    assert!(
        said.code == 7 && said.err.contains(&format!("belongs to the pool '{}'", bench.name)),
        "{said:?}"
    );
    bench.ok(["destroy", "--yes"]);
}

#[test]
fn raw_disks_become_a_group_with_room_to_grow_and_are_blank_again_in_the_end() {
    let (disk, second) = (Disk::new(), Disk::new());
    sh(&format!("mkfs.ext4 -q {}", second.node.display()));
    let disks = ["--device", text(&disk.node), "--device", text(&second.node), "--volume-group", &disk.vg];
    disk.refuses(7, &disks, &["ext4", text(&second.node)]);
    let bench = &disk.bench;
    bench.ok(setup(&[&disks[..], &["--wipe", text(&second.node)]].concat()));
    assert_eq!(disk.volumes(), ["data", "metadata", "metadata-spare"]);
    let column = |what: &str| sh(&format!("vgs --noheadings --units b --nosuffix -o {what} {}", disk.vg));
    let number = |what| column(what).parse::<u64>().expect("a number");
    assert!(number("vg_free") * 100 / number("vg_size") >= 3, "no room to grow");
    assert_eq!(sh(&format!("lvs --noheadings -o segtype {} | sort -u", disk.vg)), "linear");
    live(bench);
    assert!(bench.ok(setup(&disks)).contains("nothing to do"));
    bench.ok(["destroy", "--yes"]);
    for node in [&disk.node, &second.node] {
        assert_eq!(sh(&format!("wipefs {}", node.display())), "");
    }
    assert!(!disk.known_to_lvm().contains(&disk.vg));
}

#[test]
fn disks_too_small_for_what_was_asked_are_given_back() {
    let disk = Disk::new();
    let disks = ["--device", text(&disk.node), "--volume-group", &disk.vg, "--volume-data-size", "10G"];
    let error = disk.bench.fails(2, setup(&disks));
    assert!(error.contains("--volume-data-size"), "{error}");
    assert_eq!(sh(&format!("wipefs {}", disk.node.display())), "");
    assert!(!disk.bench.state().exists());
}

#[test]
fn an_empty_thin_pool_of_lvms_is_used_and_left_as_empty() {
    let disk = Disk::with_data(64);
    let (bench, vg) = (&disk.bench, &disk.vg);
    sh(&format!("lvcreate -q --type thin-pool -L 1G -n pool {vg}"));
    let device = format!("{}-pool", vg.replace('-', "--"));
    bench.ok(setup(&["--thinpooldev", &format!("/dev/mapper/{device}")]));
    assert_eq!(bench.status()["catalog"]["lies_on"]["name"], device.as_str());
    live(bench);
    // LVM takes it down and up again, as a reboot does.
    bench.ok(["deactivate"]);
    sh(&format!("vgchange -q -an {vg}"));
    assert_eq!(bench.run(["status"]).code, 3);
    bench.fails(3, ["activate"]);
    sh(&format!("vgchange -q -ay {vg}"));
    bench.ok(["container", "mount", "box"]);
    bench.ok(["container", "unmount", "box"]);
    bench.ok(["destroy", "--yes"]);
    let status = sh(&format!("dmsetup status {device}"));
    assert!(status.contains("thin-pool 0 ") && status.contains(" 0/16384 "), "{status}");
    sh(&format!("vgchange -q -an {vg}; vgchange -q -ay {vg}"));

    sh(&format!("lvcreate -q -V 64M -T {vg}/pool -n thin1"));
    let pool = format!("{device}-tpool");
    disk.refuses(7, &["--thinpooldev", &pool], &["LVM's"]);
    disk.refuses(7, &["--thinpooldev", &device], &["no thin pool", &pool]);
    sh(&format!("lvchange -q -an {vg}/thin1"));
    disk.refuses(7, &["--thinpooldev", &pool], &["transaction id", "LVM"]);
}

#[test]
fn a_thin_pool_that_was_ours_is_found_again_and_taken_again_and_never_taken_for_an_empty_one() {
    let disk = Disk::with_data(64);
    let (bench, vg) = (&disk.bench, &disk.vg);
    sh(&format!("lvcreate -q --type thin-pool -L 1G -n pool {vg}"));
    let device = format!("{}-pool", vg.replace('-', "--"));
    let existing = ["--thinpooldev", &device];
    bench.ok(setup(&existing));
    bench.import_tree("image");
    bench.ok(["container", "create", "image", "--name", "box"]);
    // By its catalog: whoever asks for it again has it.
    assert!(bench.ok(setup(&existing)).contains("nothing to do"));
    let said = run(bench.command(setup(&existing)).args(["--pool", "another"]));
    assert!(
        said.code == 7 && said.err.contains(&format!("belongs to the pool '{}'", bench.name)),
        "{said:?}"
    );
    // Given back by us, it is empty.
    bench.ok(["destroy", "--yes"]);
    bench.ok(setup(&existing));
    bench.import_tree("second");
    // Nothing in it says that it is ours once the catalog is lost.
    std::fs::remove_dir_all(bench.state()).expect("removed");
    let way_back = format!("thinpool repair --rebuild-catalog --thinpooldev {device}");
    disk.refuses(7, &existing, &["transaction id", &way_back]);
    let said = bench.run(["repair", "--yes", "--rebuild-catalog", "--thinpooldev", &device]);
    assert!(matches!(said.code, 0 | 9), "{said:?}");
    let listed = bench.ok(["container", "list", "--quiet"]);
    assert!(listed.lines().any(|name| name.starts_with("recovered-")), "{said:?}: {listed}");
    bench.ok(["destroy", "--yes"]);
    let status = sh(&format!("dmsetup status {device}"));
    assert!(status.contains("thin-pool 0 ") && status.contains(" 0/16384 "), "{status}");
}

#[test]
fn a_thin_pool_that_somebody_has_devices_in_is_refused_with_whose_it_is() {
    let disk = Disk::with_data(512);
    let metadata = disk.make_volume("metadata", 16);
    let (pool, data) = (format!("{}-theirs", disk.bench.name), disk.volume("data"));
    let table = format!("0 1048576 thin-pool {} {} 128 0", metadata.display(), data.display());
    sh(&format!("dmsetup create {pool} --table '{table}'; dmsetup message {pool} 0 'create_thin 1'"));
    for (whose, name) in [("containerd's", "x-snap-1"), ("Docker's", "docker-254:0-1-abc")] {
        // The bench removes what begins with its name.
        let thin = if whose == "Docker's" { name.to_owned() } else { format!("{}-{name}", disk.bench.name) };
        sh(&format!("dmsetup create {thin} --table '0 2048 thin /dev/mapper/{pool} 1'"));
        disk.refuses(7, &["--thinpooldev", &pool], &[whose, &thin]);
        sh(&format!(
            "dd if=/dev/urandom of=/dev/mapper/{thin} bs=64k count=1 conv=fsync status=none; dmsetup remove --retry {thin}"
        ));
        disk.refuses(7, &["--thinpooldev", &pool], &["blocks are in use"]);
        sh(&format!("dmsetup message {pool} 0 'delete 1'; dmsetup message {pool} 0 'create_thin 1'"));
    }
    disk.refuses(3, &["--thinpooldev", "nothing-of-this-name"], &["no active thin pool"]);
}

#[test]
fn after_a_crash_the_metadata_is_checked_and_damage_is_not_loaded() {
    let bench = Bench::with_pool();
    let checked = || {
        let check = bench.status()["catalog"]["metadata_check"].clone();
        (check["depth"].clone(), check["outcome"].clone(), check["after_clean_shutdown"].clone())
    };
    bench.ok(["deactivate"]);
    bench.ok(["activate"]);
    assert_eq!(checked(), ("quick".into(), "sound".into(), true.into()));
    // As a crash does: gone, and nobody put it to rest.
    ok(Command::new("dmsetup").args(["remove", "--retry", &format!("{}-pool", bench.name)]));
    assert!(bench.ok(["activate"]).contains("full"));
    assert_eq!(checked(), ("full".into(), "sound".into(), false.into()));
    bench.ok(["deactivate"]);

    // The root of the mappings, whose block the superblock names at byte 320.
    let metadata = bench.metadata();
    let file = std::fs::File::options().read(true).write(true).open(&metadata).expect("the metadata");
    let mut root = [0; 8];
    file.read_exact_at(&mut root, 320).expect("read");
    let at = u64::from_le_bytes(root) * 4096;
    file.write_all_at(&[0xA5; 512], at).expect("written");
    let error = bench.fails(7, ["activate"]);
    assert!(error.contains("damaged") && error.contains("thinpool repair"), "{error}");
    assert!(!bench.has_node("pool"));
    let keys = bench.status()["problems"].to_string();
    assert!(keys.contains("metadata_damaged"), "{keys}");
}

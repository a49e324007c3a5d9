//! Disks for a test, and the certainty that they are gone after it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lvm::{Bytes, LvId, Lvm, NewLv, NewPv, NewVg, Size, Tag, VgName};

/// The size of every disk: 63 extents of 4 MiB once LVM has taken its part.
pub const DISK: u64 = 256 << 20;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Some blank loop devices, and a group that may be made on them. Dropped, all of it is gone, even after a panic.
pub struct Bench {
    pub lvm: Lvm,
    pub vg: VgName,
    pub tag: Tag,
    pub disks: Vec<PathBuf>,
    directory: tempfile::TempDir,
}

/// Runs a command that has to succeed; returns what it printed.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Bench {
    /// Blank disks. The group's name has hyphens, of which device-mapper makes two each.
    pub fn new(disks: usize) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut bench = Self {
            lvm: Lvm::find().unwrap(),
            vg: format!("direct-lvm--{}-{number}", std::process::id()).parse().unwrap(),
            tag: format!("thinpool.test=t{}-{number}", std::process::id()).parse().unwrap(),
            disks: Vec::new(),
            directory: tempfile::tempdir().unwrap(),
        };
        for number in 0..disks {
            let disk = bench.attach(number);
            bench.disks.push(disk);
        }
        bench
    }

    /// The file that a disk is made of.
    fn file(&self, number: usize) -> PathBuf {
        self.directory.path().join(number.to_string())
    }

    /// Attaches a disk, for the first time or again.
    pub fn attach(&self, number: usize) -> PathBuf {
        let file = self.file(number);
        std::fs::File::options().create(true).append(true).open(&file).unwrap().set_len(DISK).unwrap();
        sh(&format!("losetup --find --show {}", file.display())).into()
    }

    /// Takes a disk away as if it had been pulled out.
    pub fn pull_out(&self, number: usize) {
        let disk = &self.disks[number];
        sh(&format!("losetup --detach {}", disk.display()));
        // Another test's LVM may be reading it: the kernel lets go of the file when that one has closed it.
        let attached = Path::new("/sys/block").join(disk.file_name().unwrap()).join("loop");
        let give_up = Instant::now() + Duration::from_secs(120);
        while attached.exists() {
            assert!(Instant::now() < give_up, "{} is still there", disk.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        sh("udevadm settle");
    }

    pub fn disk(&self, number: usize) -> &Path {
        &self.disks[number]
    }

    /// A volume's name in the group.
    pub fn id(&self, lv: &str) -> LvId {
        LvId::new(self.vg.clone(), lv.parse().unwrap()).unwrap()
    }

    /// Makes the group of these disks.
    pub fn make_group(&self, disks: &[usize]) {
        let disks: Vec<&Path> = disks.iter().map(|number| self.disk(*number)).collect();
        for disk in &disks {
            self.lvm.pv_create(disk, &NewPv::default()).unwrap();
        }
        let new = NewVg { tags: vec![self.tag.clone()], ..NewVg::default() };
        self.lvm.vg_create(&self.vg, &disks, &new).unwrap();
        // A rule of udev's starts a unit that makes all volumes of a new group active, also those made inactive meanwhile.
        let unit = format!("lvm-activate-{}.service", self.vg);
        sh(&format!("udevadm settle; timeout 120 systemctl start --wait {unit} 2>/dev/null || true"));
    }

    /// A volume to be, with our tag.
    pub fn new_lv(&self, mib: u64) -> NewLv {
        NewLv { tags: vec![self.tag.clone()], ..NewLv::of(Size::Bytes(Bytes(mib << 20))) }
    }

    /// All of what LVM knows about this bench, to be compared: also what is open, so nobody is to look into it just now.
    pub fn picture(&self) -> String {
        sh("udevadm settle");
        let ours = |pv: &lvm::Pv| pv.device.as_ref().is_some_and(|device| self.disks.contains(device));
        let pvs: Vec<_> = self.lvm.pvs().unwrap().into_iter().filter(ours).collect();
        format!("{pvs:#?}{:#?}{:#?}", self.lvm.find_vg(&self.vg).unwrap(), self.lvm.lvs_of(&self.vg).unwrap())
    }

    /// What a disk holds, all of it.
    pub fn content(&self, number: usize) -> Vec<u8> {
        sh("sync");
        std::fs::read(self.file(number)).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // By LVM itself, not by what is tested; and what isn't there any more is no failure.
        let run = |command: String| drop(Command::new("sh").args(["-c", &command]).output());
        let vg = &self.vg;
        run(format!("vgreduce --removemissing --force {vg}; vgremove --yes --force {vg}"));
        for number in 0..self.disks.len() {
            let file = self.file(number);
            run(format!("losetup -j {} | cut -d: -f1 | xargs -r losetup --detach", file.display()));
        }
        run(format!("rm -f /etc/lvm/archive/{vg}_*.vg /etc/lvm/backup/{vg}; udevadm settle"));
    }
}

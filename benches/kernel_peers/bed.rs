//! What all contenders stand on: one directory, the same tree, loop devices of the same kind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tool::{Outcome, run};

/// How large the file system is that every copy is a copy of.
pub const BASE_SECTORS: u64 = 10 << 21;

/// A pool's data and metadata.
const DATA: u64 = 4 << 30;
const METADATA: u64 = 128 << 20;

/// The directory, and the tree as an archive and unpacked.
pub struct Bed {
    directory: TempDir,
}

impl Bed {
    /// Makes a tree of this many megabytes, in five files each.
    pub fn new(megabytes: u32) -> Outcome<Self> {
        let bed = Self { directory: TempDir::with_prefix_in("thinpool-bench-", "/var/tmp")? };
        let mut words = Words(1);
        for megabyte in 0..megabytes {
            let directory = bed.tree().join(place(megabyte));
            fs::create_dir_all(&directory)?;
            for file in 0..FILES_A_MEGABYTE {
                let content: Vec<u8> =
                    words.by_ref().take((1 << 17) / FILES_A_MEGABYTE).flat_map(u64::to_ne_bytes).collect();
                fs::write(directory.join(file.to_string()), content)?;
            }
        }
        run("tar", ["-cf", text(&bed.archive()), "-C", text(&bed.tree()), "."])?;
        Ok(bed)
    }

    /// A path of somebody's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same, as a directory that is there.
    pub fn directory(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    pub fn archive(&self) -> PathBuf {
        self.path("tree.tar")
    }

    /// An archive of a quarter of the tree.
    pub fn quarter(&self) -> Outcome<PathBuf> {
        let archive = self.path("quarter.tar");
        let directories = (0..DIRECTORIES / 4).map(directory);
        let tree = self.tree();
        let options = ["-cf", text(&archive), "-C", text(&tree)].map(str::to_owned);
        run("tar", options.into_iter().chain(directories))?;
        Ok(archive)
    }

    /// Unpacks the tree.
    pub fn fill(&self, root: &Path) -> Outcome {
        run("tar", ["-xpf", text(&self.archive()), "-C", text(root)]).map(drop)
    }
}

/// At the top of the tree.
const DIRECTORIES: u32 = 16;

fn directory(number: u32) -> String {
    format!("{number:02}")
}

/// The directory of a megabyte, below the tree.
fn place(megabyte: u32) -> PathBuf {
    Path::new(&directory(megabyte % DIRECTORIES)).join(format!("{megabyte:04}"))
}

/// Some of the tree's files, each in a directory of its own.
pub fn some_files(count: u32) -> impl Iterator<Item = PathBuf> {
    (0..count).map(|megabyte| place(megabyte).join("0"))
}

/// Of a real image's files most are smaller, which makes copies of them slower still.
const FILES_A_MEGABYTE: usize = 5;

/// Words that no two files share and nothing compresses: Marsaglia's xorshift.
struct Words(u64);

impl Iterator for Words {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}

/// A path for a command line. None here is anything but plain ASCII.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// A sparse file as a block device.
pub struct Loop {
    pub node: String,
    file: PathBuf,
}

impl Loop {
    pub fn new(file: PathBuf, size: u64) -> Outcome<Self> {
        File::create(&file)?.set_len(size)?;
        let node = run("losetup", ["--find", "--show", "--direct-io=on", text(&file)])?;
        Ok(Self { node, file })
    }

    pub fn remove(self) -> Outcome {
        run("losetup", ["--detach", &self.node])?;
        Ok(fs::remove_file(self.file)?)
    }
}

/// A thin pool of dmsetup's making, on loop devices, of the geometry that thinpool gives its own.
pub struct PlainPool {
    pub name: String,
    data: Loop,
    metadata: Loop,
}

impl PlainPool {
    pub fn new(bed: &Bed, whose: &str) -> Outcome<Self> {
        Self::with_block_size(bed, whose, 64)
    }

    /// The same, with blocks of so many KiB.
    pub fn with_block_size(bed: &Bed, whose: &str, kib: u64) -> Outcome<Self> {
        let file = |part: &str| bed.path(&format!("{whose}-{part}"));
        let (data, metadata) = (Loop::new(file("data"), DATA)?, Loop::new(file("metadata"), METADATA)?);
        let name = format!("bench-{whose}");
        let table = format!(
            "0 {} thin-pool {} {} {} 1024 1 skip_block_zeroing",
            DATA / 512,
            metadata.node,
            data.node,
            kib * 2
        );
        run("dmsetup", ["create", &name, "--table", &table])?;
        Ok(Self { name, data, metadata })
    }

    /// The same, with the base in it as device 0.
    pub fn with_base(bed: &Bed, whose: &str) -> Outcome<Self> {
        let pool = Self::new(bed, whose)?;
        let base = format!("{}-base", pool.name);
        run("dmsetup", ["message", &pool.name, "0", "create_thin 0"])?;
        run("dmsetup", ["create", &base, "--table", &pool.thin_table(0)])?;
        make_base(bed, &format!("/dev/mapper/{base}"))?;
        run("dmsetup", ["remove", &base])?;
        Ok(pool)
    }

    pub fn path(&self) -> String {
        format!("/dev/mapper/{}", self.name)
    }

    /// The words after the target's name in the table of one of its devices.
    pub fn thin(&self, id: u32) -> String {
        format!("{} {id}", self.path())
    }

    pub fn thin_table(&self, id: u32) -> String {
        format!("0 {BASE_SECTORS} thin {}", self.thin(id))
    }

    pub fn remove(self) -> Outcome {
        run("dmsetup", ["remove", "--retry", &self.name])?;
        self.data.remove()?;
        self.metadata.remove()
    }
}

/// Makes the base's file system on a device, with the tree in it.
pub fn make_base(bed: &Bed, device: &str) -> Outcome {
    run("mkfs.ext4", ["-q", device])?;
    fill_device(bed, device)
}

/// Unpacks the tree into the file system on a device.
pub fn fill_device(bed: &Bed, device: &str) -> Outcome {
    let at = bed.directory("base")?;
    run("mount", [device, text(&at)])?;
    let filled = bed.fill(&at);
    run("umount", [text(&at)])?;
    filled
}

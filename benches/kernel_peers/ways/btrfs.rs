//! A snapshot of a btrfs subvolume: no device, and one file system for all.

use std::path::PathBuf;

use crate::bed::{Bed, Loop, text};
use crate::contender::{Contender, write_first_byte};
use crate::mount::unmount;
use crate::tool::{Outcome, run};

pub struct Btrfs {
    disk: Loop,
    root: PathBuf,
}

impl Btrfs {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let (disk, root) = (Loop::new(bed.path("btrfs-disk"), 4 << 30)?, bed.directory("btrfs")?);
        run("mkfs.btrfs", ["--quiet", &disk.node])?;
        run("mount", ["-t", "btrfs", &disk.node, text(&root)])?;
        let base = root.join("base");
        run("btrfs", ["subvolume", "create", text(&base)])?;
        bed.fill(&base)?;
        Ok(Self { disk, root })
    }
}

impl Contender for Btrfs {
    fn snapshot(&mut self) -> Outcome {
        let (base, copy) = (self.root.join("base"), self.root.join("copy"));
        run("btrfs", ["subvolume", "snapshot", text(&base), text(&copy)]).map(drop)
    }

    fn write(&mut self) -> Outcome {
        write_first_byte(&self.root.join("copy"))
    }

    fn remove(&mut self) -> Outcome {
        run("btrfs", ["subvolume", "delete", "--commit-after", text(&self.root.join("copy"))]).map(drop)
    }

    fn finish(self: Box<Self>) -> Outcome {
        unmount(&self.root)?;
        self.disk.remove()
    }
}

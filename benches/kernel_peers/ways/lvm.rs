//! LVM: one command makes the snapshot and its device.

use std::path::{Path, PathBuf};

use crate::bed::{Bed, Loop, make_base};
use crate::contender::{Contender, write_first_byte};
use crate::mount::{mount_ext4, unmount};
use crate::tool::{Outcome, run};

const GROUP: &str = "bench-lvm";

pub struct Lvm {
    disk: Loop,
    root: PathBuf,
    count: u32,
}

impl Lvm {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let disk = Loop::new(bed.path("lvm-disk"), 5 << 30)?;
        run("vgcreate", ["--quiet", GROUP, &disk.node])?;
        run(
            "lvcreate",
            [
                "--quiet",
                "--type=thin-pool",
                "--name=pool",
                "--size=4G",
                "--chunksize=64k",
                "--poolmetadatasize=128m",
                "--zero=n",
                GROUP,
            ],
        )?;
        let pool = format!("{GROUP}/pool");
        run("lvcreate", ["--quiet", "--thin", "--virtualsize=10G", "--name=base", &pool])?;
        make_base(bed, &format!("/dev/{GROUP}/base"))?;
        run("lvchange", ["--quiet", "-an", &format!("{GROUP}/base")])?;
        Ok(Self { disk, root: bed.directory("lvm")?, count: 0 })
    }

    fn volume(&self) -> String {
        format!("{GROUP}/copy{}", self.count)
    }
}

impl Contender for Lvm {
    fn snapshot(&mut self) -> Outcome {
        self.count += 1;
        let (base, name) = (format!("{GROUP}/base"), format!("copy{}", self.count));
        run("lvcreate", ["--quiet", "-s", "-kn", "--name", &name, &base]).map(drop)
    }

    fn write(&mut self) -> Outcome {
        mount_ext4(&Path::new("/dev").join(self.volume()), &self.root)?;
        write_first_byte(&self.root)
    }

    fn close(&mut self) -> Outcome {
        unmount(&self.root)
    }

    fn remove(&mut self) -> Outcome {
        run("lvremove", ["--quiet", "--yes", &self.volume()]).map(drop)
    }

    fn finish(self: Box<Self>) -> Outcome {
        run("vgremove", ["--quiet", "--yes", GROUP])?;
        run("pvremove", ["--quiet", &self.disk.node])?;
        self.disk.remove()
    }
}

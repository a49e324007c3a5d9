//! Two commands of dmsetup's, which wait for udev.

use std::path::{Path, PathBuf};

use crate::bed::{Bed, PlainPool};
use crate::contender::{Contender, write_first_byte};
use crate::mount::{mount_ext4, unmount};
use crate::tool::{Outcome, run};

pub struct Dmsetup {
    pool: PlainPool,
    root: PathBuf,
    id: u32,
}

impl Dmsetup {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        Ok(Self { pool: PlainPool::with_base(bed, "dmsetup")?, root: bed.directory("dmsetup")?, id: 0 })
    }

    fn device(&self) -> String {
        format!("{}-{}", self.pool.name, self.id)
    }

    fn make_device(&self) -> Outcome {
        run("dmsetup", ["create", &self.device(), "--table", &self.pool.thin_table(self.id)]).map(drop)
    }

    fn message(&self, message: &str) -> Outcome {
        run("dmsetup", ["message", &self.pool.name, "0", message]).map(drop)
    }
}

impl Contender for Dmsetup {
    fn snapshot(&mut self) -> Outcome {
        self.id += 1;
        self.message(&format!("create_snap {} 0", self.id))
    }

    fn activate(&mut self) -> Option<Outcome> {
        Some(self.make_device())
    }

    fn write(&mut self) -> Outcome {
        self.make_device()?;
        mount_ext4(&Path::new("/dev/mapper").join(self.device()), &self.root)?;
        write_first_byte(&self.root)
    }

    fn close(&mut self) -> Outcome {
        unmount(&self.root)
    }

    fn remove(&mut self) -> Outcome {
        // Again and again, while udev looks into it.
        run("dmsetup", ["remove", "--retry", &self.device()])?;
        self.message(&format!("delete {}", self.id))
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.pool.remove()
    }
}

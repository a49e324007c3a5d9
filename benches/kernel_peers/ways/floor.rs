//! What the kernel itself takes: the ioctls that no way of doing it can do without, and nobody waits for udev.

use std::path::{Path, PathBuf};

use crate::bed::{BASE_SECTORS, Bed, PlainPool};
use crate::contender::{Contender, write_first_byte};
use crate::ioctl::Control;
use crate::mount::{mount_ext4, unmount};
use crate::tool::Outcome;

pub struct Floor {
    dm: Control,
    pool: PlainPool,
    root: PathBuf,
    id: u32,
    /// The copy's node, while it has one.
    node: Option<PathBuf>,
}

impl Floor {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let (pool, root) = (PlainPool::with_base(bed, "floor")?, bed.directory("floor")?);
        Ok(Self { dm: Control::open()?, pool, root, id: 0, node: None })
    }

    fn device(&self) -> String {
        format!("{}-{}", self.pool.name, self.id)
    }

    fn make_device(&mut self) -> Outcome {
        let table = self.pool.thin(self.id);
        self.node = Some(self.dm.activate(&self.device(), BASE_SECTORS, "thin", &table)?);
        Ok(())
    }
}

impl Contender for Floor {
    fn snapshot(&mut self) -> Outcome {
        self.id += 1;
        Ok(self.dm.message(&self.pool.name, &format!("create_snap {} 0", self.id))?)
    }

    fn activate(&mut self) -> Option<Outcome> {
        Some(self.make_device())
    }

    fn write(&mut self) -> Outcome {
        self.make_device()?;
        mount_ext4(self.node.as_deref().unwrap_or(Path::new("")), &self.root)?;
        write_first_byte(&self.root)
    }

    fn close(&mut self) -> Outcome {
        unmount(&self.root)
    }

    fn remove(&mut self) -> Outcome {
        if self.node.take().is_some() {
            self.dm.remove(&self.device())?;
        }
        Ok(self.dm.message(&self.pool.name, &format!("delete {}", self.id))?)
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.pool.remove()
    }
}

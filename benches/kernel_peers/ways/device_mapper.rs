//! thinpool's layer for device-mapper alone, in a pool of nobody's: without a catalog, but with all its care.

use std::path::PathBuf;
use std::time::Duration;

use thinpool::dm::{
    Access, DeviceMapper, DeviceNumber, Kernel, Name, NewDevice, PoolMessage, Removal, Rules, Table, Thin,
    Uuid, Visibility,
};
use thinpool::units::{DeviceId, Sectors};

use crate::bed::{BASE_SECTORS, Bed, PlainPool};
use crate::contender::{Contender, write_first_byte};
use crate::mount::{mount_ext4, unmount};
use crate::tool::Outcome;

pub struct Layer {
    dm: Kernel,
    pool: PlainPool,
    name: Name,
    number: DeviceNumber,
    root: PathBuf,
    id: u32,
    is_active: bool,
}

impl Layer {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let (pool, root) = (PlainPool::with_base(bed, "layer")?, bed.directory("layer")?);
        let (name, number) = (Name::new(&pool.name)?, DeviceNumber::of(pool.path().as_ref())?);
        let dm = Kernel::open(Duration::from_secs(30))?;
        Ok(Self { dm, pool, name, number, root, id: 0, is_active: false })
    }

    fn id(&self) -> Outcome<DeviceId> {
        Ok(self.id.try_into()?)
    }

    fn device(&self) -> Outcome<Name> {
        Ok(Name::new(format!("{}-{}", self.pool.name, self.id))?)
    }

    /// As for a mount of our own.
    fn make_device(&mut self) -> Outcome {
        let table = Table::Thin(Thin {
            length: Sectors(BASE_SECTORS),
            pool: self.number,
            id: self.id()?,
            external_origin: None,
        });
        self.dm.create(&NewDevice {
            name: &self.device()?,
            uuid: &Uuid::of_somebody_else(&format!("BENCH-{}-{}", self.pool.name, self.id)),
            table: &table,
            access: Access::ReadWrite,
            visibility: Visibility::Snapshot,
            rules: Rules::Unawaited,
        })?;
        self.is_active = true;
        Ok(())
    }
}

impl Contender for Layer {
    fn snapshot(&mut self) -> Outcome {
        self.id += 1;
        let snapshot = PoolMessage::CreateSnap { device: self.id()?, origin: DeviceId::default() };
        Ok(self.dm.message(&self.name, &snapshot)?)
    }

    fn activate(&mut self) -> Option<Outcome> {
        Some(self.make_device())
    }

    fn write(&mut self) -> Outcome {
        self.make_device()?;
        mount_ext4(&self.device()?.path(), &self.root)?;
        write_first_byte(&self.root)
    }

    fn close(&mut self) -> Outcome {
        unmount(&self.root)
    }

    fn remove(&mut self) -> Outcome {
        if std::mem::take(&mut self.is_active) {
            self.dm.remove(&self.device()?, Removal::Now)?;
        }
        Ok(self.dm.message(&self.name, &PoolMessage::Delete(self.id()?))?)
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.pool.remove()
    }
}

//! thinpool as a library: a process that is there already and has the pool open.

use std::path::PathBuf;
use std::time::Duration;

use thinpool::pool::{Host, MountRequest, Pool};

use super::thinpool::{OwnPool, create, name};
use crate::bed::Bed;
use crate::contender::{Contender, write_first_byte};
use crate::tool::Outcome;

pub struct Library {
    own: OwnPool,
    pool: Pool<'static>,
    count: u32,
}

impl Library {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let own = OwnPool::with_image(bed, "bench-library")?;
        // As long as the process: a pool borrows it.
        let host: &'static Host = Box::leak(Box::new(Host::system(Duration::from_secs(30))?));
        let pool = Pool::open(host, &own.location()?)?;
        Ok(Self { own, pool, count: 0 })
    }

    fn make_device(&mut self) -> Outcome {
        self.pool.activate_container(&name(self.count)?)?;
        Ok(())
    }
}

impl Contender for Library {
    fn snapshot(&mut self) -> Outcome {
        self.count += 1;
        create(&mut self.pool, self.count)
    }

    fn activate(&mut self) -> Option<Outcome> {
        Some(self.make_device())
    }

    fn write(&mut self) -> Outcome {
        let at: PathBuf = self.pool.mount_container(&name(self.count)?, &MountRequest::default())?;
        write_first_byte(&at)
    }

    fn close(&mut self) -> Outcome {
        self.pool.unmount_container(&name(self.count)?)?;
        Ok(())
    }

    fn remove(&mut self) -> Outcome {
        self.pool.remove_container(&name(self.count)?, false)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Outcome {
        let Self { own, pool, .. } = *self;
        drop(pool);
        own.destroy()
    }
}

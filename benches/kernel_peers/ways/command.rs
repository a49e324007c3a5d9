//! thinpool as a command: a new process for each step.

use std::path::Path;

use super::thinpool::{IMAGE, OwnPool};
use crate::bed::Bed;
use crate::contender::{Contender, write_first_byte};
use crate::tool::Outcome;

pub struct Thinpool {
    pool: OwnPool,
    name: String,
    count: u32,
}

impl Thinpool {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        Ok(Self { pool: OwnPool::with_image(bed, "bench-command")?, name: String::new(), count: 0 })
    }

    /// To the name of the next copy.
    fn next(&mut self) {
        self.count += 1;
        self.name = format!("copy{}", self.count);
    }
}

impl Contender for Thinpool {
    fn snapshot(&mut self) -> Outcome {
        self.next();
        self.pool.run(&["container", "create", "--name", &self.name, IMAGE]).map(drop)
    }

    fn activate(&mut self) -> Option<Outcome> {
        Some(self.pool.run(&["container", "activate", &self.name]).map(drop))
    }

    fn write(&mut self) -> Outcome {
        let at = self.pool.run(&["container", "mount", &self.name])?;
        write_first_byte(Path::new(&at))
    }

    fn write_to_new(&mut self) -> Outcome {
        self.next();
        let at = self.pool.run(&["container", "create", "--mount", "--name", &self.name, IMAGE])?;
        write_first_byte(Path::new(&at))
    }

    fn close(&mut self) -> Outcome {
        self.pool.run(&["container", "unmount", &self.name]).map(drop)
    }

    fn remove(&mut self) -> Outcome {
        self.pool.run(&["container", "remove", &self.name]).map(drop)
    }

    fn idle(&mut self) -> Option<Outcome> {
        Some(self.pool.run(&["--version"]).map(drop))
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.pool.destroy()
    }
}

//! A whole copy of the tree: Docker's `vfs` driver.

use std::path::PathBuf;

use crate::bed::{Bed, text};
use crate::contender::{Contender, write_first_byte};
use crate::tool::{Outcome, run};

pub struct Copy {
    tree: PathBuf,
    copy: PathBuf,
}

impl Copy {
    #[allow(clippy::unnecessary_wraps, reason = "as all contenders")]
    pub fn new(bed: &Bed) -> Outcome<Self> {
        Ok(Self { tree: bed.tree(), copy: bed.path("copy") })
    }
}

impl Contender for Copy {
    fn snapshot(&mut self) -> Outcome {
        run("cp", ["-a", text(&self.tree), text(&self.copy)]).map(drop)
    }

    fn write(&mut self) -> Outcome {
        write_first_byte(&self.copy)
    }

    fn remove(&mut self) -> Outcome {
        Ok(std::fs::remove_dir_all(&self.copy)?)
    }

    fn finish(self: Box<Self>) -> Outcome {
        Ok(())
    }
}

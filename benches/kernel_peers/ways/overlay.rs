//! An overlay over the tree: no device, and nothing is shared below the size of a file.

use std::fs;
use std::path::PathBuf;

use crate::bed::{Bed, text};
use crate::contender::{Contender, write_first_byte};
use crate::mount::unmount;
use crate::tool::{Outcome, run};

pub struct Overlay {
    tree: PathBuf,
    own: PathBuf,
}

impl Overlay {
    #[allow(clippy::unnecessary_wraps, reason = "as all contenders")]
    pub fn new(bed: &Bed) -> Outcome<Self> {
        Ok(Self { tree: bed.tree(), own: bed.path("overlay") })
    }
}

impl Contender for Overlay {
    /// It is there once it is mounted.
    fn snapshot(&mut self) -> Outcome {
        let [upper, work, merged] = ["upper", "work", "merged"].map(|part| self.own.join(part));
        for directory in [&upper, &work, &merged] {
            fs::create_dir_all(directory)?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.tree.display(),
            upper.display(),
            work.display()
        );
        run("mount", ["-t", "overlay", "-o", &options, "overlay", text(&merged)]).map(drop)
    }

    fn write(&mut self) -> Outcome {
        write_first_byte(&self.own.join("merged"))
    }

    fn remove(&mut self) -> Outcome {
        unmount(&self.own.join("merged"))?;
        Ok(fs::remove_dir_all(&self.own)?)
    }

    fn finish(self: Box<Self>) -> Outcome {
        Ok(())
    }
}

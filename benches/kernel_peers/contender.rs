//! What takes part: a way to give somebody a writable copy of the same tree.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::tool::Outcome;

/// A way to make a copy, use it, and get rid of it. One copy exists at a time.
pub trait Contender {
    /// Makes a copy of the base.
    fn snapshot(&mut self) -> Outcome;

    /// Gives the copy the device that others can use. `None` where it has one already, or never gets one.
    fn activate(&mut self) -> Option<Outcome> {
        None
    }

    /// From a copy that has just been made to the first byte in it that is on the disk.
    fn write(&mut self) -> Outcome;

    /// Makes a copy and writes to it: two steps, where they aren't one.
    fn write_to_new(&mut self) -> Outcome {
        self.snapshot()?;
        self.write()
    }

    /// Undoes what `write` did to reach the copy.
    fn close(&mut self) -> Outcome {
        Ok(())
    }

    /// Removes the copy, and its device.
    fn remove(&mut self) -> Outcome;

    /// Asks for nothing, to see what asking costs. `None` where nobody is asked.
    fn idle(&mut self) -> Option<Outcome> {
        None
    }

    /// Takes everything away that it is made of.
    fn finish(self: Box<Self>) -> Outcome;
}

/// Writes one byte into a mounted copy, durably.
pub fn write_first_byte(root: &Path) -> Outcome {
    let mut file = File::create(root.join("first-byte"))?;
    file.write_all(b"1")?;
    Ok(file.sync_data()?)
}

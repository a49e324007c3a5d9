//! What anybody pays: a process that starts, and a write that is on the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::bed::Bed;
use crate::race::timed;
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};

/// A write-ahead log gets a page or two at a time.
const PAGE: [u8; 8192] = [b'1'; 8192];

/// Both in turns.
pub fn measure(bed: &Bed, turns: u32) -> Outcome {
    let log = File::create(bed.path("log"))?;
    let (mut starts, mut syncs) = (Vec::new(), Vec::<Duration>::new());
    for turn in 0..u64::from(turns) {
        starts.push(timed(|| run("/bin/true", [""; 0]).map(drop))?);
        syncs.push(timed(|| {
            log.write_all_at(&PAGE, turn * PAGE.len() as u64)?;
            Ok(log.sync_data()?)
        })?);
    }
    Record::times(job::PROCESS, way::MACHINE, &starts).emit();
    Record::times(job::SYNC, way::MACHINE, &syncs).emit();
    Ok(())
}

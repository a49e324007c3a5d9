//! An archive becomes an image, beside GNU tar on a file system of the same pool. Both end when the file system is unmounted,
//! since everything is on the disk then.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bed::{Bed, text};
use crate::mount::unmount;
use crate::process::status;
use crate::race::{settle, timed};
use crate::record::{Record, Unit, count, job, way};
use crate::tool::Outcome;
use crate::ways::thinpool::OwnPool;

/// Where tar unpacks to: a container of this image, of one file.
const EMPTY: &str = "empty";

/// What is imported, and removed again.
const IMAGE: &str = "new";

pub fn measure(bed: &Bed, turns: u32) -> Outcome {
    println!("an import beside tar");
    let own = OwnPool::new(bed, "bench-import")?;
    own.import_small(bed, EMPTY)?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for turn in 0..=turns {
        println!("turn {turn} of {turns} of an import beside tar");
        let times = (unpack(bed, &own)?, import(bed, &own)?);
        // The first one only warms up.
        if turn > 0 {
            theirs.push(times.0);
            ours.push(times.1);
        }
    }
    Record::times(job::IMPORT, way::TAR, &theirs).emit();
    Record::times(job::IMPORT, way::COMMAND, &ours).emit();
    for (way, archive) in [(way::WHOLE, bed.archive()), (way::QUARTER, bed.quarter()?)] {
        Record::count(count::IMPORT_PEAK, way, peak(&own, &archive)?, Unit::Bytes).emit();
    }
    own.destroy()
}

fn unpack(bed: &Bed, own: &OwnPool) -> Outcome<Duration> {
    own.run(&["container", "create", "--name=root", EMPTY])?;
    let root = own.run(&["container", "mount", "root"])?;
    settle()?;
    let took = timed(|| {
        bed.fill(Path::new(&root))?;
        unmount(Path::new(&root))
    })?;
    own.run(&["container", "remove", "root"])?;
    settle()?;
    Ok(took)
}

fn import(bed: &Bed, own: &OwnPool) -> Outcome<Duration> {
    let took = timed(|| own.run(&["image", "import", IMAGE, text(&bed.archive())]).map(drop))?;
    remove(own)?;
    Ok(took)
}

fn remove(own: &OwnPool) -> Outcome {
    own.run(&["image", "remove", IMAGE])?;
    settle()
}

/// The most memory that an import had at once: the kernel remembers it as long as the process runs.
fn peak(own: &OwnPool, archive: &Path) -> Outcome<u64> {
    let arguments = own.arguments(&["image", "import", IMAGE, text(archive)]);
    let mut child = Command::new("thinpool").args(arguments).stdout(Stdio::null()).spawn()?;
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        // Nothing is told of one that has just ended.
        peak = peak.max(status(child.id(), "VmHWM").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    };
    if !ended.success() {
        return Err(format!("an import that was watched failed ({ended})").into());
    }
    remove(own)?;
    Ok(peak)
}

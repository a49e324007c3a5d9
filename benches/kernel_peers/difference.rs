//! What a container has otherwise than its image: ten files of the tree are longer by a line. thinpool finds them in the image and
//! a snapshot of the container that it makes and mounts for that; GNU diff in two trees that are mounted already, of which it
//! reads every file (`-r`, and `-q`: no more than which differ). It sees content alone: no owner, mode or time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::bed::{Bed, some_files};
use crate::race::{settle, timed};
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};
use crate::ways::thinpool::{IMAGE, OwnPool};

const CHANGED: u32 = 10;

pub fn measure(bed: &Bed, turns: u32) -> Outcome {
    println!("a container's differences beside diff");
    let own = OwnPool::with_image(bed, "bench-difference")?;
    let [before, now] = [mounted(&own, "before")?, mounted(&own, "now")?];
    for file in some_files(CHANGED) {
        writeln!(File::options().append(true).open(Path::new(&now).join(file))?, "changed")?;
    }
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for turn in 0..=turns {
        println!("turn {turn} of {turns} of a container's differences beside diff");
        nothing_cached(&own)?;
        let their_time = timed(|| by_diff(&before, &now))?;
        nothing_cached(&own)?;
        let our_time = timed(|| by_thinpool(&own))?;
        // The first one only warms up.
        if turn > 0 {
            theirs.push(their_time);
            ours.push(our_time);
        }
    }
    Record::times(job::DIFFERENCE, way::DIFF, &theirs).emit();
    Record::times(job::DIFFERENCE, way::COMMAND, &ours).emit();
    own.run(&["container", "remove", "--force", "before", "now"])?;
    own.destroy()
}

/// A container of the tree, and where it is mounted.
fn mounted(own: &OwnPool, name: &str) -> Outcome<String> {
    own.run(&["container", "create", "--name", name, IMAGE])?;
    own.run(&["container", "mount", name])
}

/// Nobody has read the trees yet; the programs themselves are in memory.
fn nothing_cached(own: &OwnPool) -> Outcome {
    settle()?;
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    run("diff", ["--version"])?;
    own.run(&["--version"]).map(drop)
}

fn by_diff(before: &str, now: &str) -> Outcome {
    let found = Command::new("diff").args(["-rq", before, now]).output()?;
    // 1 says that there are some.
    let said = if found.status.code() == Some(1) { &*found.stdout } else { b"" };
    all_found(&String::from_utf8_lossy(said), " differ")
}

/// It tells the directories above them, too, as Docker does.
fn by_thinpool(own: &OwnPool) -> Outcome {
    all_found(&own.run(&["container", "diff", "now"])?, "/0")
}

fn all_found(said: &str, a_file_ends_in: &str) -> Outcome {
    if said.lines().filter(|line| line.ends_with(a_file_ends_in)).count() == CHANGED as usize {
        return Ok(());
    }
    Err(format!("not {CHANGED} files were found, but: {said}").into())
}

//! What a writer pays for sharing: the first write to a block that a snapshot has in common with its origin copies all of
//! the block.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use nix::libc;

use crate::bed::{Bed, PlainPool};
use crate::race::{settle, timed};
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};

/// What is written at once, as a file system does.
const PAGE: usize = 4096;

/// How far the written pages are apart: a block of their own for each, however large the blocks are.
const STRIDE: u64 = 512 << 10;

const PAGES: u64 = 64;

pub fn measure(bed: &Bed) -> Outcome {
    for kib in [64, 512] {
        println!("first writes to shared blocks of {kib} KiB");
        let pool = PlainPool::with_block_size(bed, &format!("shared-{kib}"), kib)?;
        let origin = Volume::new(&pool, 0, "create_thin 0")?;
        let whole = format!("of={}", origin.path());
        run("dd", ["if=/dev/zero", &whole, "bs=1M", "count=32", "oflag=direct", "status=none"])?;
        origin.remove()?;
        let snapshot = Volume::new(&pool, 1, "create_snap 1 0")?;
        settle()?;
        let (first, again) = (snapshot.write_pages()?, snapshot.write_pages()?);
        Record::times(job::FIRST_WRITE, &way::of_blocks(kib), &first).emit();
        Record::times(job::WRITE_AGAIN, &way::of_blocks(kib), &again).emit();
        snapshot.remove()?;
        pool.remove()?;
    }
    Ok(())
}

/// A thin device that is active.
struct Volume(String);

impl Volume {
    fn new(pool: &PlainPool, id: u32, message: &str) -> Outcome<Self> {
        let name = format!("{}-{id}", pool.name);
        run("dmsetup", ["message", &pool.name, "0", message])?;
        run("dmsetup", ["create", &name, "--table", &pool.thin_table(id)])?;
        Ok(Self(name))
    }

    fn path(&self) -> String {
        format!("/dev/mapper/{}", self.0)
    }

    /// How long each of the pages takes to the disk.
    fn write_pages(&self) -> Outcome<Vec<Duration>> {
        let device =
            File::options().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(self.path())?;
        // O_DIRECT takes only pages that begin where one does.
        let room = vec![b'1'; 2 * PAGE];
        let page = &room[room.as_ptr().align_offset(PAGE)..][..PAGE];
        (0..PAGES).map(|number| timed(|| Ok(device.write_all_at(page, number * STRIDE)?))).collect()
    }

    fn remove(self) -> Outcome {
        run("dmsetup", ["remove", "--retry", &self.0]).map(drop)
    }
}

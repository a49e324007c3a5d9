//! What a writer pays for sharing, by fio: the first write to a block that a snapshot has in common with its origin copies all
//! of the block.

use std::fs;
use std::time::Duration;

use crate::bed::{Bed, PlainPool, text};
use crate::race::settle;
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};

/// How far the written pages are apart: a block of their own for each, however large the blocks are.
const STRIDE_KIB: u32 = 512;

const PAGES: u32 = 64;

pub fn measure(bed: &Bed) -> Outcome {
    for kib in [64, 512] {
        println!("first writes to shared blocks of {kib} KiB");
        let pool = PlainPool::with_block_size(bed, &format!("shared-{kib}"), kib)?;
        let origin = Volume::new(&pool, 0, "create_thin 0")?;
        let (whole, count) =
            (format!("of={}", origin.path()), format!("count={}", PAGES * STRIDE_KIB / 1024));
        run("dd", ["if=/dev/zero", &whole, "bs=1M", &count, "oflag=direct", "status=none"])?;
        origin.remove()?;
        let snapshot = Volume::new(&pool, 1, "create_snap 1 0")?;
        settle()?;
        let (first, again) = (snapshot.write_pages(bed, 1)?, snapshot.write_pages(bed, 2)?);
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

    /// How long each of the pages takes to the disk, one after the other.
    fn write_pages(&self, bed: &Bed, run_number: u32) -> Outcome<Vec<Duration>> {
        let log = bed.path(&format!("fio-{}-{run_number}", self.0));
        let arguments = [
            "--name=pages",
            &format!("--filename={}", self.path()),
            &format!("--rw=write:{}k", STRIDE_KIB - 4),
            "--bs=4k",
            &format!("--size={}k", PAGES * STRIDE_KIB),
            &format!("--number_ios={PAGES}"),
            "--ioengine=sync",
            "--direct=1",
            "--sync=dsync",
            &format!("--write_lat_log={}", text(&log)),
        ];
        run("fio", arguments)?;
        // A line a write: milliseconds since the beginning, nanoseconds that it took, and more.
        let told = fs::read_to_string(format!("{}_lat.1.log", text(&log)))?;
        let took = |line: &str| line.split(',').nth(1)?.trim().parse().ok().map(Duration::from_nanos);
        let times: Vec<Duration> = told.lines().filter_map(took).collect();
        if times.len() == PAGES as usize {
            return Ok(times);
        }
        Err(format!("fio told of {} writes in place of {PAGES}", times.len()).into())
    }

    fn remove(self) -> Outcome {
        run("dmsetup", ["remove", "--retry", &self.0]).map(drop)
    }
}

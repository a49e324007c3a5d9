//! What a pool's size costs: the same jobs where there are ten devices, and where there are ten thousand.

use std::time::Duration;

use thinpool::pool::{Checking, Host, Pool};

use crate::bed::Bed;
use crate::crowd::Crowd;
use crate::metadata;
use crate::race::{settle, timed};
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};
use crate::ways::thinpool::{create, name};

/// A pool with so many devices, and how long each job took in it.
struct Racer {
    crowd: Crowd,
    times: Vec<(&'static str, Vec<Duration>)>,
}

/// Does a job once, and tells how long it took.
type Act = fn(&Crowd, &Host) -> Outcome<Duration>;

const JOBS: [(&str, Act); 8] = [
    (job::CREATE_AMONG, create_one),
    (job::REMOVE_AMONG, remove_one),
    (job::STATUS, |crowd, _| timed(|| crowd.own.run(&["status"]).map(drop))),
    (job::LIST, |crowd, _| timed(|| crowd.own.run(&["container", "list"]).map(drop))),
    (job::ACTIVATE_POOL, activate),
    (job::DMSETUP_STATUS, |crowd, _| timed(|| run("dmsetup", ["status", &crowd.own.device()]).map(drop))),
    (job::USAGE, |crowd, _| timed(|| crowd.own.run(&["usage"]).map(drop))),
    (job::THIN_LS, thin_ls),
];

pub fn measure(bed: &Bed, turns: u32, largest: u32) -> Outcome {
    let host = Host::system(Duration::from_secs(30))?;
    let sizes = [10, 1_000, 10_000].into_iter().filter(|size| *size <= largest);
    let mut racers = sizes.map(|size| Racer::new(bed, &host, size)).collect::<Outcome<Vec<_>>>()?;
    for turn in 0..=turns {
        println!("turn {turn} of {turns} in pools of different sizes");
        // The first one only warms up.
        racers.iter_mut().try_for_each(|racer| racer.take_turn(&host, turn > 0))?;
    }
    if let Some(largest) = racers.last() {
        metadata::write(&largest.crowd)?;
    }
    racers.into_iter().try_for_each(Racer::finish)
}

impl Racer {
    fn new(bed: &Bed, host: &Host, size: u32) -> Outcome<Self> {
        let times = JOBS.map(|(job, _)| (job, Vec::new())).to_vec();
        Ok(Self { crowd: Crowd::new(bed, host, size)?, times })
    }

    fn take_turn(&mut self, host: &Host, counts: bool) -> Outcome {
        for ((_, act), (_, times)) in JOBS.iter().zip(&mut self.times) {
            let took = act(&self.crowd, host)?;
            if counts {
                times.push(took);
            }
            settle()?;
        }
        Ok(())
    }

    fn finish(self) -> Outcome {
        let way = way::of_size(self.crowd.size);
        self.times.iter().for_each(|(job, times)| Record::times(job, &way, times).emit());
        self.crowd.own.destroy()
    }
}

fn open<'h>(crowd: &Crowd, host: &'h Host) -> Outcome<Pool<'h>> {
    Ok(Pool::open(host, &crowd.location)?)
}

/// One more, as a process of its own would make it.
fn create_one(crowd: &Crowd, host: &Host) -> Outcome<Duration> {
    timed(|| create(&mut open(crowd, host)?, 0))
}

fn remove_one(crowd: &Crowd, host: &Host) -> Outcome<Duration> {
    timed(|| Ok(open(crowd, host)?.remove_container(&name(0)?, false).map(drop)?))
}

fn activate(crowd: &Crowd, host: &Host) -> Outcome<Duration> {
    open(crowd, host)?.deactivate()?;
    timed(|| Ok(open(crowd, host)?.activate(Checking::AsNeeded).map(drop)?))
}

/// What `usage` tells, of a metadata snapshot that is held and let go outside of the time.
fn thin_ls(crowd: &Crowd, _: &Host) -> Outcome<Duration> {
    const COLUMNS: &str = "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS";
    let pool = crowd.own.device();
    let table = run("dmsetup", ["table", &pool])?;
    // Beginning, length, target, and the metadata device as MAJOR:MINOR.
    let number = table.split_whitespace().nth(3).ok_or_else(|| format!("the pool's table is '{table}'"))?;
    let device = format!("/dev/block/{number}");
    run("dmsetup", ["message", &pool, "0", "reserve_metadata_snap"])?;
    let took = timed(|| run("thin_ls", ["--metadata-snap", "--format", COLUMNS, &device]).map(drop));
    run("dmsetup", ["message", &pool, "0", "release_metadata_snap"])?;
    took
}

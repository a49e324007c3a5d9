//! What a pool's size costs: the same jobs where there are ten devices, and where there are ten thousand.

use std::time::Duration;

use thinpool::pool::{Checking, Host, Pool};

use crate::bed::Bed;
use crate::crowd::Crowd;
use crate::metadata;
use crate::race::{settle, timed};
use crate::record::{Record, count, job, way};
use crate::tool::{Outcome, run};
use crate::ways::thinpool::{create, name};

/// No job takes another turn once it has had so long in one pool.
const ENOUGH: Duration = Duration::from_secs(120);

/// A pool with so many devices, and what is done in it.
struct Racer {
    crowd: Crowd,
    jobs: Vec<Job>,
}

struct Job {
    name: &'static str,
    act: Act,
    times: Vec<Duration>,
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
    let mut racers = Vec::new();
    for size in sizes {
        match Racer::new(bed, &host, size) {
            Ok(racer) => racers.push(racer),
            Err(error) => Record::absent(&way::of_size(size), error.to_string()).emit(),
        }
    }
    for turn in 0..=turns {
        println!("turn {turn} of {turns} in pools of different sizes");
        // The first one only warms up.
        for racer in &mut racers {
            racer.take_turn(&host, turn > 0);
        }
    }
    for racer in &racers {
        racer.tell();
    }
    if let Some(Err(error)) = racers.last().map(|largest| metadata::write(&largest.crowd)) {
        Record::absent(count::METADATA_WRITTEN, error.to_string()).emit();
    }
    racers.into_iter().try_for_each(|racer| racer.crowd.own.destroy())
}

impl Racer {
    fn new(bed: &Bed, host: &Host, size: u32) -> Outcome<Self> {
        let jobs = JOBS.map(|(name, act)| Job { name, act, times: Vec::new() }).into();
        Ok(Self { crowd: Crowd::new(bed, host, size)?, jobs })
    }

    /// A job that fails takes no further turn.
    fn take_turn(&mut self, host: &Host, counts: bool) {
        let crowd = &self.crowd;
        self.jobs.retain_mut(|job| {
            let had: Duration = job.times.iter().sum();
            if had >= ENOUGH {
                return true;
            }
            match (job.act)(crowd, host).and_then(|took| settle().map(|()| took)) {
                Ok(took) => job.times.extend(counts.then_some(took)),
                Err(error) => {
                    let what = format!("{} {}", job.name, way::of_size(crowd.size));
                    Record::absent(&what, error.to_string()).emit();
                    return false;
                }
            }
            true
        });
    }

    fn tell(&self) {
        for job in &self.jobs {
            Record::times(job.name, &way::of_size(self.crowd.size), &job.times).emit();
        }
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

//! What a pool's size costs: the same jobs where there are ten devices, and where there are ten thousand.

use std::time::Duration;

use thinpool::pool::{Checking, Host, Location, Pool};

use crate::bed::Bed;
use crate::race::{settle, timed};
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};
use crate::ways::thinpool::{OwnPool, create, name};

/// A pool with so many devices.
struct Crowd {
    own: OwnPool,
    location: Location,
    size: u32,
    times: Vec<(&'static str, Vec<Duration>)>,
}

/// Does a job once, and tells how long it took.
type Act = fn(&Crowd, &Host) -> Outcome<Duration>;

const JOBS: [(&str, Act); 6] = [
    (job::CREATE_AMONG, Crowd::create),
    (job::REMOVE_AMONG, Crowd::remove),
    (job::STATUS, Crowd::status),
    (job::LIST, Crowd::list),
    (job::ACTIVATE_POOL, Crowd::activate),
    (job::DMSETUP_STATUS, Crowd::dmsetup_status),
];

pub fn measure(bed: &Bed, turns: u32, largest: u32) -> Outcome {
    let host = Host::system(Duration::from_secs(30))?;
    let sizes = [10, 1_000, 10_000].into_iter().filter(|size| *size <= largest);
    let mut crowds = sizes.map(|size| Crowd::new(bed, &host, size)).collect::<Outcome<Vec<_>>>()?;
    for turn in 0..=turns {
        println!("turn {turn} of {turns} in pools of different sizes");
        for crowd in &mut crowds {
            let times = crowd.turn(&host)?;
            // The first one only warms up.
            if turn > 0 {
                crowd.times.iter_mut().zip(times).for_each(|((_, all), time)| all.push(time));
            }
        }
    }
    for crowd in crowds {
        let way = way::of_size(crowd.size);
        crowd.times.iter().for_each(|(job, times)| Record::times(job, &way, times).emit());
        crowd.own.destroy()?;
    }
    Ok(())
}

impl Crowd {
    fn new(bed: &Bed, host: &Host, size: u32) -> Outcome<Self> {
        println!("makes a pool of {size} devices");
        let own = OwnPool::with_small_image(bed, &format!("bench-{size}"))?;
        let location = own.location()?;
        let mut pool = Pool::open(host, &location)?;
        (1..=size).try_for_each(|copy| create(&mut pool, copy))?;
        Ok(Self { own, location, size, times: JOBS.map(|(job, _)| (job, Vec::new())).to_vec() })
    }

    fn turn(&self, host: &Host) -> Outcome<[Duration; JOBS.len()]> {
        let mut times = [Duration::ZERO; JOBS.len()];
        for (time, (_, act)) in times.iter_mut().zip(JOBS) {
            *time = act(self, host)?;
            settle()?;
        }
        Ok(times)
    }

    fn open<'h>(&self, host: &'h Host) -> Outcome<Pool<'h>> {
        Ok(Pool::open(host, &self.location)?)
    }

    /// One more, as a process of its own would make it.
    fn create(&self, host: &Host) -> Outcome<Duration> {
        timed(|| create(&mut self.open(host)?, 0))
    }

    fn remove(&self, host: &Host) -> Outcome<Duration> {
        timed(|| Ok(self.open(host)?.remove_container(&name(0)?, false).map(drop)?))
    }

    fn status(&self, _: &Host) -> Outcome<Duration> {
        timed(|| self.own.run(&["status"]).map(drop))
    }

    fn list(&self, _: &Host) -> Outcome<Duration> {
        timed(|| self.own.run(&["container", "list"]).map(drop))
    }

    fn activate(&self, host: &Host) -> Outcome<Duration> {
        self.open(host)?.deactivate()?;
        timed(|| Ok(self.open(host)?.activate(Checking::AsNeeded).map(drop)?))
    }

    fn dmsetup_status(&self, _: &Host) -> Outcome<Duration> {
        timed(|| run("dmsetup", ["status", &format!("{}-pool", self.own.name)]).map(drop))
    }
}

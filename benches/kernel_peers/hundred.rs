//! A hundred copies at once, beside a hundred one after the other; and whoever only looks meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thinpool::pool::{Host, Location, Pool};

use crate::bed::Bed;
use crate::race::{settle, timed};
use crate::record::{Record, job, way};
use crate::tool::Outcome;
use crate::ways::thinpool::{OwnPool, create, name};

const COPIES: u32 = 100;

/// An error that a thread can hand over.
type Handed<T = ()> = Result<T, String>;

pub fn measure(bed: &Bed, turns: u32) -> Outcome {
    println!("a hundred at once");
    let own = OwnPool::with_small_image(bed, "bench-hundred")?;
    let (host, location) = (Host::system(Duration::from_secs(30))?, own.location()?);
    let [mut in_a_row, mut at_once, mut alone, mut meanwhile] = [const { Vec::new() }; 4];
    for _ in 0..turns {
        in_a_row.push(timed(|| Ok((0..COPIES).try_for_each(|copy| make(&host, &location, copy))?))?);
        alone.push(longest_read(&host, &location, |_| true)?);
        remove_all(&host, &location)?;
        let (took, longest) = all_at_once(&host, &location)?;
        at_once.push(took);
        meanwhile.push(longest);
        remove_all(&host, &location)?;
    }
    Record::times(job::HUNDRED, way::IN_A_ROW, &in_a_row).emit();
    Record::times(job::HUNDRED, way::AT_ONCE, &at_once).emit();
    Record::times(job::READ, way::ALONE, &alone).emit();
    Record::times(job::READ, way::MEANWHILE, &meanwhile).emit();
    own.destroy()
}

/// Makes one as a process of its own would: it opens the pool itself.
fn make(host: &Host, location: &Location, copy: u32) -> Handed {
    let mut pool = Pool::open(host, location).map_err(|error| error.to_string())?;
    create(&mut pool, copy).map_err(|error| error.to_string())
}

/// How long all of them took, and the longest read meanwhile.
fn all_at_once(host: &Host, location: &Location) -> Handed<(Duration, Duration)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| longest_read(host, location, |_| done.load(Ordering::Relaxed)));
        let start = Instant::now();
        let makers: Vec<_> =
            (0..COPIES).map(|copy| scope.spawn(move || make(host, location, copy))).collect();
        let made: Handed = makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| "a panic")?);
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        let longest = reader.join().map_err(|_| "a panic")??;
        made.map(|()| (took, longest))
    })
}

/// Lists the containers until it is enough, at least once.
fn longest_read(host: &Host, location: &Location, enough: impl Fn(Duration) -> bool) -> Handed<Duration> {
    let mut longest = Duration::ZERO;
    loop {
        let start = Instant::now();
        let listed = Pool::open(host, location).and_then(|pool| pool.containers());
        listed.map_err(|error| error.to_string())?;
        longest = longest.max(start.elapsed());
        if enough(longest) {
            return Ok(longest);
        }
    }
}

fn remove_all(host: &Host, location: &Location) -> Outcome {
    let mut pool = Pool::open(host, location)?;
    for copy in 0..COPIES {
        pool.remove_container(&name(copy)?, false)?;
    }
    settle()
}

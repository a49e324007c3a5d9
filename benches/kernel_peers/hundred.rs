//! A hundred copies at once, beside a hundred one after the other; and whoever only looks meanwhile.
//!
//! A hundred threads that want two processors leave little to anybody else: a read that nothing blocks takes long as well. So
//! one reader is a thread like the others, and one has a real-time priority: what that one waits for is no processor.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use thinpool::pool::{Host, Location, Pool};

use crate::bed::Bed;
use crate::race::{settle, timed};
use crate::record::{Record, job, way};
use crate::tool::{Outcome, run};
use crate::ways::thinpool::{OwnPool, create};

const COPIES: u32 = 100;

/// Between two reads, so that a reader is no load of its own.
const PAUSE: Duration = Duration::from_millis(50);

/// An error that a thread can hand over.
type Handed<T = ()> = Result<T, String>;

struct Hundreds<'h> {
    host: &'h Host,
    location: Location,
}

pub fn measure(bed: &Bed, turns: u32) -> Outcome {
    let host = Host::system(Duration::from_secs(30))?;
    let [mut in_a_row, mut at_once, mut alone, mut starved, mut unstarved] = [const { Vec::new() }; 5];
    for turn in 1..=turns {
        println!("turn {turn} of {turns} of a hundred at once");
        // Each in a pool of its own: what is read are all containers, of which there are to be as many each time.
        let own = OwnPool::with_small_image(bed, "bench-hundred")?;
        settle()?;
        let hundreds = Hundreds { host: &host, location: own.location()? };
        let [a_hundred, another, the_last] =
            [0, 1, 2].map(|hundred| hundred * COPIES..(hundred + 1) * COPIES);
        in_a_row.push(timed(|| Ok({ a_hundred }.try_for_each(|copy| hundreds.make(copy))?))?);
        settle()?;
        at_once.push(timed(|| Ok(hundreds.make_at_once(another)?))?);
        settle()?;
        alone.push(hundreds.longest_read(|| true)?);
        let longest = hundreds.read_meanwhile(the_last)?;
        starved.push(longest.0);
        unstarved.push(longest.1);
        settle()?;
        own.destroy()?;
    }
    Record::times(job::HUNDRED, way::IN_A_ROW, &in_a_row).emit();
    Record::times(job::HUNDRED, way::AT_ONCE, &at_once).emit();
    Record::times(job::READ, way::ALONE, &alone).emit();
    Record::times(job::READ, way::MEANWHILE, &starved).emit();
    Record::times(job::READ, way::UNSTARVED, &unstarved).emit();
    Ok(())
}

impl Hundreds<'_> {
    /// Makes one as a process of its own would: it opens the pool itself.
    fn make(&self, copy: u32) -> Handed {
        let mut pool = Pool::open(self.host, &self.location).map_err(told)?;
        create(&mut pool, copy).map_err(told)
    }

    fn make_at_once(&self, copies: Range<u32>) -> Handed {
        std::thread::scope(|scope| {
            let makers: Vec<_> = copies.map(|copy| scope.spawn(move || self.make(copy))).collect();
            makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| "a panic")?)
        })
    }

    /// The longest reads while all are made: of a thread like the others, and of one that gets a processor when it wants one.
    fn read_meanwhile(&self, copies: Range<u32>) -> Handed<(Duration, Duration)> {
        let done = AtomicBool::new(false);
        let read = || self.longest_read(|| done.load(Ordering::Relaxed));
        let read_first = || prefer_this_thread().and_then(|()| read());
        std::thread::scope(|scope| {
            let (starved, unstarved) = (scope.spawn(read), scope.spawn(read_first));
            let made = self.make_at_once(copies);
            done.store(true, Ordering::Relaxed);
            let longest =
                (starved.join().map_err(|_| "a panic")??, unstarved.join().map_err(|_| "a panic")??);
            made.map(|()| longest)
        })
    }

    /// Lists the containers until it is enough, at least once.
    fn longest_read(&self, enough: impl Fn() -> bool) -> Handed<Duration> {
        let mut longest = Duration::ZERO;
        loop {
            let start = Instant::now();
            Pool::open(self.host, &self.location).and_then(|pool| pool.containers()).map_err(told)?;
            longest = longest.max(start.elapsed());
            if enough() {
                return Ok(longest);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Gives this thread a processor before all others that are no real-time threads.
fn prefer_this_thread() -> Handed {
    run("chrt", ["--fifo", "--pid", "1", &gettid().to_string()]).map(drop).map_err(told)
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err has it")]
fn told(error: impl ToString) -> String {
    error.to_string()
}

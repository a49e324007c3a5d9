//! The contenders' turns: one after the other, again and again, so that a busy minute of the machine hits all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::contender::Contender;
use crate::record::{Record, job};
use crate::tool::{Outcome, run};
use crate::ways::WAYS;

/// One that takes part, or did until it failed.
struct Racer {
    way: &'static str,
    contender: Outcome<Box<dyn Contender>>,
    times: BTreeMap<&'static str, Vec<Duration>>,
}

/// Lets all ways take so many turns, and says what came of it.
#[allow(clippy::unnecessary_wraps, reason = "as all parts; a way that fails is told of by itself")]
pub fn race(bed: &Bed, turns: u32, chosen: impl Fn(&str) -> bool) -> Outcome {
    let mut racers: Vec<Racer> = WAYS
        .into_iter()
        .filter(|(way, _)| chosen(way))
        .map(|(way, enter)| {
            println!("{way}: makes itself ready");
            Racer { way, contender: enter(bed), times: BTreeMap::new() }
        })
        .collect();
    for turn in 0..=turns {
        println!("turn {turn} of {turns}");
        // The first one only warms up.
        if turn == 1 {
            for racer in &mut racers {
                racer.times.clear();
            }
        }
        racers.iter_mut().for_each(Racer::take_turn);
    }
    racers.into_iter().for_each(Racer::finish);
    Ok(())
}

impl Racer {
    fn take_turn(&mut self) {
        let Ok(contender) = &mut self.contender else { return };
        if let Err(error) = turn(contender.as_mut(), &mut self.times) {
            println!("{}: {error}", self.way);
            if let Ok(failed) = std::mem::replace(&mut self.contender, Err(error))
                && let Err(left) = failed.finish()
            {
                println!("{}: {left}", self.way);
            }
        }
    }

    fn finish(self) {
        match self.contender.and_then(Contender::finish) {
            Ok(()) => {
                self.times.iter().for_each(|(job, times)| Record::times(job, self.way, times).emit());
            }
            Err(error) => Record::absent(self.way, error.to_string()).emit(),
        }
    }
}

/// Where a copy gets its device in a step of its own, two copies: one gets it, the other is mounted and written to.
/// Elsewhere one is enough.
fn turn(contender: &mut dyn Contender, times: &mut BTreeMap<&'static str, Vec<Duration>>) -> Outcome {
    let mut note = |job, time| times.entry(job).or_default().push(time);
    let made = timed(|| contender.snapshot())?;
    note(job::SNAPSHOT, made);
    if let Some(activation) = timed_if_any(|| contender.activate())? {
        note(job::ACTIVATE, activation);
        note(job::DEVICE, made + activation);
        settle()?;
        note(job::REMOVE, timed(|| contender.remove())?);
        settle()?;
        note(job::WRITE, timed(|| contender.write_to_new())?);
        contender.close()?;
        contender.remove()?;
    } else {
        note(job::DEVICE, made);
        note(job::WRITE, made + timed(|| contender.write())?);
        contender.close()?;
        settle()?;
        note(job::REMOVE, timed(|| contender.remove())?);
    }
    settle()?;
    if let Some(asked) = timed_if_any(|| contender.idle())? {
        note(job::IDLE, asked);
    }
    Ok(())
}

/// How long something takes.
pub fn timed(act: impl FnOnce() -> Outcome) -> Outcome<Duration> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}

/// The same, of something that may not be there to be done.
fn timed_if_any(act: impl FnOnce() -> Option<Outcome>) -> Outcome<Option<Duration>> {
    let start = Instant::now();
    let Some(done) = act() else { return Ok(None) };
    let took = start.elapsed();
    done.map(|()| Some(took))
}

/// Waits for what udev and the disk still do on behalf of who was there before.
pub fn settle() -> Outcome {
    run("udevadm", ["settle", "--timeout=30"])?;
    run("sync", [""; 0]).map(drop)
}

//! Fail points: a place before and a place after each step that outlives the process, be it a commit, a file or a call
//! of the kernel's. Tests count them, write down their names, and kill the process at each.
//!
//! A step is marked where it is made, in the one function of its kind, and `clippy.toml` forbids to call what is
//! underneath from anywhere else: so the list of all steps of a command is what a run of it meets, and a new step can't
//! be forgotten.
//!
//! In release builds nothing of this exists: [`around`] only calls what it was given.

use std::fmt::Arguments;

/// Takes a step: `act`, between two places at which the process may be killed.
#[inline]
pub fn around<T>(what: Arguments<'_>, act: impl FnOnce() -> T) -> T {
    place("before", what);
    let done = act();
    place("after", what);
    done
}

/// A place in the midst of a step that takes its time.
#[inline]
pub fn during(what: Arguments<'_>) {
    place("during", what);
}

#[cfg(not(debug_assertions))]
#[inline]
fn place(_: &str, _: Arguments<'_>) {}

/// Nothing dies here.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub fn is_dead() -> bool {
    false
}

#[cfg(debug_assertions)]
use debug::place;
#[cfg(debug_assertions)]
pub use debug::{Died, Steps, is_dead, run_and_die_at};

#[cfg(debug_assertions)]
mod debug {
    use std::cell::RefCell;
    use std::fmt::Arguments;
    use std::fs::File;
    use std::io::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What the process is asked for by its environment.
    struct Asked {
        /// `THINPOOL_STEPS`: a file for the name of every place that is met, one a line.
        names: Option<File>,
        /// `THINPOOL_KILL_AT`: the place at which the process kills itself, counted from 1.
        kill_at: Option<u64>,
    }

    impl Asked {
        fn of_environment() -> Self {
            let names = std::env::var_os("THINPOOL_STEPS");
            let kill_at = std::env::var("THINPOOL_KILL_AT").ok();
            Self {
                names: names.and_then(|file| File::options().append(true).create(true).open(file).ok()),
                kill_at: kill_at.and_then(|number| number.parse().ok()),
            }
        }
    }

    pub(crate) fn place(when: &str, what: Arguments<'_>) {
        static ASKED: OnceLock<Asked> = OnceLock::new();
        static MET: AtomicU64 = AtomicU64::new(0);
        meet_in_thread(when, what);
        let asked = ASKED.get_or_init(Asked::of_environment);
        let number = MET.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(mut names) = asked.names.as_ref() {
            // A test that misses a name fails.
            let _ = writeln!(names, "{when} {what}");
        }
        if asked.kill_at == Some(number) {
            // No handler sees it, no destructor runs: as if the power went, but for what the kernel holds.
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            while killed.is_ok() {
                std::thread::park();
            }
        }
    }

    /// The places that a thread has met.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Steps(pub Vec<String>);

    /// What stands for a process that died, while the stack is taken down.
    #[derive(Debug)]
    pub struct Died(pub Steps);

    #[derive(Default)]
    struct Thread {
        die_at: usize,
        met: Steps,
        dead: bool,
    }

    thread_local! {
        static THREAD: RefCell<Option<Thread>> = const { RefCell::new(None) };
    }

    /// Lets `act` die at a place, counted from 1, in place of a process: from there on the stack is taken down, and what
    /// destructors do meanwhile has to come to nothing ([`is_dead`]). [`Died`] if it did; else what came of it, with the
    /// places that it met.
    pub fn run_and_die_at<T>(place: usize, act: impl FnOnce() -> T) -> Result<(T, Steps), Died> {
        THREAD.with_borrow_mut(|slot| *slot = Some(Thread { die_at: place, ..Thread::default() }));
        let result = catch_unwind(AssertUnwindSafe(act));
        let met = THREAD.with_borrow_mut(Option::take).map(|thread| thread.met).unwrap_or_default();
        match result {
            Ok(value) => Ok((value, met)),
            Err(panic) if panic.is::<DiesHere>() => Err(Died(met)),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whether what runs in this thread has died in [`run_and_die_at`].
    #[must_use]
    pub fn is_dead() -> bool {
        THREAD.with_borrow(|slot| slot.as_ref().is_some_and(|thread| thread.dead))
    }

    struct DiesHere;

    fn meet_in_thread(when: &str, what: Arguments<'_>) {
        let dies = THREAD.with_borrow_mut(|slot| {
            let Some(thread) = slot.as_mut().filter(|thread| !thread.dead) else { return false };
            thread.met.0.push(format!("{when} {what}"));
            thread.dead = thread.met.0.len() == thread.die_at;
            thread.dead
        });
        if dies {
            resume_unwind(Box::new(DiesHere));
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_nobody_can_be_killed_at_would_prove_nothing() {
        let run = |place| {
            let taken = std::rc::Rc::new(std::cell::Cell::new(0));
            let count = std::rc::Rc::clone(&taken);
            let ended = run_and_die_at(place, move || {
                around(format_args!("one"), || count.set(1));
                around(format_args!("two"), || count.set(2));
            });
            (ended.is_ok(), taken.get())
        };
        assert_eq!([1, 2, 3, 4, 5].map(run), [(false, 0), (false, 1), (false, 1), (false, 2), (true, 2)]);
    }
}

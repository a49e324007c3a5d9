//! Backups that a monitor has taken when much has changed.

use std::io::Error;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lvm::RunError;

use super::machine::Machine;
use crate::dm::Injection;
use crate::monitor::{Look, Manner, Monitor, REST, Schedule};

/// Somebody who is asked for backups.
#[derive(Clone, Default)]
struct Asked {
    times: Arc<AtomicU32>,
    fails: Arc<AtomicBool>,
    /// Who has it keeps a backup from being done.
    turn: Arc<Mutex<()>>,
}

impl Asked {
    fn times(&self) -> u32 {
        self.times.load(Ordering::SeqCst)
    }

    fn watches<'m>(&self, machine: &'m Machine, changes: u32) -> Monitor<'m> {
        let asked = self.clone();
        let take = move || {
            asked.times.fetch_add(1, Ordering::SeqCst);
            drop(asked.turn.lock());
            let why = |()| RunError::Start { command: "thinpool".to_owned(), source: Error::other("no") };
            (!asked.fails.load(Ordering::SeqCst)).then(String::new).ok_or(()).map_err(why)
        };
        let backups = Some(Schedule { changes, take: Arc::new(take) });
        let manner = Manner { backups, ..Manner::default() };
        Monitor::begin(&machine.host, &machine.location, manner).expect("watched")
    }
}

/// Looks until there is nothing more to do at once, and no backup runs. Tells when to look again.
fn look(monitor: &mut Monitor<'_>, now: Instant) -> Option<Duration> {
    loop {
        match monitor.look(now) {
            Look::Done { again } if again != Some(Duration::ZERO) && !monitor.is_backing_up() => {
                return again;
            }
            Look::Done { .. } => std::thread::yield_now(),
            Look::Gone => panic!("gone"),
        }
    }
}

fn make(machine: &Machine, names: std::ops::Range<u32>) {
    names.for_each(|number| machine.create(&format!("c{number}")).expect("created"));
}

#[test]
fn much_that_came_after_the_newest_backup_is_backed_up_and_a_little_is_not() {
    let (machine, asked) = (Machine::with_image(), Asked::default());
    machine.pool().back_up_metadata().expect("made");
    let mut monitor = asked.watches(&machine, 4);
    let begun = Instant::now();
    assert_eq!(look(&mut monitor, begun), None);
    make(&machine, 0..3);
    assert_eq!((look(&mut monitor, begun), asked.times()), (None, 0), "three of four");
    make(&machine, 3..4);
    look(&mut monitor, begun);
    assert_eq!(asked.times(), 1);
}

#[test]
fn a_backup_that_somebody_took_himself_is_one_less_to_take() {
    let (machine, asked) = (Machine::with_image(), Asked::default());
    let mut monitor = asked.watches(&machine, 4);
    machine.pool().back_up_metadata().expect("made");
    make(&machine, 0..5);
    machine.pool().back_up_metadata().expect("made");
    assert_eq!((look(&mut monitor, Instant::now()), asked.times()), (None, 0));
}

#[test]
fn between_two_backups_is_a_rest_however_much_changes_and_the_next_is_not_forgotten() {
    let (machine, asked) = (Machine::with_image(), Asked::default());
    let mut monitor = asked.watches(&machine, 4);
    let begun = Instant::now();
    make(&machine, 0..5);
    let turn = asked.turn.lock().expect("nobody has it");
    while !monitor.is_backing_up() {
        monitor.look(begun);
    }
    machine.pool().back_up_metadata().expect("the one that was asked for");
    drop(turn);
    look(&mut monitor, begun);
    assert_eq!(asked.times(), 1);
    assert_eq!(
        look(&mut monitor, begun + REST / 2),
        None,
        "nothing has changed, so there is nothing to wake up for"
    );
    make(&machine, 5..10);
    let again = look(&mut monitor, begun + REST / 2).expect("it wakes up for the next");
    assert_eq!(asked.times(), 1);
    look(&mut monitor, begun + REST / 2 + again);
    assert_eq!(asked.times(), 2);
}

#[test]
fn a_backup_that_fails_is_tried_again_after_a_rest() {
    let (machine, asked) = (Machine::with_image(), Asked::default());
    let mut monitor = asked.watches(&machine, 4);
    let begun = Instant::now();
    asked.fails.store(true, Ordering::SeqCst);
    make(&machine, 0..5);
    let again = look(&mut monitor, begun).expect("it wakes up to try again");
    assert_eq!(asked.times(), 1);
    asked.fails.store(false, Ordering::SeqCst);
    look(&mut monitor, begun + again);
    assert_eq!(asked.times(), 2);
}

#[test]
fn metadata_that_wants_a_check_takes_the_place_of_no_backup() {
    let (machine, asked) = (Machine::with_image(), Asked::default());
    let mut monitor = asked.watches(&machine, 4);
    make(&machine, 0..5);
    machine.twin.inject(&machine.pool().device, Injection::NeedsCheck).expect("injected");
    look(&mut monitor, Instant::now());
    assert_eq!(asked.times(), 0);
}

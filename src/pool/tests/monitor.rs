//! Pools that are watched over.

use std::time::{Duration, Instant};

use super::kills::killed_everywhere;
use super::machine::Machine;
use crate::catalog::PoolGrowth;
use crate::dm::{Injection, IoError, Mode, Name, NoSpacePolicy, PoolStatus, PoolUsage};
use crate::monitor::{Look, Manner, Monitor, RETRY};
use crate::pool::extend::{By, Extension};
use crate::pool::{PoolError, status};
use crate::units::{Bytes, Growth, Sectors};

/// A machine with a container that is far larger than its pool.
fn with_large_container() -> Machine {
    let machine = Machine::with_image();
    machine.create_of("one", "web", Some(Bytes::mib(512))).expect("created");
    machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
    machine
}

fn node() -> Name {
    Name::new("test-web").expect("a name")
}

/// Writes the container's n-th MiB.
fn write(machine: &Machine, mib: u64) -> Result<(), IoError> {
    let at = Bytes::mib(mib).sectors();
    machine.twin.write(&node(), at, Bytes::mib(1).sectors())
}

fn usage(machine: &Machine) -> PoolUsage {
    match machine.host.dm.pool_status(&machine.pool().device).expect("read") {
        PoolStatus::Working(usage) => usage,
        other => panic!("{other:?}"),
    }
}

fn total(machine: &Machine) -> Bytes {
    usage(machine).data.total.bytes(machine.pool().record.policy.block_size)
}

fn begin(machine: &Machine) -> Monitor<'_> {
    Monitor::begin(&machine.host, &machine.location, Manner::default()).expect("watched")
}

/// Looks until there is nothing more to do at once.
fn look(monitor: &mut Monitor<'_>, now: Instant) -> Option<Duration> {
    for _ in 0..10 {
        match monitor.look(now) {
            Look::Done { again: Some(Duration::ZERO) } => {}
            Look::Done { again } => return again,
            Look::Gone => panic!("gone"),
        }
    }
    panic!("it never comes to rest");
}

/// A host without room for anything: no file may be longer than what is there already.
fn fill_host(machine: &Machine) {
    let mut pool = machine.pool();
    let room = pool.room().expect("known").data;
    // Promised to the pool, so that there is nothing left to grow into.
    let data = Some(Growth::By(room + Bytes::gib(1)));
    let metadata = Some(Growth::To(Bytes::gib(8)));
    pool.extend(&Extension { data, metadata, by: By::Hand, ..Extension::default() }).expect("extended");
}

#[test]
fn a_writer_that_fills_many_times_the_first_size_meets_no_full_pool() {
    let machine = with_large_container();
    let mut monitor = begin(&machine);
    look(&mut monitor, Instant::now());
    let device = machine.pool().device.clone();
    let mut heard = machine.twin.events(&device);
    for mib in 0..512 {
        // As often as the kernel says that there is something to see, and no more often.
        if std::mem::replace(&mut heard, machine.twin.events(&device)) != heard {
            look(&mut monitor, Instant::now());
            heard = machine.twin.events(&device);
        }
        write(&machine, mib).unwrap_or_else(|error| panic!("{mib} MiB of {}: {error:?}", total(&machine)));
    }
    assert!(total(&machine) >= Bytes::mib(512));
    machine.twin.close(&node()).ok();
    assert_eq!(usage(&machine).mode, Mode::ReadWrite);
}

#[test]
fn a_pool_that_is_watched_over_queues_and_one_that_is_left_does_not() {
    let machine = Machine::with_image();
    assert_eq!(usage(&machine).no_space, NoSpacePolicy::Error);
    let mut monitor = begin(&machine);
    assert_eq!(look(&mut monitor, Instant::now()), None, "it has nothing to wake up for");
    assert_eq!(usage(&machine).no_space, NoSpacePolicy::Queue);
    monitor.leave();
    assert_eq!(usage(&machine).no_space, NoSpacePolicy::Error);
}

#[test]
fn a_write_that_waits_goes_on_when_the_pool_has_grown() {
    let machine = with_large_container();
    let mut monitor = begin(&machine);
    look(&mut monitor, Instant::now());
    // Faster than any monitor.
    let blocked = (0..512).find(|mib| write(&machine, *mib) == Err(IoError::Blocked)).expect("full");
    assert_eq!(usage(&machine).mode, Mode::OutOfDataSpace);
    look(&mut monitor, Instant::now());
    write(&machine, blocked).expect("goes on");
    assert_eq!(usage(&machine).mode, Mode::ReadWrite);
}

#[test]
fn there_is_one_monitor_for_a_pool_and_the_status_knows_of_it() {
    let machine = Machine::with_image();
    let keys = |machine: &Machine| -> Vec<_> {
        let status = machine.location.status(&machine.host);
        status.problems.iter().map(status::Problem::key).collect()
    };
    assert!(keys(&machine).contains(&"not_monitored"));
    let monitor = begin(&machine);
    assert!(!keys(&machine).contains(&"not_monitored"));
    let mut impatient = machine.location.clone();
    impatient.patience = Duration::ZERO;
    assert!(matches!(Monitor::begin(&machine.host, &impatient, Manner::default()), Err(PoolError::Lock(_))));
    drop(monitor);
    drop(begin(&machine));
    machine.pool().deactivate().expect("deactivated");
    assert!(matches!(
        Monitor::begin(&machine.host, &machine.location, Manner::default()),
        Err(PoolError::NotActive(_))
    ));
    assert!(!keys(&machine).contains(&"not_monitored"), "nobody can watch over an inactive pool");
}

#[test]
fn a_monitor_sees_its_pool_go() {
    for destroy in [false, true] {
        let machine = Machine::with_image();
        let mut monitor = begin(&machine);
        look(&mut monitor, Instant::now());
        if destroy {
            machine.location.destroy(&machine.host, false).expect("destroyed");
        } else {
            machine.pool().deactivate().expect("deactivated");
        }
        assert_eq!(monitor.look(Instant::now()), Look::Gone);
    }
}

#[test]
fn writes_to_a_pool_that_could_not_grow_fail_at_once() {
    let machine = with_large_container();
    fill_host(&machine);
    let mut monitor = begin(&machine);
    assert_eq!(look(&mut monitor, Instant::now()), None, "it is not full yet");
    assert_eq!(usage(&machine).no_space, NoSpacePolicy::Error, "writes would wait in vain");
}

#[test]
fn a_growth_that_fails_is_tried_again_soon_and_not_at_once() {
    let machine = with_large_container();
    let mut monitor = begin(&machine);
    let begun = Instant::now();
    look(&mut monitor, begun);
    (0..52).for_each(|mib| write(&machine, mib).expect("written"));
    machine.twin.refuse_at(1, nix::errno::Errno::ENOMEM);
    assert_eq!(look(&mut monitor, begun), Some(RETRY));
    let before = machine.twin.ioctls();
    assert!(look(&mut monitor, begun + RETRY / 2).is_some_and(|wait| wait <= RETRY / 2));
    assert_eq!(machine.twin.ioctls(), before, "what fails is not done again and again");
    assert_eq!(look(&mut monitor, begun + RETRY), None);
    assert!(total(&machine) > Bytes::mib(64));
}

#[test]
fn the_next_crossing_is_heard_after_blocks_were_freed() {
    let machine = with_large_container();
    let device = machine.pool().device.clone();
    // Nothing is to grow, so only the kernel's event counts; it has come before anybody listened.
    (0..52).for_each(|mib| write(&machine, mib).expect("written"));
    let discard = |machine: &Machine| {
        let length = Bytes::mib(40).sectors();
        machine.twin.discard(&node(), Sectors(0), length).expect("discarded");
    };
    discard(&machine);
    let mut monitor = begin(&machine);
    look(&mut monitor, Instant::now());
    let heard = machine.twin.events(&device);
    (0..40).for_each(|mib| write(&machine, mib).expect("written"));
    assert_ne!(machine.twin.events(&device), heard, "the pool would have filled up unseen");
}

#[test]
fn a_pool_that_comes_and_goes_across_its_mark_is_not_suspended_at_each_look() {
    let machine = with_large_container();
    let mut monitor = begin(&machine);
    let begun = Instant::now();
    look(&mut monitor, begun);
    let costs = |monitor: &mut Monitor<'_>, now| {
        let before = machine.twin.ioctls();
        look(monitor, now);
        machine.twin.ioctls() - before
    };
    let quiet = costs(&mut monitor, begun);
    let cross = || {
        (0..52).for_each(|mib| write(&machine, mib).expect("written"));
        machine.twin.discard(&node(), Sectors(0), Bytes::mib(52).sectors()).expect("discarded");
    };
    cross();
    assert_eq!(costs(&mut monitor, begun + RETRY / 2), quiet, "it was made to raise its event a moment ago");
    assert!(costs(&mut monitor, begun + RETRY) > quiet, "its event is spent, and nobody had it raised anew");
    let heard = machine.twin.events(&machine.pool().device);
    cross();
    assert_ne!(machine.twin.events(&machine.pool().device), heard);
}

#[test]
fn a_pool_that_wants_a_check_is_left_alone() {
    let machine = with_large_container();
    (0..52).for_each(|mib| write(&machine, mib).expect("written"));
    let device = machine.pool().device.clone();
    machine.twin.inject(&device, Injection::NeedsCheck).expect("injected");
    let mut monitor = begin(&machine);
    let before = machine.twin.ioctls();
    assert_eq!(look(&mut monitor, Instant::now()), None);
    assert_eq!(total(&machine), Bytes::mib(64));
    assert!(machine.twin.ioctls() <= before + 2, "nothing but the event is set up");
}

#[test]
fn metadata_that_is_full_is_made_larger() {
    let machine = Machine::with_image();
    let device = machine.pool().device.clone();
    machine.twin.inject(&device, Injection::OutOfMetadata).expect("injected");
    look(&mut begin(&machine), Instant::now());
    assert_eq!(usage(&machine).mode, Mode::ReadWrite);
    machine.create("web").expect("it can be changed again");
}

#[test]
fn a_growth_that_somebody_was_killed_at_is_finished_though_nothing_else_is_due() {
    let machine = Machine::with_image();
    let growth = PoolGrowth { data: Some(Bytes::mib(96)), metadata: None };
    let mut pool = machine.pool();
    let backing = pool.record.backing.clone();
    pool.catalog.intend_growth(&growth, &backing).expect("written");
    look(&mut begin(&machine), Instant::now());
    assert_eq!(total(&machine), Bytes::mib(96));
    assert!(machine.pool().catalog.growth().expect("read").is_none());
}

#[test]
fn a_monitor_that_is_killed_anywhere_is_followed_by_one_that_goes_on() {
    let prepare = || {
        let machine = with_large_container();
        (0..52).for_each(|mib| write(&machine, mib).expect("written"));
        machine
    };
    let verb = |machine: &Machine| {
        look(&mut Monitor::begin(&machine.host, &machine.location, Manner::default())?, Instant::now());
        Ok(())
    };
    killed_everywhere(prepare, verb, |machine, context| {
        machine.activate(context);
        look(&mut begin(machine), Instant::now());
        assert!(total(machine) > Bytes::mib(64), "{context}");
        assert_eq!(usage(machine).no_space, NoSpacePolicy::Queue, "{context}");
        drop(machine.pool().deactivate_container(&"web".parse().expect("a name")));
        machine.assert_in_order(context);
        machine.create("other").unwrap_or_else(|error| panic!("{context}: {error}"));
    });
}

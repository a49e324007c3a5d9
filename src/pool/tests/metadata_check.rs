//! The check of the metadata before a pool is loaded.

use std::time::Duration;

use super::machine::Machine;
use crate::pool::status::Problem;
use crate::pool::{Checking, PoolError};
use crate::thin_tools::{Depth, Outcome};

#[test]
fn after_a_crash_all_the_metadata_is_checked_and_after_a_clean_shutdown_a_part() {
    let machine = Machine::with_image();
    machine.reboot();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    machine.pool().deactivate().expect("deactivated");
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    machine.pool().activate(Checking::AsNeeded).expect("active already");
    assert_eq!(*machine.checker.asked.lock().expect("no panic"), [Depth::Full, Depth::Quick]);
}

#[test]
fn damaged_metadata_is_not_loaded_unless_somebody_insists() {
    let machine = Machine::with_image();
    machine.reboot();
    let damaged = Outcome::Damaged { said: "bad checksum in btree node".to_owned() };
    *machine.checker.finds.lock().expect("no panic") = Some(damaged);
    assert!(matches!(machine.pool().activate(Checking::AsNeeded), Err(PoolError::MetadataDamaged { .. })));
    assert_eq!(machine.host.dm.list().expect("listed"), []);
    let status = machine.location.status(&machine.host);
    assert!(
        status.problems.iter().any(|problem| problem.key() == "metadata_damaged"),
        "{:?}",
        status.problems
    );
    machine.pool().activate(Checking::Skip).expect("activated");
    machine.create("web").expect("created");
}

#[test]
fn a_check_that_came_to_no_end_keeps_no_pool_from_being_used_and_shows_in_the_status() {
    for outcome in [Outcome::Unfinished { limit: Duration::from_secs(30) }, Outcome::NoTool, Outcome::Leaks] {
        let machine = Machine::with_image();
        machine.reboot();
        *machine.checker.finds.lock().expect("no panic") = Some(outcome.clone());
        machine.pool().activate(Checking::AsNeeded).expect("activated");
        let problems = machine.location.status(&machine.host).problems;
        assert!(
            problems
                .iter()
                .any(|problem| matches!(problem, Problem::NotChecked { .. } | Problem::MetadataLeaks)),
            "{outcome:?}: {problems:?}"
        );
    }
}

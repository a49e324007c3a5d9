//! Backups of the metadata: when they are taken, what is in them, and what they never keep anybody from.

use std::io::Read;

use super::machine::Machine;
use crate::catalog::PoolState;
use crate::dm::{Injection, Name};
use crate::pool::{Checking, Generation, MetadataBackup, PoolError, RescueError};
use crate::thin_metadata::testing::volumes_of_xml;

fn generations(machine: &Machine) -> Vec<u64> {
    let backups = machine.location.metadata_backups().expect("listed");
    backups.readable.iter().map(|backup| backup.generation.0).collect()
}

fn rest_and_wake(machine: &Machine) {
    machine.pool().deactivate().expect("deactivated");
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
}

fn content(backup: &MetadataBackup) -> String {
    let mut text = String::new();
    backup.xml().expect("opened").read_to_string(&mut text).expect("XML");
    text
}

#[test]
fn each_pool_that_is_put_to_rest_leaves_a_backup_unless_it_has_one_already() {
    let machine = Machine::with_image();
    rest_and_wake(&machine);
    assert_eq!(generations(&machine), [1]);
    rest_and_wake(&machine);
    assert_eq!(generations(&machine), [1], "nothing has changed");
    for name in ["a", "b", "c"] {
        machine.create(name).expect("created");
        rest_and_wake(&machine);
    }
    assert_eq!(generations(&machine), [4, 3, 2], "three are kept");
    let newest = &machine.location.metadata_backups().expect("listed").readable[0];
    assert_eq!(volumes_of_xml(&content(newest)), machine.twin.volumes(machine.metadata()));
    assert_eq!(newest.of.devices.len(), 6);
}

#[test]
fn a_pool_in_use_is_backed_up_and_holds_nothing_back_afterwards() {
    let machine = Machine::with_image();
    for _ in 0..2 {
        // Asked for, it is taken whether anything has changed or not.
        let made = machine.pool().back_up_metadata().expect("made");
        assert_eq!(volumes_of_xml(&content(&made)), machine.twin.volumes(machine.metadata()));
    }
    assert_eq!(generations(&machine), [2, 1]);
    assert!(!machine.location.paths().metadata_snapshot().exists());
}

#[test]
fn a_pool_that_is_on_its_way_out_is_not_backed_up_by_who_has_waited_for_that() {
    let machine = Machine::with_image();
    let (waits, mut destroys) = (machine.pool(), machine.pool());
    destroys.catalog.set_pool_state(PoolState::Destroying).expect("written");
    let refused = waits.back_up_metadata().expect_err("there is nothing to back up");
    assert!(matches!(refused, PoolError::Vanished { .. }), "{refused}");
    assert!(!machine.location.paths().backups().exists(), "it would be left behind");
}

#[test]
fn who_wants_no_backups_gets_none_but_the_one_he_asks_for() {
    let mut machine = Machine::with_image();
    machine.location.metadata_backups = 0;
    let machine = machine;
    rest_and_wake(&machine);
    assert_eq!(generations(&machine), [0_u64; 0]);
    machine.pool().back_up_metadata().expect("made");
    machine.pool().back_up_metadata().expect("made");
    assert_eq!(generations(&machine), [2]);
}

#[test]
fn a_backup_that_can_not_be_written_keeps_no_pool_active() {
    let machine = Machine::with_image();
    std::fs::write(machine.location.paths().backups(), "in the way").expect("written");
    machine.pool().deactivate().expect("deactivated");
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert!(machine.pool().back_up_metadata().is_err());
}

#[test]
fn metadata_that_the_kernel_has_something_against_replaces_no_backup() {
    let machine = Machine::with_image();
    let pool = Name::new("test-pool").expect("a name");
    machine.twin.inject(&pool, Injection::NeedsCheck).expect("active");
    machine.pool().deactivate().expect("deactivated");
    assert_eq!(generations(&machine), [0_u64; 0]);
}

#[test]
fn what_a_killed_backup_left_is_no_backup_and_the_next_one_is_made() {
    let machine = Machine::with_image();
    let backups = machine.location.paths().backups();
    std::fs::create_dir(&backups).expect("made");
    std::fs::write(backups.join(".draft"), "half a backup").expect("written");
    assert_eq!(generations(&machine), [0_u64; 0]);
    machine.pool().back_up_metadata().expect("made");
    assert_eq!(generations(&machine), [1]);
    machine.location.destroy(&machine.host, false).expect("destroyed");
    assert!(!machine.location.paths().directory().exists());
}

#[test]
fn a_backup_that_can_not_be_read_is_listed_with_the_reason_and_its_number_is_not_used_again() {
    let machine = Machine::with_image();
    let backups = machine.location.paths().backups();
    machine.pool().back_up_metadata().expect("made");
    let broken = backups.join("metadata-7-transaction-1-20200101T000000Z.xml.zst");
    std::fs::write(&broken, "no backup").expect("written");
    let listed = machine.location.metadata_backups().expect("listed");
    let table = crate::report::backups_table(&listed, std::time::SystemTime::now());
    let rows: Vec<&str> = table.lines().skip(1).map(str::trim_start).collect();
    assert!(rows[0].starts_with("7 ") && rows[0].contains("can't be read"), "{table}");
    assert!(rows.len() == 2 && rows[1].starts_with("1 "), "{table}");
    let json = serde_json::to_value(crate::report::backups_json(&listed)).expect("JSON");
    assert!(json[0]["unreadable"].is_string() && json[0]["bytes"].is_null(), "{json}");
    assert!(json[1]["unreadable"].is_null() && json[1]["bytes"].is_u64(), "{json}");
    machine.pool().deactivate().expect("deactivated");
    let error = machine.location.plan_restore(&machine.host, Some(Generation(7))).expect_err("unreadable");
    assert!(matches!(error, PoolError::Rescue(RescueError::BackupUnreadable { .. })), "{error}");
    let plan = machine.location.plan_restore(&machine.host, None).expect("planned");
    assert_eq!(plan.backup.generation, Generation(1));
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    machine.pool().back_up_metadata().expect("made");
    assert_eq!(generations(&machine), [8, 1]);
    assert!(broken.exists());
    machine.location.destroy(&machine.host, false).expect("destroyed");
    assert!(!machine.location.paths().directory().exists());
}

#[test]
fn what_can_not_be_restored_is_refused_and_the_pool_is_as_it_was() {
    let machine = Machine::with_image();
    let restore = |generation| machine.location.restore_metadata(&machine.host, generation);
    let rescue = |error: PoolError| match error {
        PoolError::Rescue(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(rescue(restore(None).expect_err("none")), RescueError::NoBackup(_)));
    machine.pool().back_up_metadata().expect("made");
    assert!(matches!(rescue(restore(None).expect_err("active")), RescueError::Active(_)));
    machine.pool().deactivate().expect("deactivated");
    let none = restore(Some(Generation(9))).expect_err("there is none");
    assert!(matches!(rescue(none), RescueError::NoSuchBackup { .. }));
    let before = files(&machine);
    assert!(matches!(rescue(restore(None).expect_err("no thin_restore")), RescueError::Tool(_)));
    assert_eq!(files(&machine), before);
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
}

#[test]
fn what_would_be_lost_and_what_comes_back_is_told_before() {
    let machine = Machine::with_image();
    machine.create("old").expect("created");
    machine.pool().back_up_metadata().expect("made");
    machine.remove("old").expect("removed");
    machine.create("new").expect("created");
    machine.pool().deactivate().expect("deactivated");
    let plan = machine.location.plan_restore(&machine.host, Some(Generation(1))).expect("planned");
    assert_eq!(plan.outlook.lost.len(), 1, "{plan:?}");
    assert!(plan.outlook.lost[0].contains("the container 'new'"), "{plan:?}");
    assert_eq!(plan.outlook.found.len(), 1, "`old`, whose id `new` may have by now: {plan:?}");
    assert!(plan.known > plan.backup.of.transaction_id);
}

fn files(machine: &Machine) -> std::collections::BTreeSet<String> {
    let listed = machine.location.paths().directory().read_dir().expect("listed");
    listed.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect()
}

//! What a check finds, and that a repair leaves nothing of it.

use rusqlite::Connection;

use super::kills::killed_everywhere;
use super::machine::Machine;
use crate::catalog::{Catalog, Clock};
use crate::dm::{Access, DeviceNumber, Name, NewDevice, PoolMessage, Rules, Table, Thin, Uuid, Visibility};
use crate::pool::check::Finding;
use crate::pool::{Checking, Orphans, PoolError};
use crate::units::{Bytes, DeviceId, TransactionId};

impl Machine {
    pub(super) fn check(&self) -> Vec<Finding> {
        self.location.check(&self.host).expect("checked")
    }

    /// The kinds of all findings that count.
    pub(super) fn found(&self) -> Vec<&'static str> {
        self.check().iter().filter(|finding| finding.counts()).map(|finding| finding.kind).collect()
    }

    pub(super) fn repair(&self) -> Result<(), PoolError> {
        self.location.repair(&self.host, Orphans::Adopt).map(|repaired| {
            assert!(repaired.failed.is_empty(), "{:?}", repaired.failed);
        })
    }

    /// As somebody with `sqlite3` would.
    pub(super) fn sql(&self, statement: &str) {
        let catalog = Connection::open(self.location.paths().catalog()).expect("opened");
        catalog.execute_batch("PRAGMA foreign_keys = off").expect("switched off");
        catalog.execute_batch(statement).expect(statement);
    }

    pub(super) fn message(&self, message: PoolMessage) {
        self.host.dm.message(&self.pool().device, &message).expect("taken");
    }

    pub(super) fn id_of(&self, container: &str) -> DeviceId {
        self.pool().catalog.container(container).expect("read").expect("there").device.id
    }

    /// Another pool's or another moment's catalog in the place of this one's.
    pub(super) fn put_back(&self, copy: &[u8]) {
        let [file, log, index] = Catalog::files(&self.location.paths().catalog());
        for left in [log, index] {
            let _ = std::fs::remove_file(left);
        }
        std::fs::write(file, copy).expect("written");
    }

    pub(super) fn copy_of_catalog(&self) -> Vec<u8> {
        self.pool().catalog.fold().expect("folded");
        std::fs::read(self.location.paths().catalog()).expect("read")
    }
}

pub(super) fn with_container() -> Machine {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    machine
}

fn orphan(id: u32) -> PoolMessage {
    PoolMessage::CreateThin(DeviceId::try_from(id).expect("an id"))
}

#[test]
fn a_pool_in_order_has_no_finding_whether_it_is_active_or_not() {
    let machine = with_container();
    assert_eq!(machine.check(), []);
    machine.reboot();
    assert_eq!(machine.check(), []);
}

#[test]
fn a_device_that_nobody_knows_is_adopted_with_all_that_is_in_it() {
    let machine = with_container();
    machine.message(orphan(4711));
    assert_eq!(machine.found(), ["device_unknown"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.check(), []);
    assert!(machine.containers().contains("recovered-4711"));
    machine.remove("recovered-4711").expect("a container like any other");
    machine.assert_in_order("after its removal");
}

#[test]
fn a_device_that_nobody_knows_is_deleted_only_for_who_asks_for_that() {
    let machine = with_container();
    machine.message(orphan(4711));
    let repaired = machine.location.repair(&machine.host, Orphans::Delete).expect("repaired");
    assert!(repaired.failed.is_empty(), "{:?}", repaired.failed);
    assert_eq!(machine.check(), []);
    machine.assert_in_order("after the deletion");
    assert!(machine.containers().contains("web"));
}

#[test]
fn the_record_of_a_device_that_is_gone_is_kept_in_quarantine() {
    let machine = with_container();
    machine.message(PoolMessage::Delete(machine.id_of("web")));
    assert_eq!(machine.found(), ["device_missing"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.found(), [""; 0]);
    assert!(machine.containers().is_empty());
    let quarantined = machine.pool().catalog.quarantined().expect("read");
    let what: Vec<&str> = quarantined.iter().map(|record| record.what.as_str()).collect();
    assert_eq!(what[0], "container 'web'");
    assert!(what[1].starts_with("device "), "{what:?}");
    assert!(quarantined[0].record.contains("\"image\":\"one\""), "{quarantined:?}");
    machine.create("web").expect("the name is free");
}

#[test]
fn another_device_under_an_old_id_is_not_taken_for_the_one_that_had_it() {
    let machine = with_container();
    let id = machine.id_of("web");
    machine.message(PoolMessage::Delete(id));
    machine.message(PoolMessage::CreateThin(id));
    assert_eq!(machine.found(), ["device_replaced"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.found(), [""; 0]);
    let names: Vec<String> = machine.containers().into_iter().collect();
    assert_eq!(names, [format!("recovered-{id}")]);
}

#[test]
fn a_record_that_cannot_be_understood_costs_no_data() {
    let machine = with_container();
    let id = machine.id_of("web");
    machine.sql("UPDATE device SET state = 'confused' WHERE kind = 'container'");
    assert_eq!(machine.found(), ["record_broken"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.found(), [""; 0]);
    assert!(machine.containers().contains(&format!("recovered-{id}")));
    assert_eq!(machine.pool().catalog.quarantined().expect("read").len(), 2);
}

#[test]
fn a_record_that_leads_nowhere_is_found_whichever_it_is() {
    for statement in [
        "DELETE FROM container",
        "DELETE FROM layer WHERE device IN (SELECT device FROM image)",
        "UPDATE image SET device = 99",
        "UPDATE container SET device = 99",
        "UPDATE device SET state = 'pending' WHERE kind = 'container'",
        "UPDATE container SET labels = 'none'",
    ] {
        let machine = with_container();
        machine.sql(statement);
        assert!(machine.found().contains(&"record_broken"), "{statement}: {:?}", machine.check());
        machine.repair().unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(machine.found(), [""; 0], "{statement}");
        assert!(!machine.pool().catalog.quarantined().expect("read").is_empty(), "{statement}");
        machine.assert_in_order(statement);
    }
}

#[test]
fn a_layer_whose_parent_is_gone_is_noted_and_still_usable() {
    let machine = with_container();
    machine.sql("UPDATE layer SET parent = 'gone' WHERE parent NOT NULL");
    let kinds: Vec<_> = machine.check().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["layer_without_parent"]);
    machine.create("other").expect("created");
}

#[test]
fn a_container_whose_image_layer_is_gone_is_no_finding() {
    let machine = with_container();
    machine.sql("UPDATE device SET origin = 99 WHERE kind = 'container'");
    assert_eq!(machine.check(), []);
}

#[test]
fn a_size_that_is_too_small_for_what_is_there_is_measured_again() {
    let machine = with_container();
    let path = machine.pool().activate_container(&"web".parse().expect("a name")).expect("activated");
    let node = Name::new(path.file_name().expect("a name").to_string_lossy()).expect("a name");
    machine.twin.write(&node, crate::units::Sectors(0), Bytes::mib(2).sectors()).expect("room");
    machine.pool().deactivate_container(&"web".parse().expect("a name")).expect("deactivated");
    machine.sql("UPDATE device SET size = 1048576 WHERE kind = 'container'");
    assert_eq!(machine.found(), ["size_wrong"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.check(), []);
    let device = machine.pool().catalog.container("web").expect("read").expect("there").device;
    assert_eq!(device.size, Bytes::mib(16));
}

#[test]
fn a_base_that_is_gone_is_made_anew() {
    let machine = Machine::with_image();
    let base = machine.pool().catalog.base().expect("read").expect("there");
    machine.message(PoolMessage::Delete(base.id));
    assert_eq!(machine.found(), ["device_missing"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.found(), [""; 0]);
    machine.import("new", &["z"]).expect("imported on the new base");
}

#[test]
fn a_draft_of_a_process_that_died_is_freed_and_one_at_work_is_no_finding() {
    let machine = with_container();
    let store = crate::pool::DraftStore::open(&machine.host, &machine.location).expect("opened");
    let draft = store.draft(None).expect("made");
    assert_eq!(machine.check(), []);
    draft.discard().expect("discarded");
    machine.sql("UPDATE device SET state = 'draft' WHERE kind = 'container'; DELETE FROM container");
    assert_eq!(machine.found(), ["device_abandoned"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.check(), []);
    machine.assert_in_order("after the repair");
}

#[test]
fn nodes_that_belong_to_nobody_are_removed_only_if_they_are_ours_and_unused() {
    let machine = with_container();
    let pool = machine.pool();
    let device = pool.active().expect("looked").expect("active").device;
    let uuid = pool.record().uuid;
    let node = |name: &str, uuid: &Uuid, id: u32| {
        let id = DeviceId::try_from(id).expect("an id");
        let table =
            Table::Thin(Thin { length: Bytes::mib(1).sectors(), pool: device, id, external_origin: None });
        let name = Name::new(name).expect("a name");
        let (access, visibility, rules) = (Access::ReadWrite, Visibility::Internal, Rules::Unawaited);
        let new = NewDevice { name: &name, uuid, table: &table, access, visibility, rules };
        machine.host.dm.create(&new).expect("made by hand");
        name
    };
    let web = machine.id_of("web");
    let stray = node("stray", &Uuid::of_device(&uuid, web), web.get());
    let foreign = node("foreign", &Uuid::of_somebody_else("LVM-somebody"), web.get());
    let mut found = machine.found();
    found.sort_unstable();
    assert_eq!(found, ["node_foreign", "node_stray"]);
    machine.twin.open(&stray).expect("opened");
    machine.repair().expect("repaired");
    assert!(machine.host.dm.find(&stray).expect("looked").is_some(), "in use");
    machine.twin.close(&stray).expect("closed");
    machine.repair().expect("repaired");
    assert_eq!(machine.host.dm.find(&stray).expect("looked"), None);
    assert!(machine.host.dm.find(&foreign).expect("looked").is_some(), "somebody else's");
    assert_eq!(machine.found(), ["node_foreign"]);
}

#[test]
fn a_node_that_a_killed_mount_left_goes_and_one_that_somebody_wants_stays() {
    let machine = with_container();
    machine.create("kept").expect("created");
    machine.pool().activate_container(&"kept".parse().expect("a name")).expect("activated");
    let mut pool = machine.pool();
    let web = pool.catalog.container("web").expect("read").expect("there").device;
    pool.activate_device(&web, crate::pool::device::Use::Users).expect("activated");
    let _ = &mut pool;
    assert_eq!(machine.found(), ["node_stray"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.check(), []);
    assert_eq!(machine.host.dm.list().expect("listed").len(), 2, "the pool and the one that is kept");
}

#[test]
fn directories_and_locks_that_are_left_are_tidied_away_but_no_files() {
    let machine = with_container();
    let paths = machine.location.paths();
    for name in ["gone", "web", "full"] {
        std::fs::create_dir_all(paths.mounts().join(name)).expect("made");
    }
    std::fs::write(paths.mounts().join("full/letter"), "precious").expect("written");
    std::fs::write(paths.locks().join("4711"), "").expect("written");
    assert_eq!(machine.found(), [""; 0], "nothing of that is a fault");
    machine.repair().expect("repaired");
    let left: Vec<_> =
        paths.mounts().read_dir().expect("listed").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["full"]);
    assert!(!paths.locks().join("4711").exists());
}

#[test]
fn a_change_that_a_process_died_in_is_told_and_settled() {
    let machine = with_container();
    // After the device was made, before the transaction id was raised.
    machine.twin.die_at(2);
    machine.create("other").expect_err("killed");
    machine.twin.revive();
    assert_eq!(machine.found(), ["change_unsettled"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.check(), []);
    machine.assert_in_order("after the repair");
}

#[test]
fn an_older_catalog_is_brought_together_with_its_pool_and_every_device_is_there() {
    let machine = with_container();
    let old = machine.copy_of_catalog();
    // Its id is the next container's as well.
    machine.remove("web").expect("removed");
    machine.create("later").expect("created");
    machine.create("latest").expect("created");
    assert_eq!(machine.pool().catalog.container("web").expect("read"), None);
    let (later, latest) = (machine.id_of("later"), machine.id_of("latest"));
    machine.put_back(&old);
    match machine.create("any") {
        Err(PoolError::Mismatch { .. }) => {}
        other => panic!("{other:?}"),
    }
    let found = machine.found();
    assert!(found.contains(&"transaction_mismatch"), "{found:?}");
    assert!(matches!(
        machine.location.repair(&machine.host, Orphans::Delete),
        Err(PoolError::OrphansOfAnotherMoment(_))
    ));
    machine.repair().expect("repaired");
    assert_eq!(machine.found(), [""; 0]);
    let names: Vec<String> = machine.containers().into_iter().collect();
    assert_eq!(names, [format!("recovered-{later}"), format!("recovered-{latest}")]);
    machine.create("any").expect("created");
    machine.assert_in_order("after the repair");
}

#[test]
fn another_pools_catalog_of_the_same_transaction_is_refused_and_costs_no_data() {
    // The devices of both have the same ids.
    let (machine, other) = (with_container(), Machine::with_image());
    other.create("before").expect("created");
    other.remove("before").expect("removed");
    other.create("theirs").expect("created");
    assert_eq!(machine.id_of("web"), other.id_of("theirs"));
    let (theirs, record) = (other.copy_of_catalog(), machine.pool().record().clone());
    let at = machine.pool().catalog.transaction_id().expect("read");
    machine.reboot();
    machine.put_back(&theirs);
    // By accident it is at the same transaction, and lies under the same names.
    let backing = serde_json::to_string(&record.backing).expect("JSON");
    machine.sql(&format!(
        "UPDATE pool SET uuid = '{}', backing = '{backing}', transaction_id = {}",
        record.uuid, at.0
    ));
    match machine.pool().activate(Checking::AsNeeded) {
        Err(PoolError::OtherDevices { different, example, .. }) => {
            assert_eq!(different, 1);
            assert!(example.contains("test-theirs"), "{example}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(machine.host.dm.list().expect("listed"), []);
    machine.repair().expect("repaired");
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_eq!(machine.found(), [""; 0]);
    assert_eq!(machine.containers().into_iter().collect::<Vec<_>>(), ["recovered-4"]);
    machine.assert_in_order("after the repair");
}

#[test]
fn a_pool_at_rest_with_an_older_catalog_is_repaired_and_at_rest_again() {
    let machine = with_container();
    let old = machine.copy_of_catalog();
    machine.create("later").expect("created");
    let later = machine.id_of("later");
    machine.reboot();
    machine.put_back(&old);
    let mut found = machine.found();
    found.sort_unstable();
    assert_eq!(found, ["device_unknown", "transaction_mismatch"]);
    machine.repair().expect("repaired");
    assert_eq!(machine.host.dm.list().expect("listed"), [], "it was not active before");
    machine.write_superblock();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    assert_eq!(machine.found(), [""; 0]);
    assert!(machine.containers().contains(&format!("recovered-{later}")));
    assert!(machine.containers().contains("web"));
}

#[test]
fn a_repair_that_is_killed_anywhere_is_finished_by_the_next() {
    let prepare = || {
        let machine = with_container();
        let old = machine.copy_of_catalog();
        machine.remove("web").expect("removed");
        for name in ["a", "b"] {
            machine.create(name).expect("created");
        }
        let base = machine.pool().catalog.base().expect("read").expect("there");
        machine.message(PoolMessage::Delete(base.id));
        machine.put_back(&old);
        machine
    };
    killed_everywhere(prepare, Machine::repair_or_fail, |machine, context| {
        machine.repair().unwrap_or_else(|error| panic!("{context}: {error}"));
        machine.write_superblock();
        let mut pool = machine.pool();
        pool.activate(Checking::AsNeeded).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(machine.found(), [""; 0], "{context}");
        machine.assert_in_order(context);
        assert_eq!(machine.containers().len(), 2, "{context}");
        machine.import("new", &["z"]).unwrap_or_else(|error| panic!("{context}: {error}"));
    });
}

impl Machine {
    fn repair_or_fail(&self) -> Result<(), PoolError> {
        let repaired = self.location.repair(&self.host, Orphans::Adopt)?;
        repaired.failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}

#[test]
fn snapshots_are_refused_before_the_kernel_mixes_up_blocks_and_that_is_told_long_before() {
    let machine = Machine::with_image();
    let now = machine.pool().catalog.transaction_id().expect("read");
    let mut pool = machine.pool();
    let time = u32::try_from(Clock::END - 1).expect("fits");
    pool.catalog.set_clock(Clock { time, transaction: now }).expect("written");
    drop(pool);
    match machine.create("web") {
        Err(PoolError::SnapshotsExhausted { made, most, .. }) => {
            assert_eq!((made, most), (0xFF_FFFF, 0xFF_FFFF));
        }
        other => panic!("{other:?}"),
    }
    // What is known was only how many there can have been at most; a check reads it.
    assert_eq!(machine.check(), []);
    machine.create("web").expect("created");
}

#[test]
fn nothing_is_scarce_before_the_pool_has_changed_as_often_as_is_said() {
    let machine = Machine::with_image();
    let (mut pool, mark) = (machine.pool(), Clock::END / 100 * 90);
    let transaction = pool.catalog.transaction_id().expect("read");
    for left in [3, 1, 0] {
        let time = u32::try_from(mark - left).expect("fits");
        pool.catalog.set_clock(Clock { time, transaction }).expect("written");
        let scarcity = pool.scarcity().expect("read");
        assert_eq!((scarcity.not_before, scarcity.problems.len()), (left, usize::from(left == 0)));
    }
}

#[test]
fn the_clock_of_another_moment_is_never_more_than_what_it_can_be() {
    let clock = Clock { time: 10, transaction: TransactionId(100) };
    assert_eq!(clock.at_most(TransactionId(107)), 17);
    assert_eq!(clock.at_most(TransactionId(90)), 10);
}

#[test]
fn a_loop_device_of_somebody_elses_on_the_pools_file_is_named() {
    let machine = with_container();
    let stray = DeviceNumber { major: 7, minor: 77 };
    machine.attach_elsewhere(stray);
    let found = machine.check();
    assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), ["loop_stray"]);
    assert!(found[0].sentence.contains("/dev/loop77"), "{found:?}");
}

//! A catalog that is lost or damaged, and the data that is reachable again.

use std::os::unix::fs::FileExt;

use rusqlite::Connection;

use super::check::with_container;
use super::kills::killed_everywhere;
use super::machine::Machine;
use crate::catalog::{Catalog, CatalogError, PoolFile};
use crate::pool::{Checking, Pool, PoolError, Rebuild, RebuildFrom, Rebuilt};

impl Machine {
    fn lose_catalog(&self) {
        self.write_superblock();
        for file in Catalog::files(&self.location.paths().catalog()) {
            let _ = std::fs::remove_file(file);
        }
    }

    fn rebuild(&self, from: Option<RebuildFrom>) -> Result<Rebuilt, PoolError> {
        let policy = self.request().policy;
        self.location.rebuild_catalog(&self.host, &Rebuild { from, policy })
    }

    /// That everything of a pool with an image of two layers and a container is there, without its names.
    fn assert_recovered(&self, context: &str) {
        if self.pool().active().expect("looked").is_none() {
            self.write_superblock();
            self.pool().activate(Checking::AsNeeded).unwrap_or_else(|error| panic!("{context}: {error}"));
        }
        assert_eq!(self.found(), [""; 0], "{context}");
        let names: Vec<String> = self.containers().into_iter().collect();
        assert_eq!(names, ["recovered-2", "recovered-3", "recovered-4"], "{context}");
        self.import("again", &["x"]).unwrap_or_else(|error| panic!("{context}: {error}"));
        self.create_of("again", "new", None).unwrap_or_else(|error| panic!("{context}: {error}"));
        self.assert_in_order(context);
    }

    /// Overwrites the pages of one index or table in the catalog's file.
    fn damage(&self, name: &str) {
        let path = self.location.paths().catalog();
        self.copy_of_catalog();
        let connection = Connection::open(&path).expect("opened");
        let page: i64 = connection
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0))
            .expect("a page");
        let size: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0)).expect("a size");
        drop(connection);
        let file = std::fs::File::options().write(true).open(&path).expect("opened");
        let at = u64::try_from((page - 1) * size).expect("within the file");
        file.write_all_at(&[0xA5; 512], at).expect("written");
    }
}

#[test]
fn a_pool_whose_catalog_is_gone_is_neither_overlooked_nor_made_anew() {
    let machine = with_container();
    machine.lose_catalog();
    let missing = |error: &PoolError| {
        assert!(matches!(error, PoolError::CatalogMissing { .. }), "{error}");
        assert!(error.to_string().contains("--rebuild-catalog"), "{error}");
    };
    missing(&Pool::open(&machine.host, &machine.location).err().expect("lost"));
    missing(&machine.set_up().expect_err("lost"));
    missing(&machine.location.destroy(&machine.host, false).expect_err("lost"));
    assert_eq!(machine.location.all_under_its_root().expect("listed").len(), 1);
    assert_eq!(machine.found(), ["catalog_lost"]);
    assert!(machine.location.paths().directory().join("data").exists());
}

#[test]
fn a_catalog_that_is_gone_is_made_anew_while_the_pool_is_active() {
    let machine = with_container();
    let uuid = machine.pool().record().uuid;
    machine.lose_catalog();
    let rebuilt = machine.rebuild(None).expect("rebuilt");
    assert_eq!((rebuilt.kept, rebuilt.salvaged), (None, 0));
    assert_eq!(machine.pool().record().uuid, uuid);
    machine.assert_recovered("active");
}

#[test]
fn a_catalog_that_is_gone_is_made_anew_of_a_pool_at_rest() {
    let machine = with_container();
    machine.reboot();
    machine.lose_catalog();
    machine.rebuild(None).expect("rebuilt");
    assert_eq!(machine.host.dm.list().expect("listed"), []);
    machine.assert_recovered("at rest");
}

#[test]
fn a_file_that_is_no_database_any_more_is_kept_and_named_with_the_way_out() {
    let machine = with_container();
    machine.lose_catalog();
    let path = machine.location.paths().catalog();
    std::fs::write(&path, vec![0xA5; 65536]).expect("written");
    match Pool::open(&machine.host, &machine.location).err() {
        Some(PoolError::Catalog(error @ CatalogError::Damaged { .. })) => {
            assert!(error.to_string().contains("thinpool repair --rebuild-catalog"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let kept = machine.rebuild(None).expect("rebuilt").kept.expect("kept");
    assert_eq!(std::fs::read(kept).expect("read"), vec![0xA5; 65536]);
    machine.assert_recovered("no database");
}

#[test]
fn of_a_damaged_catalog_every_name_is_kept_that_can_still_be_read() {
    for damaged in ["device_by_origin", "sqlite_autoindex_layer_1", "quarantine", "device_by_kind"] {
        let machine = with_container();
        machine.write_superblock();
        if Connection::open(machine.location.paths().catalog())
            .expect("opened")
            .query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [damaged], |_| Ok(()))
            .is_err()
        {
            continue;
        }
        machine.damage(damaged);
        assert_eq!(machine.found(), ["catalog_lost"], "{damaged}");
        let rebuilt = machine.rebuild(None).unwrap_or_else(|error| panic!("{damaged}: {error}"));
        assert!(rebuilt.salvaged >= 8, "{damaged}: {}", rebuilt.salvaged);
        assert_eq!(machine.found(), [""; 0], "{damaged}");
        let names: Vec<String> = machine.containers().into_iter().collect();
        assert_eq!(names, ["web"], "{damaged}");
        machine.create("other").unwrap_or_else(|error| panic!("{damaged}: {error}"));
        machine.assert_in_order(damaged);
    }
}

#[test]
fn of_a_damaged_table_only_what_was_in_it_loses_its_name() {
    let machine = with_container();
    machine.write_superblock();
    machine.damage("container");
    machine.rebuild(None).expect("rebuilt");
    assert_eq!(machine.found(), [""; 0]);
    let names: Vec<String> = machine.containers().into_iter().collect();
    assert_eq!(names, ["recovered-4"]);
    machine.create("of-the-image-that-is-still-there").expect("created");
}

#[test]
fn a_catalog_that_can_be_read_is_not_thrown_away() {
    let machine = with_container();
    assert!(matches!(machine.rebuild(None), Err(PoolError::CatalogReadable(_))));
    assert!(machine.containers().contains("web"));
}

#[test]
fn where_nothing_tells_what_the_pool_lies_on_somebody_has_to_say_so() {
    let machine = with_container();
    machine.reboot();
    machine.lose_catalog();
    PoolFile::remove(&machine.location.paths().catalog()).expect("removed");
    assert!(matches!(machine.rebuild(None), Err(PoolError::BackingUnknown(_))));
    let directory = machine.location.paths().directory().to_owned();
    machine.rebuild(Some(RebuildFrom::Files(directory))).expect("rebuilt");
    machine.assert_recovered("told");
}

#[test]
fn a_pool_on_disks_is_found_again_by_who_names_them() {
    let machine = Machine::on_disks();
    machine.set_up().expect("set up");
    machine.import("one", &["a", "b"]).expect("imported");
    machine.create("web").expect("created");
    machine.reboot();
    machine.lose_catalog();
    PoolFile::remove(&machine.location.paths().catalog()).expect("removed");
    let (data, metadata) = machine.disk_nodes();
    machine.rebuild(Some(RebuildFrom::Devices { data, metadata })).expect("rebuilt");
    machine.assert_recovered("on disks");
}

#[test]
fn what_the_owner_of_a_thin_pool_chose_holds_also_when_the_catalog_is_lost() {
    let machine = Machine::in_thin_pool("vg-pool", "LVM-somebody").without_zeroing();
    machine.set_up().expect("set up");
    assert!(!machine.pool().record().policy.zero_new_blocks);
    machine.lose_catalog();
    PoolFile::remove(&machine.location.paths().catalog()).expect("removed");
    machine.rebuild(Some(RebuildFrom::ThinPool("vg-pool".to_owned()))).expect("rebuilt");
    assert!(!machine.pool().record().policy.zero_new_blocks, "what was on the disk would pass for zeroes");
}

#[test]
fn a_rebuild_that_is_killed_anywhere_is_finished_by_a_repair() {
    let prepare = || {
        let machine = with_container();
        machine.lose_catalog();
        machine
    };
    let verb = |machine: &Machine| {
        let failed = machine.rebuild(None)?.repaired.failed;
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    };
    killed_everywhere(prepare, verb, |machine, context| {
        match machine.rebuild(None) {
            Ok(_) => {}
            Err(PoolError::CatalogReadable(_)) => {
                machine.repair().unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            Err(error) => panic!("{context}: {error}"),
        }
        machine.assert_recovered(context);
    });
}

#[test]
fn a_new_catalog_that_was_made_and_not_put_in_place_is_taken_only_if_it_is_of_now() {
    let machine = with_container();
    machine.lose_catalog();
    let draft = machine.location.paths().catalog().with_file_name("catalog.db.new");
    std::fs::write(&draft, b"half a file").expect("written");
    machine.rebuild(None).expect("rebuilt");
    assert!(!draft.exists());
    machine.assert_recovered("half a file");
}

#[test]
fn a_pool_of_an_older_version_gets_its_second_record_when_it_is_activated() {
    let machine = with_container();
    let catalog = machine.location.paths().catalog();
    PoolFile::remove(&catalog).expect("removed");
    machine.reboot();
    machine.pool().activate(Checking::AsNeeded).expect("activated");
    let known = PoolFile::read(&catalog).expect("read").expect("there");
    assert_eq!(known, PoolFile::of(machine.pool().record()));
    machine.location.destroy(&machine.host, false).expect("destroyed");
    assert!(!machine.location.paths().directory().exists());
}

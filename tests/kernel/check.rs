//! What `check` finds on a real kernel, and that `repair` gives the data back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::docs;
use crate::support::{Bench, SMALL, assert_pool_and_catalog_agree, ok};
use crate::tools::reload;

impl Bench {
    /// The exit code of a check, and the kinds of what it found.
    fn check(&self) -> (i32, Vec<String>) {
        let said = self.run(["check", "--json"]);
        let told: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let found = told["found"].as_array().expect("a list").iter();
        (said.code, found.map(|finding| finding["finding"].as_str().expect("a word").to_owned()).collect())
    }

    fn assert_clean(&self) {
        let said = self.run(["check"]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    fn repair(&self) -> String {
        let said = self.run(["repair", "--yes"]);
        assert_eq!(said.code, 9, "{said:?}");
        said.out
    }

    fn message(&self, message: &str) {
        ok(Command::new("dmsetup").args(["message", &self.pool(), "0", message]));
    }

    /// A container with one file of its own.
    fn with_content(&self, name: &str) -> u64 {
        self.ok(["container", "create", "image", "--name", name]);
        let at = self.ok(["container", "mount", name]);
        fs::write(Path::new(at.trim_end()).join("own"), format!("of {name}")).expect("written");
        self.ok(["container", "unmount", name]);
        let list = self.list("container");
        let made = list.iter().find(|one| one["name"] == name).expect("listed");
        made["device_id"].as_u64().expect("an id")
    }

    fn assert_content(&self, container: &str, content: &str) {
        let at = self.ok(["container", "mount", container]);
        let at = Path::new(at.trim_end());
        assert_eq!(fs::read_to_string(at.join("own")).expect("there"), content);
        assert_eq!(fs::read_to_string(at.join("file")).expect("there"), "of the image");
        self.ok(["container", "unmount", container]);
    }

    fn catalog(&self) -> PathBuf {
        self.state().join("catalog.db")
    }

    fn remove_catalog(&self) {
        for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(self.state().join(file));
        }
    }

    /// The catalog alone in its file, as a backup would have it. The pool is at rest afterwards.
    fn back_up_catalog(&self) -> Vec<u8> {
        self.ok(["deactivate"]);
        fs::read(self.catalog()).expect("read")
    }

    fn put_catalog_back(&self, copy: &[u8]) {
        self.remove_catalog();
        fs::write(self.catalog(), copy).expect("written");
    }
}

#[test]
fn a_device_and_a_node_made_by_hand_are_found_and_the_data_is_a_container() {
    let bench = Bench::with_image("image");
    let id = bench.with_content("box");
    assert_eq!(bench.check(), (0, vec![]));
    bench.message(&format!("create_snap 4711 {id}"));
    let own = ok(Command::new("dmsetup").args(["info", "-c", "--noheadings", "-o", "uuid", &bench.pool()]));
    let uuid = own.trim().strip_suffix("-pool").expect("of a pool").to_owned() + "-4712";
    let stray = format!("{}-stray", bench.name);
    let table = format!("0 2048 thin /dev/mapper/{} {id}", bench.pool());
    ok(Command::new("dmsetup").args(["create", &stray, "--uuid", &uuid, "--table", &table]));

    let (code, mut kinds) = bench.check();
    kinds.sort_unstable();
    assert_eq!((code, kinds), (5, vec!["device_unknown".to_owned(), "node_stray".to_owned()]));
    // Told before anything is done, and nothing is done without a yes.
    let said = bench.run(["repair"]);
    assert_eq!(said.code, 7, "{said:?}");
    assert!(said.out.contains("recovered-4711") && said.out.contains(&stray), "{said:?}");
    assert!(bench.devices().contains(&stray));

    bench.repair();
    bench.assert_clean();
    assert!(!bench.devices().contains(&stray));
    bench.assert_content("recovered-4711", "of box");
    bench.assert_content("box", "of box");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_device_made_by_hand_is_deleted_for_who_asks_for_that_and_others_stay() {
    let bench = Bench::with_image("image");
    bench.with_content("box");
    bench.message("create_thin 4711");
    assert_eq!(bench.run(["repair", "--yes", "--delete-orphans"]).code, 9);
    bench.assert_clean();
    assert_eq!(bench.list("container").len(), 1);
    assert_pool_and_catalog_agree(&bench);
}

/// Of both file systems, since their sizes are read from them.
#[test]
fn a_lost_catalog_is_made_anew_of_the_pool_and_every_file_is_there() {
    for (fs, is_active) in [("ext4", true), ("xfs", false)] {
        let bench = Bench::with_file_system(fs).and_image("image");
        let id = bench.with_content("box");
        bench.ok(["container", "create", "image", "--name", "large", "--size", "1G"]);
        if !is_active {
            bench.ok(["deactivate"]);
        }
        bench.remove_catalog();
        for command in [&["container", "list"][..], &["status"], &["activate"], &["destroy", "--yes"], &SMALL]
        {
            let said = bench.run(command);
            assert_ne!(said.code, 0, "{command:?}: {said:?}");
            assert!((said.out + &said.err).contains("repair --rebuild-catalog"), "{command:?}");
        }
        assert_eq!(bench.check(), (5, vec!["catalog_lost".to_owned()]));
        assert_eq!(bench.run(["repair", "--rebuild-catalog", "--yes"]).code, 9);
        if !is_active {
            bench.ok(["activate"]);
        }
        bench.assert_clean();
        bench.assert_content(&format!("recovered-{id}"), "of box");
        let sizes: Vec<_> = bench.list("container").iter().map(|one| one["device_bytes"].as_u64()).collect();
        assert_eq!(sizes, [Some(512 << 20), Some(512 << 20), Some(1 << 30)], "{fs}");
        // The base was recognised: what is imported builds on it.
        let bench = bench.and_image("new");
        bench.look_into("new", |at| assert!(at.join("file").exists()));
        assert_pool_and_catalog_agree(&bench);
    }
}

#[test]
fn a_damaged_catalog_is_kept_and_names_that_can_be_read_are_not_lost() {
    let bench = Bench::with_image("image");
    bench.with_content("box");
    let copy = bench.back_up_catalog();
    bench.remove_catalog();
    // Most of its pages are there, and the one with the containers among them.
    let page = 4096;
    let mut damaged = copy.clone();
    let index = rootpage(&copy, &bench, "device_by_kind");
    damaged[(index - 1) * page..][..512].fill(0xA5);
    fs::write(bench.catalog(), &damaged).expect("written");
    assert_eq!(bench.check(), (5, vec!["catalog_lost".to_owned()]));
    let said = bench.run(["repair", "--rebuild-catalog", "--yes"]);
    assert_eq!(said.code, 9, "{said:?}");
    bench.ok(["activate"]);
    bench.assert_clean();
    bench.assert_content("box", "of box");
    let kept = fs::read_dir(bench.state()).expect("listed").map(|entry| entry.expect("one").path());
    let kept: Vec<_> = kept.filter(|path| path.to_string_lossy().contains("catalog.db.damaged-")).collect();
    assert!(kept.iter().any(|path| fs::read(path).is_ok_and(|bytes| bytes == damaged)), "{kept:?}");
    assert_pool_and_catalog_agree(&bench);
}

fn rootpage(catalog: &[u8], bench: &Bench, name: &str) -> usize {
    let path = bench.beside("copy.db");
    fs::write(&path, catalog).expect("written");
    let file = rusqlite::Connection::open(path).expect("opened");
    let query = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: i64 = file.query_row(query, [name], |row| row.get(0)).expect("a page");
    usize::try_from(page).expect("a number")
}

#[test]
fn an_older_catalog_is_refused_with_both_numbers_and_brought_together_without_loss() {
    let bench = Bench::with_image("image");
    bench.with_content("box");
    let old = bench.back_up_catalog();
    bench.ok(["activate"]);
    let later = bench.with_content("later");
    bench.ok(["deactivate"]);
    bench.put_catalog_back(&old);
    let error = bench.fails(7, ["activate"]);
    assert!(error.contains("expects transaction id") && error.contains("thinpool repair"), "{error}");
    assert!(bench.devices().is_empty());
    let (code, mut kinds) = bench.check();
    kinds.sort_unstable();
    assert_eq!((code, kinds), (5, vec!["device_unknown".to_owned(), "transaction_mismatch".to_owned()]));
    bench.repair();
    assert!(bench.devices().is_empty(), "it was not active before");
    bench.ok(["activate"]);
    bench.assert_clean();
    bench.assert_content("box", "of box");
    bench.assert_content(&format!("recovered-{later}"), "of later");
    assert_pool_and_catalog_agree(&bench);
}

/// As when a disk comes to another machine, where a pool of the same name was.
#[test]
fn another_pools_catalog_is_refused_and_what_is_in_the_pool_is_not_lost() {
    let bench = Bench::with_image("image");
    bench.ok(["container", "create", "image", "--name", "theirs"]);
    let theirs = bench.back_up_catalog();
    bench.ok(["destroy", "--yes"]);
    bench.ok(SMALL);
    let tree = bench.beside("image");
    bench.ok(crate::support::importing("image", &tree));
    let ours = bench.with_content("ours");
    bench.with_content("more");
    bench.ok(["deactivate"]);
    bench.put_catalog_back(&theirs);
    bench.fails(7, ["activate"]);
    bench.repair();
    bench.ok(["activate"]);
    bench.assert_clean();
    // A record that fits by its id and its transaction keeps its name; what it names is there all the same.
    let names: Vec<String> =
        bench.list("container").iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect();
    let holds = |name: &String| {
        let at = bench.ok(["container", "mount", name]);
        let found = fs::read_to_string(Path::new(at.trim_end()).join("own")).unwrap_or_default();
        bench.ok(["container", "unmount", name]);
        found
    };
    let mut content: Vec<String> = names.iter().map(holds).collect();
    content.sort_unstable();
    assert_eq!(content, ["of more", "of ours"], "{ours}: {names:?}");
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn a_check_while_containers_come_and_go_finds_nothing() {
    let bench = Bench::with_image("image");
    std::thread::scope(|scope| {
        let at_work = scope.spawn(|| {
            for round in 0..6 {
                let name = format!("c{round}");
                bench.ok(["container", "create", "image", "--name", &name]);
                bench.ok(["container", "mount", &name]);
                bench.ok(["container", "unmount", &name]);
                bench.ok(["container", "remove", &name]);
            }
        });
        while !at_work.is_finished() {
            let said = bench.run(["check"]);
            assert_eq!(said.code, 0, "{said:?}");
        }
    });
    assert_pool_and_catalog_agree(&bench);
}

#[test]
fn what_a_check_tells_programs_is_what_the_documentation_says() {
    let bench = Bench::with_image("image");
    bench.message("create_thin 4711");
    let told: Value = serde_json::from_str(&bench.run(["check", "--json"]).out).expect("JSON");
    assert_eq!(
        docs::keys(&told["found"][0]),
        docs::documented("found[]."),
        "docs/json.md and the check differ"
    );
}

#[test]
fn a_pool_that_can_not_be_read_is_checked_as_far_as_that_goes_and_never_called_clean() {
    let bench = Bench::with_image("image");
    reload(&bench.pool(), "0 2048 error");
    let said = bench.promptly(["check"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("could not be read"), "{said:?}");
}

//! Images with several names, images of containers, and images that nothing needs.

use super::machine::Machine;
use crate::pool::{ImageName, PoolError};

fn name(name: &str) -> ImageName {
    name.parse().expect("a name")
}

/// The image that a container is listed under.
fn image_of(machine: &Machine, container: &str) -> String {
    let all = machine.pool().containers().expect("listed");
    let found = all.into_iter().find(|status| status.container.name == container);
    found.expect("there").container.image
}

#[test]
fn a_container_outlives_the_name_its_image_had_while_that_has_another() {
    let machine = Machine::with_image();
    machine.create("web").expect("created");
    let mut pool = machine.pool();
    pool.tag_image(&name("one"), &name("also")).expect("tagged");
    pool.remove_image(&name("one")).expect("it has another name");
    assert_eq!(image_of(&machine, "web"), "also");
    match pool.remove_image(&name("also")) {
        Err(PoolError::Needed { containers, .. }) => assert_eq!(containers, ["web"]),
        other => panic!("{other:?}"),
    }
    machine.create_of("also", "web2", None).expect("created");
    for container in ["web", "web2"] {
        machine.remove(container).expect("removed");
    }
    pool.remove_image(&name("also")).expect("removed");
    machine.assert_in_order("all is gone");
    assert_eq!(pool.catalog.counts().expect("counted").layers, 0);
}

#[test]
fn a_name_that_is_taken_is_not_moved_to_another_image() {
    let machine = Machine::with_image();
    machine.import("two", &["a"]).expect("imported");
    let mut pool = machine.pool();
    let taken = pool.tag_image(&name("one"), &name("two"));
    assert!(matches!(taken, Err(PoolError::NameTaken { .. })), "{taken:?}");
    let missing = pool.tag_image(&name("none"), &name("three"));
    assert!(matches!(missing, Err(PoolError::NoSuch { .. })), "{missing:?}");
    assert_eq!(pool.image(&name("two")).expect("there").layers, 1);
}

#[test]
fn an_image_with_the_layers_of_another_but_its_own_configuration_is_not_that_image() {
    let machine = Machine::with_image();
    let mut pool = machine.pool();
    let chain = pool.image(&name("one")).expect("there").chain;
    pool.add_image(&name("other"), &chain, Some("{}")).expect("named");
    machine.create("web").expect("created");
    let refused = pool.remove_image(&name("one"));
    assert!(matches!(refused, Err(PoolError::Needed { .. })), "{refused:?}");
}

#[test]
fn pruning_takes_what_no_container_needs_under_any_name() {
    let machine = Machine::with_image();
    machine.import("two", &["a", "c"]).expect("imported");
    machine.import("three", &["d"]).expect("imported");
    machine.create("web").expect("created");
    let mut pool = machine.pool();
    pool.tag_image(&name("one"), &name("also")).expect("tagged");
    let unused = pool.unused_images().expect("looked");
    // "also" is what web was made of, and so is "a" below two.
    assert_eq!(unused.names, ["three", "two"]);
    assert_eq!(unused.content, crate::units::Bytes::mib(2));
    assert_eq!(pool.images().expect("listed").len(), 4, "looking removed something");
    // Made of it since it was looked at.
    machine.create_of("three", "late", None).expect("created");
    assert_eq!(pool.prune_images(&unused.names).expect("pruned").names, ["two"]);
    machine.assert_in_order("pruned");
    assert_eq!(pool.catalog.counts().expect("counted").layers, 3);
}

#[test]
fn two_who_read_a_layer_at_once_dont_take_it_from_each_other() {
    let machine = Machine::with_image();
    let store = crate::pool::DraftStore::open(&machine.host, &machine.location).expect("open");
    let nodes = || machine.host.dm.list().expect("listed").len();
    let (one, other) = (store.read(None).expect("read"), store.read(None).expect("read"));
    assert_eq!(nodes(), 2);
    one.close().expect("closed");
    machine.pool().reap().expect("reaped");
    assert_eq!(nodes(), 2, "the node was taken from who still reads");
    other.close().expect("closed");
    assert_eq!(nodes(), 1);
}

#[test]
fn an_image_is_not_removed_from_under_who_reads_it() {
    let machine = Machine::with_image();
    let store = crate::pool::DraftStore::open(&machine.host, &machine.location).expect("open");
    let chain = machine.pool().image(&name("one")).expect("there").chain;
    let layer = store.read(Some(&chain)).expect("read");
    machine.pool().remove_image(&name("one")).expect("its name is gone");
    assert_eq!(machine.pool().catalog.counts().expect("counted").layers, 2);
    layer.close().expect("closed");
    drop(store);
    machine.pool().reap().expect("reaped");
    machine.assert_in_order("nobody reads it any more");
    assert_eq!(machine.pool().catalog.counts().expect("counted").layers, 0);
}

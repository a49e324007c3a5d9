//! A process that dies at any of its ioctls leaves nothing that the next command doesn't settle.

use steps::{Died, run_and_die_at};

use super::machine::Machine;
use crate::pool::{Checking, DraftStore, PoolError, SetUp};
use crate::units::Bytes;

/// Runs `verb` on a fresh machine again and again, killed at its first step, its second, and so on until it comes to
/// its end; after each death another process takes over, on the same or on the rebooted machine, and `then` must
/// find everything in order.
pub(super) fn killed_everywhere(
    prepare: impl Fn() -> Machine,
    verb: impl Fn(&Machine) -> Result<(), PoolError>,
    then: impl Fn(&Machine, &str),
) {
    for reboot in [false, true] {
        for place in 1.. {
            let machine = prepare();
            let ended = run_and_die_at(place, || verb(&machine));
            if reboot {
                machine.reboot();
            }
            let context = match &ended {
                Err(Died(steps)) => format!("killed {}, reboot {reboot}", steps.0[place - 1]),
                Ok((result, _)) => format!("not killed, reboot {reboot}: {result:?}"),
            };
            then(&machine, &context);
            if let Ok((result, _)) = ended {
                assert!(place > 4 && result.is_ok(), "{context}");
                break;
            }
        }
    }
}

/// Whether something is different at a place from what it was at the one before.
fn differs(place: &str) -> bool {
    !place.starts_with("before ") && !place.starts_with("after open ")
}

/// The places of `verb` at which something is different.
fn places(machine: &Machine, verb: &dyn Fn(&Machine)) -> Vec<usize> {
    let ((), steps) = run_and_die_at(usize::MAX, || verb(machine)).expect("comes to its end");
    (1..=steps.0.len()).filter(|place| differs(&steps.0[place - 1])).collect()
}

/// What any next command does.
pub(super) fn next_command(machine: &Machine, context: &str) {
    let mut pool = machine.pool();
    pool.activate(Checking::AsNeeded).unwrap_or_else(|error| panic!("{context}: {error}"));
    pool.reap().unwrap_or_else(|error| panic!("{context}: {error}"));
    drop(pool);
    machine.assert_in_order(context);
}

#[test]
fn a_create_that_is_killed_anywhere_leaks_no_device() {
    killed_everywhere(
        Machine::with_image,
        |machine| machine.create("web"),
        |machine, context| {
            next_command(machine, context);
            // Made or not, the name works: as the container that is there, or for a new one.
            if !machine.containers().contains("web") {
                machine.create("web").unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            machine.remove("web").unwrap_or_else(|error| panic!("{context}: {error}"));
            machine.assert_in_order(context);
        },
    );
}

#[test]
fn a_create_that_is_killed_while_it_grows_leaks_no_device() {
    let verb = |machine: &Machine| machine.create_of("one", "big", Some(Bytes::mib(32)));
    killed_everywhere(Machine::with_image, verb, next_command);
}

#[test]
fn a_remove_that_is_killed_anywhere_leaves_all_of_it_or_nothing() {
    let prepare = || {
        let machine = Machine::with_image();
        machine.create("web").expect("created");
        machine
    };
    killed_everywhere(
        prepare,
        |machine| machine.remove("web"),
        |machine, context| {
            next_command(machine, context);
            if machine.containers().contains("web") {
                machine.remove("web").unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            machine.assert_in_order(context);
        },
    );
}

#[test]
fn an_import_that_is_killed_anywhere_leaves_no_layer() {
    let verb = |machine: &Machine| machine.import("two", &["a", "c", "d"]);
    killed_everywhere(Machine::with_image, verb, |machine, context| {
        next_command(machine, context);
        if machine.pool().image(&"two".parse().expect("a name")).is_err() {
            machine.import("two", &["a", "c", "d"]).unwrap_or_else(|error| panic!("{context}: {error}"));
        }
        machine.pool().remove_image(&"two".parse().expect("a name")).expect("removed");
        machine.assert_in_order(context);
        // What the other image shares with it is still there.
        machine.create("web").expect("created");
    });
}

#[test]
fn an_image_removal_that_is_killed_anywhere_frees_its_layers_and_no_others() {
    let prepare = || {
        let machine = Machine::with_image();
        machine.import("two", &["a", "c"]).expect("imported");
        machine
    };
    let verb = |machine: &Machine| machine.pool().remove_image(&"two".parse().expect("a name"));
    killed_everywhere(prepare, verb, |machine, context| {
        next_command(machine, context);
        machine.create("web").unwrap_or_else(|error| panic!("{context}: {error}"));
    });
}

#[test]
fn a_commit_that_is_killed_anywhere_leaves_an_image_or_nothing_and_no_container_that_hangs() {
    let prepare = || {
        let machine = Machine::with_image();
        machine.pool().activate_container(&container(&machine)).expect("activated");
        machine
    };
    killed_everywhere(
        prepare,
        |machine| machine.commit("web", "two"),
        |machine, context| {
            let mut pool = machine.pool();
            pool.activate(Checking::AsNeeded).unwrap_or_else(|error| panic!("{context}: {error}"));
            pool.reap().unwrap_or_else(|error| panic!("{context}: {error}"));
            let node = crate::dm::Name::new("test-web").expect("a name");
            let suspended = machine.host.dm.find(&node).expect("asked").is_some_and(|info| info.suspended);
            assert!(!suspended, "{context}: the container hangs");
            pool.deactivate_container(&"web".parse().expect("a name")).expect("at rest");
            machine.assert_in_order(context);
            let two: crate::pool::ImageName = "two".parse().expect("a name");
            if pool.image(&two).is_err() {
                machine.commit("web", "two").unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            // It stands by itself: neither the container nor its image's name is needed.
            machine.create_of("two", "new", None).unwrap_or_else(|error| panic!("{context}: {error}"));
            for name in ["web", "new"] {
                machine.remove(name).unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            pool.remove_image(&"one".parse().expect("a name")).expect("removed");
            machine.assert_in_order(context);
            assert_eq!(pool.layers_of(&pool.image(&two).expect("there").chain).expect("read").len(), 3);
            pool.remove_image(&two).expect("removed");
            machine.assert_in_order(context);
            assert_eq!(pool.catalog.counts().expect("counted").layers, 0, "{context}");
        },
    );
}

#[test]
fn a_layer_that_is_read_by_a_process_that_dies_goes_back_to_rest() {
    let read = |machine: &Machine| {
        let store = DraftStore::open(&machine.host, &machine.location)?;
        let chain = machine.pool().image(&"one".parse().expect("a name"))?.chain;
        let (base, layer) = (store.read(None)?, store.read(Some(&chain))?);
        layer.close()?;
        base.close()
    };
    killed_everywhere(Machine::with_image, read, next_command);
}

#[test]
fn a_setup_that_is_killed_anywhere_is_finished_or_cleared_by_the_next() {
    killed_everywhere(
        Machine::new,
        |machine| machine.set_up().map(drop),
        |machine, context| {
            let done = machine.set_up().unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(matches!(done, SetUp::New | SetUp::Already | SetUp::Activated), "{context}");
            machine.assert_in_order(context);
            machine.import("one", &["a"]).unwrap_or_else(|error| panic!("{context}: {error}"));
            machine.create("web").unwrap_or_else(|error| panic!("{context}: {error}"));
        },
    );
}

#[test]
fn a_destroy_that_is_killed_anywhere_is_finished_by_the_next() {
    let prepare = || {
        let machine = Machine::with_image();
        machine.pool().activate_container(&container(&machine)).expect("activated");
        machine
    };
    let verb = |machine: &Machine| machine.location.destroy(&machine.host, false);
    killed_everywhere(prepare, verb, |machine, context| {
        match machine.location.destroy(&machine.host, false) {
            Ok(()) | Err(PoolError::Absent { .. }) => {}
            Err(error) => panic!("{context}: {error}"),
        }
        assert_eq!(machine.host.dm.list().expect("listed"), [], "{context}");
        assert!(!machine.location.paths().directory().exists(), "{context}");
    });
}

type Verb<'a> = &'a dyn Fn(&Machine) -> Result<(), PoolError>;

#[test]
fn a_command_that_is_killed_while_it_settles_what_a_killed_one_left_is_settled_by_the_third() {
    let prepare = || {
        let machine = Machine::with_image();
        machine.create("old").expect("created");
        machine
    };
    let verbs: [Verb<'_>; 5] = [
        &|machine| machine.create("web"),
        &|machine| machine.create_of("one", "big", Some(Bytes::mib(32))),
        &|machine| machine.remove("old"),
        &|machine| machine.import("two", &["a", "c", "d"]),
        &|machine| {
            machine.import("two", &["a", "c"])?;
            machine.pool().remove_image(&"two".parse().expect("a name"))
        },
    ];
    for verb in verbs {
        for first in places(&prepare(), &|machine| verb(machine).expect("done")) {
            for second in 1.. {
                let machine = prepare();
                let Err(Died(killed)) = run_and_die_at(first, || verb(&machine)) else {
                    panic!("not killed")
                };
                let settled = run_and_die_at(second, || next_command(&machine, "killed again"));
                if matches!(&settled, Err(Died(steps)) if !differs(&steps.0[second - 1])) {
                    continue;
                }
                let context = format!("killed {:?}, then {settled:?}", killed.0.last());
                next_command(&machine, &context);
                if settled.is_ok() {
                    break;
                }
            }
        }
    }
}

fn container(machine: &Machine) -> crate::pool::ContainerName {
    machine.create("web").expect("created");
    "web".parse().expect("a name")
}

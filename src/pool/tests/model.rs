//! Random sequences of verbs against a plain model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use steps::run_and_die_at;

use super::machine::Machine;
use crate::catalog::Device;
use crate::pool::{Checking, NewSize, PoolError};
use crate::units::Bytes;

/// One step of a person, a crash, or a reboot.
#[derive(Debug, Clone)]
enum Step {
    Import(usize, usize),
    RemoveImage(usize),
    Create(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    Resize(usize, u64),
    Restart,
    Reboot,
    /// The next step dies at this place of its.
    Die(usize),
}

const IMAGES: [&str; 3] = ["i0", "i1", "i2"];
const LAYERS: [&[&str]; 3] = [&["a"], &["a", "b"], &["a", "b", "c"]];
const CONTAINERS: [&str; 4] = ["c0", "c1", "c2", "c3"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, 0..3_usize).prop_map(|(image, layers)| Step::Import(image, layers)),
        2 => (0..3_usize).prop_map(Step::RemoveImage),
        6 => (0..3_usize, 0..4_usize).prop_map(|(image, name)| Step::Create(image, name)),
        4 => (0..4_usize).prop_map(Step::Remove),
        3 => (0..4_usize, 0..4_usize).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (0..4_usize, 14..24_u64).prop_map(|(name, mib)| Step::Resize(name, mib)),
        1 => Just(Step::Restart),
        1 => Just(Step::Reboot),
        3 => (1..60_usize).prop_map(Step::Die),
    ]
}

/// What images are made with.
const BASE: u64 = 16;

/// What should be there: images, and containers with their images and sizes in MiB.
#[derive(Debug, Default, Clone)]
struct Model {
    images: BTreeMap<&'static str, usize>,
    containers: BTreeMap<&'static str, (&'static str, u64)>,
}

/// Images, and containers with their images and sizes in MiB.
type Observed = (BTreeSet<String>, BTreeMap<String, (String, u64)>);

impl Model {
    /// Another name of the same image: one with the same layers.
    fn other_name(&self, name: &str) -> Option<&'static str> {
        let layers = self.images.get(name)?;
        self.images.iter().find(|(other, same)| **other != name && *same == layers).map(|(other, _)| *other)
    }

    /// Whether the step should work, by the model alone.
    fn allows(&self, step: &Step) -> bool {
        match *step {
            Step::Import(image, _) => !self.images.contains_key(IMAGES[image]),
            Step::RemoveImage(image) => {
                self.images.contains_key(IMAGES[image])
                    && (self.other_name(IMAGES[image]).is_some()
                        || !self.containers.values().any(|(of, _)| *of == IMAGES[image]))
            }
            Step::Create(image, name) => {
                self.images.contains_key(IMAGES[image]) && !self.containers.contains_key(CONTAINERS[name])
            }
            Step::Remove(name) => self.containers.contains_key(CONTAINERS[name]),
            Step::Rename(from, to) => {
                self.containers.contains_key(CONTAINERS[from])
                    && !self.containers.contains_key(CONTAINERS[to])
            }
            Step::Resize(name, mib) => {
                self.containers.get(CONTAINERS[name]).is_some_and(|(_, size)| mib >= *size)
            }
            Step::Restart | Step::Reboot | Step::Die(_) => true,
        }
    }

    /// As it would be observed.
    fn owned(&self) -> Observed {
        let images = self.images.keys().map(|name| (*name).to_owned()).collect();
        let containers = self.containers.iter();
        let containers =
            containers.map(|(name, (of, size))| ((*name).to_owned(), ((*of).to_owned(), *size))).collect();
        (images, containers)
    }

    fn apply(&mut self, step: &Step) {
        let other = match *step {
            Step::RemoveImage(image) => self.other_name(IMAGES[image]),
            _ => None,
        };
        match *step {
            Step::Import(image, layers) => drop(self.images.insert(IMAGES[image], layers)),
            Step::RemoveImage(image) => {
                let of_it = self.containers.values_mut().filter(|(of, _)| *of == IMAGES[image]);
                if let Some(other) = other {
                    of_it.for_each(|(of, _)| *of = other);
                }
                self.images.remove(IMAGES[image]);
            }
            Step::Create(image, name) => {
                self.containers.insert(CONTAINERS[name], (IMAGES[image], BASE));
            }
            Step::Remove(name) => drop(self.containers.remove(CONTAINERS[name])),
            Step::Rename(from, to) => {
                if let Some(what) = self.containers.remove(CONTAINERS[from]) {
                    self.containers.insert(CONTAINERS[to], what);
                }
            }
            Step::Resize(name, mib) => {
                if let Some((_, size)) = self.containers.get_mut(CONTAINERS[name]) {
                    *size = mib;
                }
            }
            Step::Restart | Step::Reboot | Step::Die(_) => {}
        }
    }
}

fn run(machine: &Machine, step: &Step) -> Result<(), PoolError> {
    match *step {
        Step::Import(image, layers) => {
            machine.pool().refuse_taken_image(&IMAGES[image].parse().expect("a name"))?;
            machine.import(IMAGES[image], LAYERS[layers])
        }
        Step::RemoveImage(image) => machine.pool().remove_image(&IMAGES[image].parse().expect("a name")),
        Step::Create(image, name) => machine.create_of(IMAGES[image], CONTAINERS[name], None),
        Step::Remove(name) => machine.remove(CONTAINERS[name]),
        Step::Rename(from, to) => {
            let (from, to) =
                (CONTAINERS[from].parse().expect("a name"), CONTAINERS[to].parse().expect("a name"));
            machine.pool().rename_container(&from, &to).map(drop)
        }
        Step::Resize(name, mib) => {
            let size = NewSize::To(Bytes::mib(mib));
            machine.pool().resize_container(&CONTAINERS[name].parse().expect("a name"), size).map(drop)
        }
        Step::Restart => {
            machine.pool().deactivate()?;
            machine.write_superblock();
            machine.pool().activate(Checking::AsNeeded).map(drop)
        }
        Step::Reboot => {
            machine.reboot();
            machine.pool().activate(Checking::AsNeeded).map(drop)
        }
        Step::Die(_) => Ok(()),
    }
}

/// What is there. Of each container's size the file system must have all.
fn observed(machine: &Machine) -> Observed {
    let pool = machine.pool();
    let images = pool.images().expect("listed").into_iter().map(|status| status.image.name).collect();
    let containers = pool.containers().expect("listed").into_iter().map(|status| status.container);
    let containers = containers.map(|container| {
        let Device { id, size, growing, .. } = container.device;
        assert!(!growing, "{} is still to grow", container.name);
        if size > Bytes::mib(BASE) {
            assert_eq!(machine.fs.grown_to(id), Some(size), "{}", container.name);
        }
        (container.name, (container.image, size.0 >> 20))
    });
    (images, containers.collect())
}

/// How many sequences: what `PROPTEST_CASES` says, or what a run of all tests can afford.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn whatever_is_done_in_whatever_order_what_was_acknowledged_is_there(steps in prop::collection::vec(step(), 1..30)) {
        let machine = Machine::new();
        machine.set_up().expect("set up");
        let mut model = Model::default();
        let mut die_at = usize::MAX;
        for step in &steps {
            if let Step::Die(place) = *step {
                die_at = place;
                continue;
            }
            let ended = run_and_die_at(std::mem::replace(&mut die_at, usize::MAX), || run(&machine, step));
            // The process that died, if it did, is gone; another one looks at what it left. One that died at a restart may
            // have put the pool to rest.
            machine.write_superblock();
            machine.pool().activate(Checking::AsNeeded).expect("active");
            machine.pool().reap().expect("reaped");
            machine.assert_in_order(&format!("{step:?} {ended:?}"));
            let Ok((result, _)) = ended else {
                // Not acknowledged: all of it or nothing, and nothing else. What would have been refused is nothing.
                let mut with = model.clone();
                with.apply(step);
                if model.allows(step) && observed(&machine) == with.owned() {
                    model = with;
                }
                prop_assert_eq!(observed(&machine), model.owned());
                continue;
            };
            prop_assert_eq!(result.is_ok(), model.allows(step), "{:?} {:?}", step, result);
            if result.is_ok() {
                model.apply(step);
            }
            prop_assert_eq!(observed(&machine), model.owned());
        }
    }
}

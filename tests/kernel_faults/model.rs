//! Random sequences of commands, some of them killed, against a plain model.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::content::assert_sound;
use super::support::{Bench, SMALL};
use super::verbs::{pool, put_away, small};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What a person does.
#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Remove(usize),
    Rename(usize, usize),
    Resize(usize, u64),
    /// Mounts it, writes, unmounts it.
    Write(usize, u8),
    Restart,
    /// The next command dies at this place.
    Die(u64),
}

/// What is there: the size in MiB, and what was written last.
type Model = BTreeMap<&'static str, (u64, Option<u8>)>;

fn step() -> impl Strategy<Value = Step> {
    let any = 0..NAMES.len();
    prop_oneof![
        4 => any.clone().prop_map(Step::Create),
        2 => any.clone().prop_map(Step::Remove),
        2 => (any.clone(), any.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (any.clone(), prop::sample::select(&[80, 96, 128][..])).prop_map(|(at, mib)| Step::Resize(at, mib)),
        3 => (any, any_byte()).prop_map(|(at, byte)| Step::Write(at, byte)),
        1 => Just(Step::Restart),
        3 => (1..60_u64).prop_map(Step::Die),
    ]
}

fn any_byte() -> impl Strategy<Value = u8> {
    1..=u8::MAX
}

/// The command of a step, where it is one.
fn words(step: &Step) -> Option<Vec<String>> {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    match *step {
        Step::Create(at) => words(&["container", "create", "small", "--name", NAMES[at]]),
        Step::Remove(at) => words(&["container", "remove", NAMES[at]]),
        Step::Rename(from, to) => words(&["container", "rename", NAMES[from], NAMES[to]]),
        Step::Resize(at, mib) => words(&["container", "resize", NAMES[at], &format!("{mib}M")]),
        Step::Write(..) | Step::Restart | Step::Die(_) => None,
    }
}

/// What the model becomes, or `None` where the step has to be refused.
fn apply(model: &Model, step: &Step) -> Option<Model> {
    let mut model = model.clone();
    match *step {
        Step::Create(at) => {
            if model.insert(NAMES[at], (64, None)).is_some() {
                return None;
            }
        }
        Step::Remove(at) => drop(model.remove(NAMES[at])?),
        Step::Rename(from, to) => {
            if model.contains_key(NAMES[to]) {
                return None;
            }
            let of = model.remove(NAMES[from])?;
            model.insert(NAMES[to], of);
        }
        Step::Resize(at, mib) => {
            let (size, _) = model.get_mut(NAMES[at])?;
            if mib < *size {
                return None;
            }
            *size = mib;
        }
        Step::Write(at, byte) => model.get_mut(NAMES[at])?.1 = Some(byte),
        Step::Restart | Step::Die(_) => {}
    }
    Some(model)
}

#[test]
fn whatever_is_done_in_whatever_order_and_killed_wherever_what_was_acknowledged_is_there() {
    let _alone = super::alone();
    let bench = Bench::new();
    bench.ok(SMALL.map(small));
    let bench = bench.and_image("small");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3);
    let config = Config { cases, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let sequences = prop::collection::vec(step(), 1..20);
    TestRunner::new(config)
        .run(&sequences, |steps| play(&bench, &steps))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn play(bench: &Bench, steps: &[Step]) -> Result<(), TestCaseError> {
    // A sequence that failed leaves some, and a shorter one is tried next.
    pool(bench, |_| Ok(()));
    for container in found(bench).keys() {
        bench.run(["container", "unmount", container]);
        bench.ok(["container", "remove", container]);
    }
    let mut model = Model::new();
    let mut die_at = None;
    for step in steps {
        let after = apply(&model, step);
        match (step, words(step)) {
            (Step::Die(place), _) => die_at = Some(*place),
            (Step::Restart, _) => pool(bench, |pool| pool.deactivate().map(drop)),
            (Step::Write(at, byte), _) => {
                if let Some(after) = after {
                    pool(bench, |_| Ok(()));
                    write(bench, NAMES[*at], *byte);
                    model = after;
                }
            }
            (_, Some(words)) => {
                pool(bench, |_| Ok(()));
                let mut command = bench.command(&words);
                if let Some(place) = die_at.take() {
                    command.env("THINPOOL_KILL_AT", place.to_string());
                }
                let ended = command.output().expect("runs").status.code();
                pool(bench, |_| Ok(()));
                match ended {
                    // Killed: all of it or nothing.
                    None => {
                        let now = found(bench);
                        model = after.filter(|after| now == seen(after)).unwrap_or(model);
                    }
                    Some(code) => {
                        prop_assert_eq!(code == 0, after.is_some(), "{:?} on {:?}", step, model);
                        model = after.unwrap_or(model);
                    }
                }
                prop_assert_eq!(found(bench), seen(&model), "{:?}", step);
            }
            (_, None) => unreachable!("{step:?}"),
        }
    }
    check(bench, &model);
    Ok(())
}

/// Fails unless what was written is there; then all of it goes.
fn check(bench: &Bench, model: &Model) {
    pool(bench, |_| Ok(()));
    for (container, (_, written)) in model {
        let at = bench.ok(["container", "mount", container]);
        let found = std::fs::read(Path::new(at.trim_end()).join("written")).ok();
        assert!(found == written.map(content), "{container} of {model:?}");
        bench.ok(["container", "unmount", container]);
        bench.ok(["container", "remove", container]);
    }
    pool(bench, |pool| {
        put_away(pool);
        pool.deactivate().map(drop)
    });
    assert_sound(&bench.state(), &format!("{model:?}"));
    pool(bench, |_| Ok(()));
}

fn write(bench: &Bench, container: &str, byte: u8) {
    let at = bench.ok(["container", "mount", container]);
    std::fs::write(Path::new(at.trim_end()).join("written"), content(byte)).expect("written");
    bench.ok(["container", "unmount", container]);
}

fn content(byte: u8) -> Vec<u8> {
    vec![byte; 300_000]
}

/// Names and sizes as the model has them.
fn seen(model: &Model) -> BTreeMap<String, u64> {
    model.iter().map(|(name, (size, _))| ((*name).to_owned(), *size)).collect()
}

/// Names and sizes as the pool has them.
fn found(bench: &Bench) -> BTreeMap<String, u64> {
    let size = |one: &serde_json::Value| one["device_bytes"].as_u64().expect("a size") >> 20;
    let named = |one: &serde_json::Value| one["name"].as_str().expect("a name").to_owned();
    bench.list("container").iter().map(|one| (named(one), size(one))).collect()
}

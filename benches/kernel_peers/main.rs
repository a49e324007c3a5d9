//! thinpool beside the kernel's own ioctls and beside everybody else who makes copies of a tree, in one run on the test
//! machine. What it measures goes to the report as lines of JSON (`benches/record`); `make bench` brings the two together.
//!
//! ```text
//! make bench
//! THINPOOL_BENCH_TURNS=31 THINPOOL_BENCH_ONLY=thinpool make bench
//! THINPOOL_BENCH_ONLY=sizes THINPOOL_BENCH_DEVICES=1000 make bench
//! ```
#![allow(missing_docs, reason = "nobody but this program uses its parts")]

mod bed;
mod contender;
mod crowd;
mod daemon;
mod difference;
mod hundred;
mod import;
mod ioctl;
mod machine;
mod metadata;
mod monitor;
mod mount;
mod process;
mod race;
#[path = "../record/mod.rs"]
#[allow(dead_code, reason = "the report has the other half")]
mod record;
mod shared;
mod sizes;
mod tool;
mod ways;
mod yardstick;

use self::bed::Bed;
use self::record::Record;
use self::tool::Outcome;

/// How often things are done.
struct Plan {
    /// Most things.
    turns: u32,
    /// A hundred copies.
    hundreds: u32,
    /// The most devices in a pool.
    devices: u32,
    /// Which parts and ways, by a piece of their names; all have the empty one.
    only: String,
}

/// A part of the benchmark.
type Part = fn(&Bed, &Plan) -> Outcome;

/// All of them, by name.
const PARTS: [(&str, Part); 7] = [
    ("monitor", |bed, _| monitor::measure(bed)),
    ("ways", |bed, plan| race::race(bed, plan.turns, |_| true)),
    ("import", |bed, plan| import::measure(bed, plan.turns)),
    ("difference", |bed, plan| difference::measure(bed, plan.turns)),
    ("hundred", |bed, plan| hundred::measure(bed, plan.hundreds)),
    ("shared", |bed, _| shared::measure(bed)),
    ("sizes", |bed, plan| sizes::measure(bed, plan.turns, plan.devices)),
];

fn main() -> Outcome {
    if cfg!(debug_assertions) {
        return Err(
            "this is a debug build, of which no figure would mean anything; `cargo bench` makes another"
                .into(),
        );
    }
    let plan = Plan {
        turns: setting("TURNS", 21)?,
        hundreds: setting("HUNDREDS", 21)?,
        devices: setting("DEVICES", 10_000)?,
        only: std::env::var("THINPOOL_BENCH_ONLY").unwrap_or_default(),
    };
    machine::tell();
    println!("makes a tree to be copied");
    let bed = Bed::new(setting("TREE_MB", 200)?)?;
    yardstick::measure(&bed, plan.turns)?;
    let chosen: Vec<_> = PARTS.into_iter().filter(|(name, _)| name.contains(&plan.only)).collect();
    if chosen.is_empty() {
        return race::race(&bed, plan.turns, |way| way.contains(&plan.only));
    }
    for (name, measure) in chosen {
        let start = std::time::Instant::now();
        // What one part can't do takes nothing from the others.
        if let Err(error) = measure(&bed, &plan) {
            Record::absent(name, error.to_string()).emit();
        }
        println!("{name}: took {} s", start.elapsed().as_secs());
    }
    Ok(())
}

/// A number out of the environment.
fn setting<N: std::str::FromStr<Err: std::error::Error + 'static>>(name: &str, default: N) -> Outcome<N> {
    let name = format!("THINPOOL_BENCH_{name}");
    std::env::var(&name)
        .map_or(Ok(default), |value| value.parse())
        .map_err(|error: N::Err| format!("{name}: {error}").into())
}

//! thinpool beside the kernel's own ioctls and beside everybody else who makes copies of a tree, in one run on the test
//! machine. What it measures goes to the report as lines of JSON (`benches/record`); `make bench` brings the two together.
//!
//! ```text
//! make bench
//! THINPOOL_BENCH_TURNS=31 THINPOOL_BENCH_ONLY=thinpool THINPOOL_BENCH_DEVICES=1000 make bench
//! ```
#![allow(missing_docs, reason = "nobody but this program uses its parts")]

mod bed;
mod contender;
mod daemon;
mod hundred;
mod ioctl;
mod machine;
mod mount;
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
use self::tool::Outcome;

fn main() -> Outcome {
    let turns = setting("TURNS", 21)?;
    let only = std::env::var("THINPOOL_BENCH_ONLY").unwrap_or_default();
    machine::tell();
    println!("makes a tree to be copied");
    let bed = Bed::new(setting("TREE_MB", 40)?)?;
    yardstick::measure(&bed, turns)?;
    race::race(&bed, turns, |way| way.contains(&only));
    hundred::measure(&bed, setting("HUNDREDS", 5)?)?;
    shared::measure(&bed)?;
    sizes::measure(&bed, turns, setting("DEVICES", 10_000)?)?;
    Ok(())
}

/// A number out of the environment.
fn setting<N: std::str::FromStr<Err: std::error::Error + 'static>>(name: &str, default: N) -> Outcome<N> {
    let name = format!("THINPOOL_BENCH_{name}");
    std::env::var(&name)
        .map_or(Ok(default), |value| value.parse())
        .map_err(|error: N::Err| format!("{name}: {error}").into())
}

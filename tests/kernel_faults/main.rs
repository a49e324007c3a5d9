//! Crashes on a real kernel: the command is killed at every step that outlives it, power cuts are played back from a
//! log of all writes, and many commands run at once. Run by root in a throwaway machine; see `docs/testing.md`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

mod at_once;
mod content;
mod kills;
mod log_writes;
mod model;
mod power_cuts;
#[path = "../kernel/support.rs"]
#[allow(dead_code, reason = "another binary uses the rest")]
mod support;
mod verbs;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The machine, for one test: they count what is left on it.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

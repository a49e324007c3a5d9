//! The command on a real kernel. Run by root in a throwaway machine; see `docs/testing.md`.
//!
//! Every test has a pool and a directory of its own, and what it leaves behind is removed also when it panics.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

mod block;
mod check;
mod container_verbs;
mod containers;
mod damage;
mod devices;
mod docs;
mod doctor;
mod extend;
mod images;
mod layers;
mod lifecycle;
mod lists;
mod metrics;
mod monitor;
mod mounts;
mod rescue;
mod settings;
mod states;
mod status;
mod support;
mod tools;
mod top;
#[path = "../tree/mod.rs"]
mod tree;
mod usage;
mod watched;

//! From bare disks, or from no disk at all, to a device-mapper thin pool that survives reboots, crashes and
//! full disks.
//!
//! Everything the command does is a call of this library first. The library is synchronous; nothing in it
//! prints or exits. The layers, and what each may know of the others, are in `docs/architecture.md`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod backing;
pub mod boot;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod dm;
pub mod doctor;
mod files;
pub mod fs;
pub mod image;
pub mod monitor;
pub mod pool;
pub mod report;
#[cfg(test)]
mod testing;
pub mod thin_metadata;
pub mod thin_tools;
pub mod top;
pub mod units;

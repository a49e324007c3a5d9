//! The verbs over a machine that exists only in memory: killed, refused and raced at every step.

mod check;
mod containers;
mod devices;
mod disks;
mod file_systems;
mod kills;
mod machine;
mod model;
mod reboot;
mod refusals;

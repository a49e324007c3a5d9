//! The verbs over a machine that exists only in memory: killed, refused and raced at every step.

mod check;
mod devices;
mod disks;
mod images;
mod kills;
mod machine;
mod model;
mod reboot;
mod refusals;

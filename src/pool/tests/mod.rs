//! The verbs over a machine that exists only in memory: killed, refused and raced at every step.

mod check;
mod containers;
mod devices;
mod disks;
mod existing;
mod extend;
mod file_systems;
mod images;
mod kills;
mod machine;
mod metadata;
mod metadata_check;
mod model;
mod monitor;
mod reboot;
mod rebuild;
mod refusals;
mod rescue;
mod scheduled_backups;

//! The status for Prometheus, in its text format (version 0.0.4), which node_exporter's textfile collector and every
//! scraper read. `docs/metrics.md` explains each metric.
//!
//! The crates for this keep counters of a program that runs; here one moment is told, and that is all there is to write.

mod families;
mod sample;
#[cfg(test)]
mod tests;
mod textfile;

use self::families::{FAMILIES, host_info};
use self::sample::{Sample, Writer};
use crate::pool::status::Status;

pub use textfile::{TextfileError, write_textfile};

const BUILD_INFO: &str = "thinpool_build_info";
const HOST_INFO: &str = "thinpool_host_info";

/// The metrics of these pools, one text for all. What nobody could read has no series: a pool that failed doesn't look
/// like an empty one.
#[must_use]
pub fn prometheus(statuses: &[Status]) -> String {
    let mut text = Writer::default();
    text.header(BUILD_INFO, "The version of thinpool that tells all this.");
    text.sample(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], &Sample::new(true));
    // Of this machine, so every status says the same.
    if let Some(status) = statuses.first() {
        text.header(HOST_INFO, "What this machine has for thin pools, by version.");
        text.sample(HOST_INFO, &[], &host_info(&status.host));
    }
    for family in FAMILIES {
        text.header(family.name, family.help);
        for status in statuses {
            for sample in (family.samples)(status) {
                text.sample(family.name, &[("pool", status.pool.as_str())], &sample);
            }
        }
    }
    text.finish()
}

//! How long a write waits in a pool that is out of data: the kernel has one limit, for all pools.

use std::fs;

use super::Alone;
use crate::states::bed::{Bed, is_in_the_journal};
use crate::watched::Monitor;

/// The kernel's limit, for as long as this is held.
struct Limit {
    before: String,
}

impl Limit {
    const FILE: &str = "/sys/module/dm_thin_pool/parameters/no_space_timeout";

    fn of(seconds: u32) -> Self {
        let before = fs::read_to_string(Self::FILE).expect("read");
        fs::write(Self::FILE, seconds.to_string()).expect("written");
        Self { before }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, self.before.trim());
    }
}

#[test]
fn a_write_that_has_waited_too_long_fails_and_the_next_monitor_makes_writes_wait_again() {
    let _alone = Alone::new();
    for file_system in ["ext4", "xfs"] {
        let mut bed = Bed::with(file_system, "8M");
        drop(Monitor::of(&bed.bench));
        bed.fill_data_to(90);
        let limit = Limit::of(2);
        let writer = bed.start_syncing("waited", 60);
        let said = bed.holds_to(writer);
        assert_ne!(said.code, 0, "{said:?}");
        bed.is_told("out of data, waited too long");
        drop(limit);
        let monitor = Monitor::of(&bed.bench);
        is_in_the_journal(&monitor, "out of data, waited too long");
        bed.has_come_through();
        assert_eq!(bed.bench.status()["kernel"]["when_full"], "queue");
    }
}

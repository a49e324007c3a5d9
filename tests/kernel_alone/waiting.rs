//! How long a write waits in a pool that is out of data: the kernel has one limit, for all pools.

use std::fs;

use thinpool::dm::Mode;

use super::Alone;
use crate::states::bed::{Bed, is_in_the_journal};
use crate::support::wait_until;
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
    let (_alone, bed) = (Alone::new(), Bed::on_loop_files("64M", "8M"));
    drop(Monitor::of(&bed.bench));
    let _limit = Limit::of(2);
    let writer = bed.start_writing(64);
    wait_until("the pool to be full", || bed.usage().mode == Mode::OutOfDataSpace);
    let said = writer.wait_with_output().expect("ends");
    assert!(String::from_utf8_lossy(&said.stderr).contains("No space left"), "{said:?}");
    bed.is_told("out of data, waited too long");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "out of data, waited too long");
    bed.has_come_through();
    assert_eq!(bed.bench.status()["kernel"]["when_full"], "queue");
}

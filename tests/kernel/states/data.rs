//! Data that runs out.

use thinpool::dm::Mode;

use super::bed::{Bed, is_in_the_journal};
use crate::support::{run, wait_until};
use crate::watched::Monitor;

#[test]
fn a_pool_nearly_full_of_data_is_told_of_and_made_larger() {
    let bed = Bed::on_loop_files("64M", "8M");
    bed.fill_data_to(82);
    bed.is_told("nearly full of data");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "nearly full of data");
    bed.has_come_through();
}

#[test]
fn a_pool_out_of_data_whose_writes_fail_goes_on_with_what_it_grows_by() {
    let bed = Bed::on_loop_files("64M", "8M");
    let said = bed.start_writing(80).wait_with_output().expect("ends");
    assert!(String::from_utf8_lossy(&said.stderr).contains("No space left"), "{said:?}");
    bed.is_told("out of data, writes fail");
    bed.bench.ok(["extend", "--data", "+64M"]);
    bed.has_come_through();
}

#[test]
fn a_write_that_waits_in_a_pool_out_of_data_goes_on_when_the_next_monitor_has_come() {
    let bed = Bed::on_loop_files("64M", "8M");
    // Killed, it leaves a pool that queues.
    drop(Monitor::of(&bed.bench));
    let writer = bed.start_writing(64);
    wait_until("the pool to be full", || bed.usage().mode == Mode::OutOfDataSpace);
    bed.is_told("out of data, writes wait");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "out of data, writes wait");
    let said = writer.wait_with_output().expect("ends");
    assert!(said.status.success(), "{said:?}: {}", monitor.said());
    run(std::process::Command::new("rm").arg(bed.at.join("ballast")));
    bed.has_come_through();
}

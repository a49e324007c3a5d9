//! Metadata that runs out.

use super::bed::{Bed, is_in_the_journal, is_low};
use crate::watched::Monitor;

fn out_of_metadata_and_rescued(bed: &Bed) {
    let made = bed.make_devices(0, is_low);
    bed.is_told("nearly out of metadata");
    let made = bed.make_devices(made, |_| false);
    bed.is_told("out of metadata");
    bed.delete_device(0).expect_err("nothing can be deleted");
    let monitor = Monitor::of(&bed.bench);
    for state in ["out of metadata", "nearly out of metadata"] {
        is_in_the_journal(&monitor, state);
    }
    for number in 0..made {
        bed.delete_device(number).expect("deleted");
    }
    bed.has_come_through();
    bed.bench.ok(["check"]);
}

#[test]
fn a_pool_that_runs_out_of_metadata_is_told_of_and_rescued_by_more_of_it() {
    out_of_metadata_and_rescued(&Bed::on_loop_files("128M", "2M"));
}

#[test]
fn xfs_in_a_pool_that_ran_out_of_metadata_has_every_file_that_it_had() {
    out_of_metadata_and_rescued(&Bed::with("xfs", "2M"));
}

//! What a pool's disks bring about.

use super::bed::{Bed, is_in_the_journal};
use crate::support::ok;
use crate::tools::reload;
use crate::watched::Monitor;

#[test]
fn a_pool_whose_metadata_could_not_be_written_is_writable_again_after_a_repair() {
    let bed = Bed::on_fragile_devices();
    let under = bed.under.as_ref().expect("devices");
    under.metadata_takes_no_writes();
    let said = bed.bench.promptly(["container", "create", "small", "--name", "second"]);
    assert_ne!(said.code, 0, "{said:?}");
    bed.is_told("wants a check");
    under.metadata_is_back();
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "wants a check");
    // As it is, it comes back as it went, and whoever starts it is told so.
    bed.bench.ok(["container", "unmount", "box"]);
    bed.bench.ok(["deactivate"]);
    assert_eq!(monitor.ends(), Some(0));
    let said = bed.bench.run(["activate"]);
    assert_eq!(said.code, 5, "{said:?}");
    bed.is_told("wants a check");
    assert_eq!(bed.repaired().code, 9);
    bed.has_come_through();
    bed.bench.ok(["check"]);
    bed.bench.ok(["container", "create", "small", "--name", "second"]);
}

fn read_only_and_writable_again(bed: &Bed) {
    let table = ok(std::process::Command::new("dmsetup").args(["table", bed.pool.as_str()]));
    reload(bed.pool.as_str(), &table.trim().replace("1 error_if_no_space", "2 error_if_no_space read_only"));
    bed.is_told("read-only");
    let error = bed.bench.fails(1, ["container", "create", "small"]);
    assert!(error.contains("read-only"), "{error}");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "read-only");
    assert_eq!(bed.stopped_and_repaired().code, 0);
    bed.has_come_through();
    bed.bench.ok(["container", "create", "small"]);
}

#[test]
fn a_pool_that_is_read_only_takes_nothing_new_and_keeps_what_it_has() {
    read_only_and_writable_again(&Bed::on_loop_files("128M", "8M"));
}

#[test]
fn xfs_in_a_pool_that_was_read_only_has_every_file_that_it_had() {
    read_only_and_writable_again(&Bed::with("xfs", "8M"));
}

#[test]
fn a_pool_that_the_kernel_gave_up_is_all_there_when_its_disk_is_back() {
    let bed = Bed::on_fragile_devices();
    let under = bed.under.as_ref().expect("devices");
    under.metadata_is_gone();
    let said = bed.bench.promptly(["container", "create", "small", "--name", "second"]);
    assert_ne!(said.code, 0, "{said:?}");
    bed.is_told("failed");
    let monitor = Monitor::of(&bed.bench);
    is_in_the_journal(&monitor, "failed");
    under.metadata_is_back();
    bed.stopped_and_repaired();
    assert_eq!(monitor.ends(), Some(0));
    bed.has_come_through();
    bed.bench.ok(["check"]);
}

#[test]
fn metadata_whose_growth_fails_half_way_costs_nothing_and_grows_later() {
    let bed = Bed::on_fragile_devices();
    let under = bed.under.as_ref().expect("devices");
    // The device has grown, and what the kernel would write of that, it can't.
    under.larger_metadata_takes_no_writes();
    let error = bed.bench.fails(1, ["extend"]);
    assert!(error.contains("needs a check"), "{error}");
    bed.is_told("wants a check");
    under.larger_metadata_is_back();
    bed.stopped_and_repaired();
    bed.bench.ok(["extend"]);
    assert_eq!(bed.usage().metadata.total.bytes().0, 16 << 20);
    bed.has_come_through();
    bed.bench.ok(["check"]);
}

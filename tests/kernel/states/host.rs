//! A file system under loop files that is full before the pool is.

use super::bed::Bed;
use crate::devices::{sh, text};
use crate::support::Bench;

#[test]
fn a_host_that_is_full_under_a_pool_that_is_not_costs_no_file_that_was_there() {
    let bench = Bench::new();
    let (disk, host) = (bench.beside("disk"), bench.beside("host"));
    let ballast = host.join("ballast");
    sh(&format!(
        "truncate -s 160M {0}; mkfs.ext4 -q {0}; mkdir {1}; mount -o loop {0} {1}; fallocate -l 90M {2}",
        disk.display(),
        host.display(),
        ballast.display()
    ));
    let flags = ["--dir", text(&host), "--loop-data-size", "256M", "--loop-metadata-size", "8M"];
    let bed = Bed::made(bench, &flags);
    let said = bed.start_writing(128).wait_with_output().expect("ends");
    assert!(!said.status.success(), "{said:?}");
    let (code, status) = bed.bench.health();
    let problems = status["problems"].as_array().expect("an array");
    let is_full = |problem: &serde_json::Value| {
        problem["key"] == "host_nearly_full" && problem["severity"] == "critical"
    };
    assert!(code == 5 && problems.iter().any(is_full), "{status}");
    std::fs::remove_file(ballast).expect("removed");
    bed.stopped_and_repaired();
    bed.has_come_through();
    bed.bench.ok(["check"]);
}

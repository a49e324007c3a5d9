//! Whole machines, booted several times on the same disks; see `docs/testing.md`. These run on the host, as any user:
//! what they start is a machine of its own each, which holds the command and its units as a package would install them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

mod block_devices;
mod machine;
mod power_cut;

/// Whether the tests may start machines. With `THINPOOL_TEST_HOST=1` there may be none to start.
fn there_are_machines() -> bool {
    let host_only = std::env::var_os("THINPOOL_TEST_HOST").is_some_and(|value| value == "1");
    if host_only {
        eprintln!("skipped: THINPOOL_TEST_HOST=1, and this host is not booted for a test");
    }
    !host_only
}

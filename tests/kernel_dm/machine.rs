//! The machine the kernel tests run on is what they take it for. When one of these fails, look at `tests/vm/` or at
//! the host before looking at the tool.

use std::process::Command;

#[test]
fn without_the_thin_target_every_other_kernel_test_would_fail_for_no_reason_of_its_own() {
    let modprobe = Command::new("modprobe").arg("dm-thin-pool").status().unwrap();
    assert!(modprobe.success());
    let targets = Command::new("dmsetup").arg("targets").output().unwrap();
    let targets = String::from_utf8(targets.stdout).unwrap();
    assert!(targets.lines().any(|line| line.starts_with("thin-pool ")), "{targets}");
}

#[test]
fn the_tests_would_start_another_thinpool_if_the_one_just_built_were_not_on_the_path() {
    assert!(Command::new("thinpool").arg("--version").status().is_ok());
}

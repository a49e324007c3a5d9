//! What the doctor finds on a real machine.

use std::process::Command;

use serde_json::Value;

use crate::docs;
use crate::support::{Bench, Said, run};

/// The findings, without those on what other tests have: commands that were killed while they waited for udev, and volumes of
/// pools under other roots.
fn findings(said: &Said) -> Vec<Value> {
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let findings = report["findings"].as_array().expect("an array").iter();
    let is_others = |finding: &Value| {
        let sentence = finding["sentence"].as_str().expect("a sentence");
        finding["check"] == "cookies" || sentence.contains("was made for a pool that isn't under")
    };
    findings.filter(|finding| !is_others(finding)).cloned().collect()
}

fn is_harmless(finding: &Value) -> bool {
    finding["level"] == "ok" || finding["level"] == "note"
}

#[test]
fn a_machine_that_is_fit_for_pools_is_not_called_unfit() {
    let bench = Bench::with_pool();
    let found = findings(&bench.run(["doctor", "--json"]));
    assert!(found.iter().all(is_harmless), "{found:#?}");
    let said =
        |words: &str| found.iter().any(|finding| finding["sentence"].as_str().unwrap().contains(words));
    for words in
        ["device-mapper 4.", "thin-pool target 1.", "thin_check: ", "lvm: 2.", "fit for sparse files"]
    {
        assert!(said(words), "nothing on '{words}': {found:#?}");
    }
    assert_eq!(
        docs::keys(&found[0]),
        docs::documented("findings[]."),
        "docs/json.md and the findings differ"
    );
}

#[test]
fn who_is_not_root_learns_what_could_not_be_looked_at() {
    let bench = Bench::new();
    let as_root = bench.command(["doctor", "--json"]);
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let said = run(nobody.arg(as_root.get_program()).args(as_root.get_args()));
    let found = findings(&said);
    let unseen = |finding: &Value| finding["remedy"] == "run `thinpool doctor` as root";
    assert!(found.iter().any(|finding| finding["check"] == "driver" && unseen(finding)), "{found:#?}");
    assert!(found.iter().all(is_harmless), "{found:#?}");
}

#[test]
fn programs_that_are_missing_are_told_with_the_package_that_has_them_and_by_the_exit_code() {
    let bench = Bench::new();
    let found = |finding: &Value| {
        finding["level"] == "warning" && finding["remedy"] == "install thin-provisioning-tools"
    };
    // Hidden from this one command.
    let doctor = bench.command(["doctor", "--json"]);
    let mut without = Command::new("unshare");
    without.args(["--mount", "sh", "-c", "mount -t tmpfs none /usr/sbin && exec \"$@\""]);
    let said = run(without.arg("sh").arg(doctor.get_program()).args(doctor.get_args()));
    assert_eq!(said.code, 5, "{said:?}");
    assert!(findings(&said).iter().any(found), "{said:?}");
}

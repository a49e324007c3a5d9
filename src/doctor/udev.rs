//! udevd, and device-mapper's rules for it.

use super::{Finding, Machine};
use crate::dm::UdevSync;

/// Where udev looks for rules: udev(7).
const RULES: [&str; 5] = [
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];

/// Device-mapper's rules besides 95-dm-notify.rules, which [`UdevSync`] looks for: by its own names, and by Debian's.
const NEEDED: [[&str; 2]; 2] =
    [["10-dm.rules", "55-dm.rules"], ["13-dm-disk.rules", "60-persistent-storage-dm.rules"]];

pub(super) fn daemon_and_rules(machine: &Machine) -> Vec<Finding> {
    vec![match machine.udev {
        UdevSync::Supported => rules(machine),
        UdevSync::NoDaemon => Finding::note(
            "udevd is not running: device nodes are made without it, and there are no links in /dev/disk",
        )
        .with_remedy("nothing, in a container or an initramfs; else start systemd-udevd"),
        UdevSync::NoRules => Finding::problem(
            "udevd runs, but 95-dm-notify.rules is not installed: it never says when it is done",
            "install device-mapper's rules (Debian: dmsetup, Fedora: device-mapper)",
        ),
        UdevSync::NoSemaphores => Finding::problem(
            "udevd runs, but the kernel has no System V semaphores to wait for it with",
            "a kernel with CONFIG_SYSVIPC; in a container, --ipc=host",
        ),
    }]
}

fn rules(machine: &Machine) -> Finding {
    let there = |names: &[&str; 2]| names.iter().any(|name| machine.any_has(&RULES, name));
    let missing: Vec<&str> = NEEDED.iter().filter(|names| !there(names)).map(|names| names[0]).collect();
    if missing.is_empty() {
        return Finding::ok("udevd runs, with device-mapper's rules");
    }
    Finding::warning(
        format!(
            "device-mapper's rules {} are not installed: links in /dev/disk will be missing",
            missing.join(", ")
        ),
        "install device-mapper's rules again (Debian: dmsetup, Fedora: device-mapper)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, levels};
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_udevd_that_never_answers_is_a_problem() {
        let mut machine = Bench::new().machine();
        for (udev, level) in [
            (UdevSync::NoDaemon, Level::Note),
            (UdevSync::NoRules, Level::Problem),
            (UdevSync::NoSemaphores, Level::Problem),
        ] {
            machine.udev = udev;
            assert_eq!(levels(&daemon_and_rules(&machine)), [level]);
        }
    }

    #[test]
    fn a_rule_that_is_missing_is_named() {
        let bench = Bench::new().with("lib/udev/rules.d/55-dm.rules", "");
        let mut machine = bench.machine();
        machine.udev = UdevSync::Supported;
        let found = daemon_and_rules(&machine);
        assert!(
            found[0].sentence.contains("13-dm-disk.rules") && found[0].level == Level::Warning,
            "{found:?}"
        );
        let bench = bench.with("etc/udev/rules.d/13-dm-disk.rules", "");
        machine = bench.machine();
        machine.udev = UdevSync::Supported;
        assert_eq!(levels(&daemon_and_rules(&machine)), [Level::Ok]);
    }
}

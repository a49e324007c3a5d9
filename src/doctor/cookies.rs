//! System V semaphores, and among them libdevmapper's cookies: on each of them somebody waits for udev.

use std::io;

use super::{Finding, Machine};
use crate::dm::{self, Cookie, Cookies, Semaphore};

/// Its limits, the fourth being how many sets of semaphores there may be.
const LIMITS: &str = "/proc/sys/kernel/sem";
/// Whether a semaphore more can be made.
pub(super) fn room(machine: &Machine) -> Vec<Finding> {
    let (used, most) = match (list(machine), limit(machine)) {
        (Ok(list), Ok(most)) => (list.len(), most),
        (Err(error), _) | (_, Err(error)) => {
            return vec![
                Finding::note(format!("System V semaphores can't be counted: {error}")).with_remedy(
                    "a kernel with CONFIG_SYSVIPC, and /proc; without, udev can't be waited for",
                ),
            ];
        }
    };
    vec![if used < most - most / 10 {
        Finding::ok(format!("{used} of {most} are in use"))
    } else {
        Finding::warning(
            format!("{used} of {most} are in use; without a free one, udev can't be waited for"),
            format!(
                "`ipcs -s` tells whose they are; {LIMITS} (sysctl kernel.sem), its fourth number, allows more"
            ),
        )
    }]
}

/// Cookies on which nobody waits, and those on which somebody waits in vain.
pub(super) fn abandoned(machine: &Machine) -> Vec<Finding> {
    // What can't be listed was told by `room`.
    let semaphores = list(machine).unwrap_or_default();
    let Cookies { left, stuck } = match Cookies::among(&semaphores, machine.now, machine.waiters) {
        Ok(cookies) => cookies,
        Err(errno) => return vec![Finding::unseen("cookies", errno)],
    };
    let mut findings = Vec::new();
    if !left.is_empty() {
        findings.push(Finding::warning(
            format!("left behind by commands that died while they waited for udev: {}", told(&left)),
            "`dmsetup udevcomplete_all 1` removes all that are older than a minute; `dmsetup udevcookies` lists them",
        ));
    }
    if !stuck.is_empty() {
        findings.push(Finding::warning(
            format!("commands wait for udev in vain: {}", told(&stuck)),
            "`journalctl -u systemd-udevd` may tell why; `dmsetup udevcomplete_all 1` lets them go on",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("none is left behind"));
    }
    findings
}

fn list(machine: &Machine) -> io::Result<Vec<Semaphore>> {
    Ok(Semaphore::list(&machine.read(dm::SEMAPHORES)?))
}

fn limit(machine: &Machine) -> io::Result<usize> {
    let text = machine.read(LIMITS)?;
    let most = text.split_whitespace().nth(3).and_then(|word| word.parse().ok());
    most.ok_or_else(|| io::Error::other(format!("{LIMITS} is '{}'", text.trim_end())))
}

fn told(cookies: &[Cookie]) -> String {
    cookies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::testing::{Bench, levels};
    use super::*;
    use crate::doctor::Level;

    const HEADER: &str =
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
    /// 0x0D4D0001, and one that is somebody else's.
    const KEYS: [u32; 2] = [0x0D4D_0001, 0x0E4D_0001];

    /// A machine with two semaphores of this age.
    fn machine(bench: &Bench, age: u64) -> Machine {
        let now = bench.machine().now;
        let line = |key: &u32| format!("{key} 7 600 1 0 0 0 0 {0} {0}\n", now - age);
        let text = KEYS.iter().map(line).collect::<String>();
        std::fs::create_dir_all(bench.path().join("proc/sysvipc")).unwrap();
        std::fs::write(bench.path().join("proc/sysvipc/sem"), format!("{HEADER}{text}")).unwrap();
        bench.machine()
    }

    #[test]
    fn a_cookie_that_nobody_waits_on_is_found_with_its_key_and_the_way_to_be_rid_of_it() {
        let found = abandoned(&machine(&Bench::new(), 300));
        assert_eq!(levels(&found), [Level::Warning]);
        assert!(found[0].sentence.contains("0x0d4d0001 (300 s old)"), "{found:?}");
        assert!(!found[0].sentence.contains("0x0e4d0001"), "somebody else's: {found:?}");
        assert!(found[0].remedy.as_ref().unwrap().contains("dmsetup udevcomplete_all"), "{found:?}");
    }

    #[test]
    fn a_cookie_that_is_in_use_is_left_alone_until_its_wait_is_in_vain() {
        for (age, waiters, level) in [(1, 0, Level::Ok), (30, 1, Level::Ok), (90, 1, Level::Warning)] {
            let bench = Bench::new();
            let mut machine = machine(&bench, age);
            machine.waiters = if waiters == 0 { |_| Ok(0) } else { |_| Ok(1) };
            assert_eq!(levels(&abandoned(&machine)), [level], "{age} s old, {waiters} waiting");
        }
    }

    #[test]
    fn who_may_not_look_at_a_cookie_is_told_so() {
        let bench = Bench::new();
        let mut machine = machine(&bench, 300);
        machine.waiters = |_| Err(Errno::EACCES);
        assert_eq!(levels(&abandoned(&machine)), [Level::Note]);
    }

    #[test]
    fn a_limit_that_is_nearly_reached_is_told_before_it_is() {
        for (most, level) in [("2", Level::Warning), ("32000", Level::Ok)] {
            let bench =
                Bench::new().with("proc/sys/kernel/sem", &format!("32000\t1024000000\t500\t{most}\n"));
            assert_eq!(levels(&room(&machine(&bench, 0))), [level]);
        }
    }
}

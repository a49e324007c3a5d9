//! Whether the pools that are set up come back at boot.

use std::path::Path;

use super::{Finding, Machine};

/// Where systemd looks for units and for the links that enable them: systemd.unit(5).
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

pub(super) fn enabled(machine: &Machine) -> Vec<Finding> {
    let pools = match machine.pool_names() {
        Ok(pools) => pools,
        Err(error) => return vec![Finding::unseen(&machine.pools.root.display().to_string(), error)],
    };
    if !machine.has("/run/systemd/system") {
        return vec![
            Finding::note("this machine wasn't booted by systemd, so no unit makes pools active")
                .with_remedy(
                    "call `thinpool activate` for each pool wherever this machine starts what it needs",
                ),
        ];
    }
    if !machine.any_has(&UNITS, "thinpool@.service") {
        return vec![
            Finding::note(
                "the unit thinpool@.service is not installed: no pool comes back at boot by itself",
            )
            .with_remedy("`make install`, or the Debian package, installs it"),
        ];
    }
    if pools.is_empty() {
        return vec![Finding::ok("no pool is set up yet")];
    }
    pools.iter().map(|pool| of_pool(machine, pool)).collect()
}

fn of_pool(machine: &Machine, pool: &str) -> Finding {
    let unit = format!("thinpool@{pool}.service");
    if is_enabled(machine, &unit) {
        Finding::ok(format!("{unit} is enabled"))
    } else {
        Finding::warning(
            format!("{unit} is not enabled: after a reboot the pool '{pool}' stays inactive"),
            format!("`systemctl enable {unit}`, unless that is what you want"),
        )
    }
}

/// Enabling makes a link in the folder of a unit that wants or requires this one. That is what `systemctl is-enabled`
/// looks for; looking needs neither systemctl nor a systemd that answers.
fn is_enabled(machine: &Machine, unit: &str) -> bool {
    let folders = UNITS.iter().filter_map(|units| std::fs::read_dir(machine.path(units)).ok()).flatten();
    let depends = |path: &Path| path.extension().is_some_and(|kind| kind == "wants" || kind == "requires");
    // What can't be read enables nothing for systemd either.
    folders
        .flatten()
        .map(|entry| entry.path())
        .any(|folder| depends(&folder) && folder.join(unit).symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, levels};
    use super::*;
    use crate::doctor::Level;

    fn bench() -> Bench {
        let pools = ["ci", "web"].map(|pool| format!("var/lib/thinpool/{pool}/catalog.db"));
        pools.iter().fold(Bench::new(), |bench, pool| bench.with(pool, "")).with("run/systemd/system/x", "")
    }

    #[test]
    fn a_pool_that_would_be_gone_after_a_reboot_is_named_with_the_command_that_helps() {
        let bench = bench()
            .with("usr/lib/systemd/system/thinpool@.service", "")
            .with("etc/systemd/system/multi-user.target.wants/thinpool@ci.service", "");
        let found = enabled(&bench.machine());
        assert_eq!(levels(&found), [Level::Ok, Level::Warning]);
        assert!(
            found[1].remedy.as_ref().unwrap().contains("systemctl enable thinpool@web.service"),
            "{found:?}"
        );
    }

    #[test]
    fn where_units_cant_help_another_way_is_told() {
        assert_eq!(levels(&enabled(&Bench::new().machine())), [Level::Note]);
        assert_eq!(levels(&enabled(&bench().machine())), [Level::Note]);
    }
}

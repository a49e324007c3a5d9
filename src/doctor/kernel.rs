//! The kernel: device-mapper, its thin-pool target, loop devices.

use super::{Finding, Machine};
use crate::dm;

/// Device-mapper itself.
pub(super) fn driver(machine: &Machine) -> Vec<Finding> {
    vec![match &machine.device_mapper {
        Ok(versions) if versions.deferred_removal() => {
            Finding::ok(format!("device-mapper {}, kernel {}", versions.driver, machine.kernel))
        }
        Ok(versions) => Finding::note(format!(
            "device-mapper {} (kernel {}) has no deferred removal: what is in use can't be removed, only later",
            versions.driver, machine.kernel
        ))
        .with_remedy("a kernel from 3.13 on has it"),
        Err(error) if is_refusal(error) => Finding::unseen("device-mapper", error),
        Err(error) => Finding::problem(
            error.to_string(),
            "`modprobe dm_mod`; in a container, /dev/mapper/control of the host is needed",
        ),
    }]
}

/// The target that pools are made of, `thin`, comes with the same module.
pub(super) fn thin_pool(machine: &Machine) -> Vec<Finding> {
    let version = machine.device_mapper.as_ref().ok().and_then(|versions| versions.thin_pool);
    vec![match (version, module(machine, "dm_thin_pool")) {
        (Some(version), _) => Finding::ok(format!("thin-pool target {version}")),
        (None, Module::Loaded | Module::BuiltIn) => Finding::ok("the module dm_thin_pool is loaded"),
        (None, Module::Loadable) => {
            Finding::ok("the module dm_thin_pool is there, and loaded when it is needed")
        }
        (None, Module::Absent) => Finding::problem(
            format!("this kernel ({}) has no thin-pool target", machine.kernel),
            "install the package with the kernel's further modules (Ubuntu: linux-modules-extra-`uname -r`; a kernel \
             of your own: CONFIG_DM_THIN_PROVISIONING)",
        ),
    }]
}

/// Loop devices, which only pools on files need.
pub(super) fn loop_devices(machine: &Machine) -> Vec<Finding> {
    vec![match module(machine, "loop") {
        _ if machine.has("/dev/loop-control") => Finding::ok("loop devices are there"),
        Module::Loaded | Module::BuiltIn | Module::Loadable => {
            Finding::note("the loop module is not loaded, and /dev/loop-control is missing")
                .with_remedy("`modprobe loop`, before a pool on files is set up")
        }
        Module::Absent => Finding::warning(
            format!(
                "this kernel ({}) has no loop devices, so there can be no pools on files",
                machine.kernel
            ),
            "use block devices, or a kernel with CONFIG_BLK_DEV_LOOP",
        ),
    }]
}

/// Whether this is only about who asks.
fn is_refusal(error: &dm::Error) -> bool {
    use nix::errno::Errno;
    matches!(error, dm::Error::Control { errno: Errno::EACCES | Errno::EPERM })
}

enum Module {
    Loaded,
    BuiltIn,
    Loadable,
    Absent,
}

/// How the running kernel has a module.
fn module(machine: &Machine, name: &str) -> Module {
    let modules = format!("/lib/modules/{}", machine.kernel);
    // Files are named with either - or _, whatever the module's own name has.
    let listed = |file: &str| {
        let text = machine.read(&format!("{modules}/{file}")).unwrap_or_default();
        let listed = |line: &str| {
            let path = line.split(':').next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            file.split('.').next().unwrap_or_default().replace('-', "_") == name
        };
        text.lines().any(listed)
    };
    if machine.has(&format!("/sys/module/{name}")) {
        Module::Loaded
    } else if listed("modules.builtin") {
        Module::BuiltIn
    } else if listed("modules.dep") {
        Module::Loadable
    } else {
        Module::Absent
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::testing::{Bench, levels};
    use super::*;
    use crate::dm::{Version, Versions};
    use crate::doctor::Level;

    const DEP: &str = "lib/modules/6.1.0-test/modules.dep";

    #[test]
    fn a_kernel_without_the_target_is_a_problem_that_names_the_package() {
        let found = thin_pool(&Bench::new().with(DEP, "kernel/drivers/md/dm-mod.ko:").machine());
        assert_eq!(levels(&found), [Level::Problem]);
        assert!(found[0].remedy.as_ref().unwrap().contains("linux-modules-extra"), "{found:?}");
    }

    #[test]
    fn a_module_that_is_not_loaded_yet_is_no_worry() {
        let dep = "kernel/drivers/md/dm-thin-pool.ko.xz: kernel/drivers/md/dm-bio-prison.ko.xz";
        assert_eq!(levels(&thin_pool(&Bench::new().with(DEP, dep).machine())), [Level::Ok]);
    }

    #[test]
    fn a_user_who_may_not_ask_the_kernel_is_told_so_and_nothing_else() {
        let mut machine = Bench::new().machine();
        machine.device_mapper = Err(dm::Error::Control { errno: Errno::EACCES });
        assert_eq!(levels(&driver(&machine)), [Level::Note]);
        machine.device_mapper = Err(dm::Error::Control { errno: Errno::ENOENT });
        assert_eq!(levels(&driver(&machine)), [Level::Problem]);
    }

    #[test]
    fn a_driver_without_deferred_removal_is_told() {
        let mut machine = Bench::new().machine();
        let version = |minor| Version { major: 4, minor, patch: 0 };
        for (minor, level) in [(26, Level::Note), (27, Level::Ok)] {
            machine.device_mapper = Ok(Versions { driver: version(minor), thin_pool: None, library: None });
            assert_eq!(levels(&driver(&machine)), [level]);
        }
    }

    #[test]
    fn a_kernel_without_loop_devices_is_told() {
        assert_eq!(levels(&loop_devices(&Bench::new().machine())), [Level::Warning]);
        assert_eq!(levels(&loop_devices(&Bench::new().with("dev/loop-control", "").machine())), [Level::Ok]);
    }
}

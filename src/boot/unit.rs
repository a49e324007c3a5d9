//! The drop-in of a pool's unit: what differs from pool to pool.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Needs;
use crate::units::PoolName;

/// The drop-in while a pool is being destroyed.
pub(super) const NOTHING_TO_STOP: &str = "\
# The pool is gone; `thinpool destroy` is about to remove this file.
[Service]
ExecStop=
";

/// The unit's name. Each character of a pool's name may stand in a unit's name as it is.
pub(super) fn name(pool: &PoolName) -> String {
    format!("thinpool@{pool}.service")
}

/// The name of the unit of the pool's monitor.
pub(super) fn monitor_name(pool: &PoolName) -> String {
    format!("thinpool-monitor@{pool}.service")
}

/// Where the drop-in is.
pub(super) fn drop_in(pool: &PoolName) -> PathBuf {
    drop_in_of(&name(pool))
}

/// Where the monitor's is.
pub(super) fn monitor_drop_in(pool: &PoolName) -> PathBuf {
    drop_in_of(&monitor_name(pool))
}

/// The link that is there as long as the monitor is enabled: it comes with the pool's unit.
pub(super) fn monitor_link(pool: &PoolName) -> PathBuf {
    Path::new("/etc/systemd/system").join(format!("{}.wants", name(pool))).join(monitor_name(pool))
}

fn drop_in_of(unit: &str) -> PathBuf {
    Path::new("/etc/systemd/system").join(format!("{unit}.d")).join("backing.conf")
}

/// What stands in the drop-in. A pool that comes `early` is active before the first file system is mounted, and so
/// is stopped when the last one is unmounted; one that is itself on a file system that has to be mounted can't be.
pub(super) fn text(pool: &PoolName, root: &Path, needs: &Needs, early: bool) -> String {
    let mut text = format!(
        "{}# What the pool '{pool}' waits for. Written by `thinpool setup`, removed by `thinpool destroy`;\n\
         # your own changes belong in another file: systemctl edit {}\n[Unit]\n",
        owner(root),
        name(pool)
    );
    let mut line = |key: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{key}={value}");
    };
    for directory in &needs.directories {
        line("RequiresMountsFor", &quoted(&directory.to_string_lossy()));
    }
    for device in &needs.devices {
        let unit = device_unit(&device.link());
        line("BindsTo", &unit);
        line("After", &unit);
    }
    if let Some(pool) = &needs.thin_pool {
        // Without a failure: until then there is nothing to do, and then udev's rule starts the unit.
        line("ConditionPathExists", &format!("/dev/mapper/{}", pool.name).replace('%', "%%"));
    }
    if early {
        line("Wants", "local-fs-pre.target");
        line("Before", "local-fs-pre.target");
    }
    text.push('\n');
    text + &service(root, needs)
}

/// What stands in the monitor's.
pub(super) fn monitor_text(pool: &PoolName, root: &Path, needs: &Needs) -> String {
    let unit = monitor_name(pool);
    format!(
        "{}# Where the pool '{pool}' is. Written by `thinpool setup`, removed by `thinpool destroy`;\n\
         # your own changes belong in another file: systemctl edit {unit}\n{}",
        owner(root),
        service(root, needs)
    )
}

fn service(root: &Path, needs: &Needs) -> String {
    let mut text = "[Service]\n".to_owned();
    // Also where it is the default: the configuration may say otherwise by the next boot. Its quotes are read twice, in
    // this file and on the command line.
    let option = format!("THINPOOL_OPTIONS={}", in_quotes(&format!("--root={}", root.to_string_lossy())));
    let _ = writeln!(text, "Environment={}", quoted(&option));
    for directory in &needs.directories {
        let _ = writeln!(text, "ReadWritePaths={}", quoted(&format!("-{}", directory.to_string_lossy())));
    }
    text
}

/// The first line: of which root the pool is. There may be another of the same name under another root.
pub(super) fn owner(root: &Path) -> String {
    format!("# Root: {}\n", root.display())
}

/// A value in a unit file, where % starts a specifier.
fn quoted(value: &str) -> String {
    in_quotes(value).replace('%', "%%")
}

fn in_quotes(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The unit of a device by one of its paths, as systemd-escape(1) has it.
fn device_unit(path: &Path) -> String {
    let mut name = String::new();
    for (index, byte) in path.as_os_str().as_bytes().iter().skip_while(|byte| **byte == b'/').enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(*byte)),
            _ => {
                let _ = write!(name, "\\x{byte:02x}");
            }
        }
    }
    name + ".device"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::block::Identity;

    fn pool() -> PoolName {
        "ci-2.x_y".parse().expect("a name")
    }

    #[test]
    fn a_pools_name_is_its_instance_name() {
        assert_eq!(name(&pool()), "thinpool@ci-2.x_y.service");
        assert_eq!(
            drop_in(&pool()),
            Path::new("/etc/systemd/system/thinpool@ci-2.x_y.service.d/backing.conf")
        );
    }

    #[test]
    fn the_unit_waits_for_its_devices_and_mounts_and_comes_before_what_mounts_from_it() {
        let needs = Needs {
            devices: vec![Identity::DmUuid("LVM-x".into())],
            thin_pool: None,
            directories: vec!["/var/lib/thinpool/ci-2.x_y".into()],
        };
        let text = text(&pool(), Path::new("/var/lib/thinpool"), &needs, true);
        let (unit, service) = text.split_once("[Service]").expect("two sections");
        for line in [
            r#"RequiresMountsFor="/var/lib/thinpool/ci-2.x_y""#,
            r"BindsTo=dev-disk-by\x2did-dm\x2duuid\x2dLVM\x2dx.device",
            r"After=dev-disk-by\x2did-dm\x2duuid\x2dLVM\x2dx.device",
            "Before=local-fs-pre.target",
            "Wants=local-fs-pre.target",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line} in {unit}");
        }
        assert!(
            service.contains(r#"Environment="THINPOOL_OPTIONS=\"--root=/var/lib/thinpool\"""#),
            "{service}"
        );
    }

    #[test]
    fn a_pool_on_a_mounted_file_system_is_not_ordered_before_that_mount() {
        let text = text(&pool(), Path::new("/var/lib/thinpool"), &Needs::default(), false);
        assert!(!text.contains("local-fs"), "{text}");
    }

    #[test]
    fn a_root_with_odd_characters_reaches_the_command_as_one_word() {
        let needs = Needs { directories: vec![r#"/srv/100% "full"/x"#.into()], ..Needs::default() };
        let text = text(&pool(), Path::new("/srv/my pools/50%"), &needs, false);
        assert!(text.contains(r#"Environment="THINPOOL_OPTIONS=\"--root=/srv/my pools/50%%\"""#), "{text}");
        assert!(text.contains(r#"RequiresMountsFor="/srv/100%% \"full\"/x""#), "{text}");
        assert!(text.contains(r#"ReadWritePaths="-/srv/100%% \"full\"/x""#), "{text}");
    }

    #[test]
    fn a_devices_unit_has_the_name_that_systemd_escape_gives_it() {
        for (path, unit) in [
            ("/dev/sda", "dev-sda.device"),
            ("/dev/disk/by-partuuid/0fc6-01", r"dev-disk-by\x2dpartuuid-0fc6\x2d01.device"),
            ("/dev/disk/by-id/wwn-0x5:1,a b", r"dev-disk-by\x2did-wwn\x2d0x5:1\x2ca\x20b.device"),
        ] {
            assert_eq!(device_unit(Path::new(path)), unit);
        }
    }
}

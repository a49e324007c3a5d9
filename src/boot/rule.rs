//! The rule by which udev starts a pool's unit when a device of its backing appears: at boot it waits for that, but not
//! for ever.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Needs, unit};
use crate::backing::block::Identity;
use crate::units::PoolName;

/// Where the rule is: behind those that find out what a device is.
pub(super) fn path(pool: &PoolName) -> PathBuf {
    Path::new("/etc/udev/rules.d").join(format!("95-thinpool-{pool}.rules"))
}

/// The rule, if the pool has devices that may appear late. Starting a unit that is active, or waits for another device
/// still, does nothing; one whose wait ended in vain waits anew.
///
/// Only what appears counts. Whoever closes a device that was open for writing makes an event as well, and with each that
/// names a unit, systemd starts it if it is not active: a pool that was stopped so that its metadata could be repaired would
/// be made active by the repair, and one that is being destroyed by its wiping.
///
/// A thin pool of somebody else's is hidden from systemd as ours are, which has no unit for such a device that could want
/// another: there, udev starts the unit itself.
pub(super) fn text(pool: &PoolName, needs: &Needs) -> Option<String> {
    if needs.devices.is_empty() && needs.thin_pool.is_none() {
        return None;
    }
    let unit = unit::name(pool);
    let mut text = format!(
        "# Starts the pool '{pool}' when its backing appears late. Written by `thinpool setup`, removed by\n\
         # `thinpool destroy`. Only while the unit is enabled:\n\
         TEST!=\"/etc/systemd/system/sysinit.target.wants/{unit}\", GOTO=\"thinpool_end\"\n"
    );
    for device in &needs.devices {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{}, SUBSYSTEM==\"block\", {}, TAG+=\"systemd\", ENV{{SYSTEMD_WANTS}}+=\"{unit}\"",
            appears(device),
            device.udev_match(),
        );
    }
    if let Some(pool) = &needs.thin_pool {
        let _ = writeln!(
            text,
            "ACTION==\"change\", SUBSYSTEM==\"block\", ENV{{DM_UUID}}==\"{}\", ENV{{DM_SUSPENDED}}!=\"1\", \
             RUN+=\"/bin/systemctl --no-block start {unit}\"",
            pattern(&pool.uuid),
        );
    }
    text.push_str("LABEL=\"thinpool_end\"\n");
    Some(text)
}

/// What tells that a device appears from what else happens to it.
fn appears(device: &Identity) -> &'static str {
    match device {
        // It is added without a table, and changed when it gets one; this is what device-mapper's rules call that.
        Identity::DmUuid(_) => r#"ACTION=="change", ENV{DM_ACTIVATION}=="1""#,
        // It is added without its disks, and nothing tells the change that brings them from another.
        Identity::MdUuid(_) => r#"ACTION!="remove""#,
        Identity::PartUuid(_) | Identity::Wwn(_) | Identity::Serial(_) => r#"ACTION=="add""#,
    }
}

/// A uuid as udev's patterns have it. What would mean something else there matches as any one character.
fn pattern(uuid: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:+-=".contains(c);
    uuid.chars().map(|c| if plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::ExistingPool;

    #[test]
    fn a_backing_that_appears_late_starts_its_pool_and_no_other() {
        let pool = "ci".parse().expect("a name");
        let devices = vec![Identity::PartUuid("6d1c-01".into()), Identity::Serial("virtio-meta".into())];
        let text = text(&pool, &Needs { devices, ..Needs::default() }).expect("a rule");
        for link in ["disk/by-partuuid/6d1c-01", "disk/by-id/virtio-meta"] {
            let rule = text.lines().find(|line| line.contains(link)).expect("a line for each device");
            assert!(rule.contains(&format!("SYMLINK==\"{link}\", TAG+=\"systemd\"")), "{rule}");
            assert!(rule.ends_with(r#"ENV{SYSTEMD_WANTS}+="thinpool@ci.service""#), "{rule}");
            assert!(rule.starts_with(r#"ACTION=="add", "#), "what else happens to it is no reason: {rule}");
        }
    }

    #[test]
    fn a_volume_that_is_made_active_starts_its_pool_and_one_that_is_written_to_does_not() {
        let needs = Needs { devices: vec![Identity::DmUuid("LVM-a".into())], ..Needs::default() };
        let text = text(&"ci".parse().expect("a name"), &needs).expect("a rule");
        let rule = text.lines().find(|line| line.contains("dm-uuid-LVM-a")).expect("a line");
        assert!(rule.starts_with(r#"ACTION=="change", ENV{DM_ACTIVATION}=="1", "#), "{rule}");
    }

    #[test]
    fn a_thin_pool_that_somebody_else_makes_active_starts_its_unit_when_it_comes() {
        let thin_pool = Some(ExistingPool { name: "vg-pool-tpool".into(), uuid: "LVM-a*\"-tpool".into() });
        let needs = Needs { thin_pool, ..Needs::default() };
        let text = text(&"ci".parse().expect("a name"), &needs).expect("a rule");
        let rule = text.lines().find(|line| line.contains("LVM-a")).expect("a line");
        assert!(rule.contains(r#"ENV{DM_UUID}=="LVM-a??-tpool""#), "{rule}");
        assert!(rule.ends_with(r#"RUN+="/bin/systemctl --no-block start thinpool@ci.service""#), "{rule}");
    }

    #[test]
    fn a_pool_on_files_needs_no_rule() {
        assert_eq!(text(&"ci".parse().expect("a name"), &Needs::default()), None);
    }
}

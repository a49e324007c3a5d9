//! Pools on loop files: one on the root file system, one on a file system that is mounted at boot.

use crate::machine::{Disk, Machine};
use crate::there_are_machines;

const STATE: &[Disk] = &[Disk::At("state")];

/// Two pools; the second has its state, under a path with a blank and a percent sign, on a disk of its own.
const SET_UP: &str = r#"
    install_thinpool
    systemd-analyze verify --man=no /usr/lib/systemd/system/thinpool*.service 2>&1 | tee /tmp/verify
    [ ! -s /tmp/verify ] || fail "the units have faults"

    thinpool setup "${small_loop[@]}"
    new_container thinpool web
    in_fstab /dev/mapper/thinpool-web /srv/web

    mkfs.ext4 -q /dev/disk/by-id/virtio-state
    in_fstab /dev/disk/by-id/virtio-state /mnt/state
    root="/mnt/state/my pools at 50%"
    thinpool --pool ci-2.x --root "$root" setup "${small_loop[@]}"
    new_container ci-2.x web --root "$root"
    mkdir -p /srv/unit
    printf '[Mount]\nWhat=/dev/mapper/ci-2.x-web\nWhere=/srv/unit\n[Install]\nWantedBy=local-fs.target\n' \
        >/etc/systemd/system/srv-unit.mount
    systemctl daemon-reload
    systemctl enable --now srv-unit.mount

    fill /srv/web
    fill /srv/unit
    # Only what was activated comes back.
    thinpool container create of-tests --name idle
    thinpool container mount idle
"#;

const ALL_THERE: &str = r#"
    assert_booted_well
    assert_active thinpool@thinpool.service thinpool@ci-2.x.service srv-web.mount srv-unit.mount
    assert_active thinpool-monitor@thinpool.service thinpool-monitor@ci-2.x.service
    assert_filled /srv/web
    assert_filled /srv/unit
    [ ! -e /dev/mapper/thinpool-idle ] || fail "a container came back that was only mounted"
    journalctl -b --no-pager -u thinpool@thinpool.service -u thinpool@ci-2.x.service
"#;

const CHANGE: &str = r"
    cp /bin/bash /srv/web/bash
    sync -f /srv/web
    thinpool container create of-tests --name late
";

/// Both pools are there after the power cut, and what is destroyed doesn't come back.
const AFTER_THE_CUT: &str = r#"
    cmp /bin/bash /srv/web/bash
    [[ $(thinpool container list) == *late* ]] || fail "a container is gone that was acknowledged"
    umount /srv/web
    sed -i '\,/srv/web,d' /etc/fstab
    thinpool destroy --yes
    systemctl daemon-reload
    assert_booted_well
    [ "$(systemctl is-active thinpool@thinpool.service)" = inactive ] || fail "the unit of a pool that is gone is active"
    [ "$(systemctl is-enabled thinpool@thinpool.service)" = disabled ] || fail "the unit of a pool that is gone is enabled"
    [ "$(systemctl is-enabled thinpool-monitor@thinpool.service)" = disabled ] || fail "the monitor of a pool that is gone is enabled"
    [ ! -e /etc/systemd/system/thinpool-monitor@thinpool.service.d ] || fail "the drop-in of its monitor is there"
    [ ! -e /etc/systemd/system/thinpool@thinpool.service.d ] || fail "the drop-in of a pool that is gone is there"
"#;

#[test]
fn pools_on_files_are_back_with_all_in_them_after_a_reboot_and_after_a_power_cut() {
    if !there_are_machines() {
        return;
    }
    let machine = Machine::new();
    machine.add_disk("state", 4 << 30);
    machine.boot_well(STATE, SET_UP);
    machine.boot_and_cut_power(STATE, &[ALL_THERE, CHANGE].concat());
    machine.boot_well(STATE, &[ALL_THERE, AFTER_THE_CUT].concat());
}

//! Pools through a reboot and a power cut: on loop files on the root file system, on loop files on a file system that is mounted
//! at boot, and on volumes. All in one machine, since each boot takes half a minute where it is emulated.

use crate::machine::{Disk, Machine};
use crate::there_are_machines;

const DISKS: &[Disk] = &[Disk::At("state"), Disk::At("lvm")];

/// Two pools on files; the second has its state, under a path with a blank and a percent sign, on a disk of its own.
const ON_FILES: &str = r#"
    install_thinpool
    systemd-analyze verify --man=no /usr/lib/systemd/system/thinpool*.service 2>&1 | tee /tmp/verify
    [ ! -s /tmp/verify ] || fail "the units have faults"

    mkdir -p /etc/thinpool
    echo 'metadata-backup-changes = 1' >/etc/thinpool/thinpool.toml
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

    # Within the restrictions of their units.
    for backups in /var/lib/thinpool/thinpool/backups "$root/ci-2.x/backups"; do
        wait_for "a backup by the monitor in $backups" compgen -G "$backups/metadata-*"
    done
"#;

/// The recipe for volumes by hand.
const ON_VOLUMES: &str = r#"
    pvcreate -q /dev/disk/by-id/virtio-lvm
    vgcreate -q direct-lvm /dev/disk/by-id/virtio-lvm
    lvcreate -q --wipesignatures y -n data direct-lvm -l 80%VG
    lvcreate -q --wipesignatures y -n metadata direct-lvm -l 5%VG
    thinpool --pool lvm setup --datadev /dev/direct-lvm/data --metadatadev /dev/direct-lvm/metadata "${small[@]}"
    new_container lvm web
    in_fstab /dev/mapper/lvm-web /srv/lvm
    fill /srv/lvm
"#;

const ALL_THERE: &str = r#"
    assert_booted_well
    assert_active thinpool@thinpool.service thinpool@ci-2.x.service srv-web.mount srv-unit.mount
    assert_active thinpool@lvm.service thinpool-monitor@lvm.service srv-lvm.mount
    assert_filled /srv/lvm
    assert_active thinpool-monitor@thinpool.service thinpool-monitor@ci-2.x.service
    assert_filled /srv/web
    assert_filled /srv/unit
    [ ! -e /dev/mapper/thinpool-idle ] || fail "a container came back that was only mounted"
    journalctl -b --no-pager -u thinpool@thinpool.service -u thinpool@ci-2.x.service
"#;

const CHANGE: &str = r"
    for there in /srv/web /srv/lvm; do
        cp /bin/bash $there/bash
        sync -f $there
    done
    thinpool container create of-tests --name late
";

/// All of the metadata was checked before a pool was loaded, what was acknowledged is there, and what is destroyed doesn't come back.
const AFTER_THE_CUT: &str = r#"
    for pool in thinpool lvm; do
        journalctl -b --no-pager -u "thinpool@$pool.service" | grep 'sound (full, after an unclean one' ||
            fail "the journal does not tell of a full check of $pool"
        thinpool --pool "$pool" status | grep 'Metadata Check: sound (full' || fail "the status of $pool does not tell of a full check"
    done
    cmp /bin/bash /srv/lvm/bash
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
fn pools_on_files_and_volumes_are_back_with_all_in_them_after_a_reboot_and_after_a_power_cut() {
    if !there_are_machines() {
        return;
    }
    let machine = Machine::new();
    machine.add_disk("state", 4 << 30);
    machine.add_disk("lvm", 4 << 30);
    machine.boot_well(DISKS, &[ON_FILES, ON_VOLUMES].concat());
    machine.boot_and_cut_power(DISKS, &[ALL_THERE, CHANGE].concat());
    machine.boot_well(DISKS, &[ALL_THERE, AFTER_THE_CUT].concat());
}

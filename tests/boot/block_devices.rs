//! Pools on block devices: logical volumes, a partition, a whole disk; swapped, late, and not there at all.

use crate::machine::{Disk, Machine};
use crate::there_are_machines;

const CHECK: &str = "
    assert_booted_well
    assert_active thinpool@thinpool.service srv-web.mount
    assert_filled /srv/web
";

/// The recipe for volumes by hand.
const ON_VOLUMES: &str = "
    install_thinpool
    pvcreate -q /dev/disk/by-id/virtio-lvm
    vgcreate -q direct-lvm /dev/disk/by-id/virtio-lvm
    lvcreate -q --wipesignatures y -n data direct-lvm -l 80%VG
    lvcreate -q --wipesignatures y -n metadata direct-lvm -l 5%VG
    thinpool setup --datadev /dev/direct-lvm/data --metadatadev /dev/direct-lvm/metadata \"${small[@]}\"
    new_container thinpool web
    in_fstab /dev/mapper/thinpool-web /srv/web
    fill /srv/web
";

/// All of the metadata was checked before the pool was loaded, and what was acknowledged is there.
const AFTER_A_POWER_CUT: &str = "
    journalctl -b --no-pager -u thinpool@thinpool.service | grep 'sound (full, after an unclean one' ||
        fail 'the journal does not tell of a full check'
    thinpool status | grep 'Metadata Check: sound (full' || fail 'the status does not tell of a full check'
    cmp /bin/bash /srv/web/bash
";

#[test]
fn a_pool_on_volumes_is_back_with_all_in_it_after_a_reboot_and_after_a_power_cut() {
    if !there_are_machines() {
        return;
    }
    let (machine, disks) = (Machine::new(), [Disk::At("lvm")]);
    machine.add_disk("lvm", 4 << 30);
    machine.boot_well(&disks, ON_VOLUMES);
    machine.boot_and_cut_power(&disks, &[CHECK, "cp /bin/bash /srv/web/bash; sync -f /srv/web"].concat());
    machine.boot_well(&disks, &[CHECK, AFTER_A_POWER_CUT].concat());
}

/// A unit that was stopped stays so, although closing its devices is an event that udev's rule sees.
const ON_DISKS: &str = "
    install_thinpool
    echo 'type=linux' | sfdisk -q /dev/disk/by-id/virtio-data
    udevadm settle
    thinpool setup --datadev /dev/disk/by-id/virtio-data-part1 --metadatadev /dev/disk/by-id/virtio-meta \"${small[@]}\"
    systemctl start thinpool@thinpool.service
    systemctl stop thinpool@thinpool.service
    udevadm settle
    [ \"$(systemctl is-active thinpool@thinpool.service)\" = inactive ] || fail 'a unit that was stopped came back'
    systemctl start thinpool@thinpool.service
    new_container thinpool web
    in_fstab /dev/mapper/thinpool-web /srv/web
    fill /srv/web
";

/// From now on no boot waits long for the pool.
const LOSE_PATIENCE: &str = r#"
    options=ext4\ nofail,x-systemd.device-timeout=3s
    sed -i 's/^\(.dev.mapper.thinpool-web .srv.web\) ext4 defaults/\1 '"$options"'/' /etc/fstab
    sed -n 's/^BindsTo=//p' /etc/systemd/system/thinpool@thinpool.service.d/backing.conf | while read -r device; do
        mkdir "/etc/systemd/system/$device.d"
        printf '[Unit]\nJobRunningTimeoutSec=3s\n' >"/etc/systemd/system/$device.d/patience.conf"
    done
"#;

const NOT_THERE_AND_THEN: &str = "
    # As long as it is not there: a boot that came to its end, and a clear word.
    assert_booted_well
    [ \"$(systemctl is-active thinpool@thinpool.service)\" = inactive ] || fail 'the unit is not inactive'
    journalctl -b --no-pager | grep 'Dependency failed for thinpool@thinpool.service' || fail 'the journal does not tell'
    code=0
    thinpool status >/tmp/status || code=$?
    [ $code = 5 ] || fail \"the exit code of the status of a pool without its data device: $code\"
    grep -i 'data is missing.*partition uuid' /tmp/status || fail 'the status does not tell which device is missing'
    # And when it comes, nobody has to do anything.
    echo 'plug in data' >/dev/kmsg
    udevadm wait --timeout=120 /dev/disk/by-id/virtio-data-part1
    timeout 60 bash -c 'until systemctl is-active thinpool@thinpool.service; do sleep 0.2; done'
    mount /srv/web
    assert_filled /srv/web
";

#[test]
fn disks_are_found_again_when_they_are_swapped_or_late_and_missed_when_they_are_not_there() {
    if !there_are_machines() {
        return;
    }
    let machine = Machine::new();
    machine.add_disk("meta", 64 << 20);
    machine.add_disk("data", 4 << 30);
    machine.boot_well(&[Disk::At("meta"), Disk::At("data")], ON_DISKS);
    machine.boot_well(&[Disk::At("data"), Disk::At("meta")], CHECK);
    machine.boot_well(&[Disk::At("meta"), Disk::Late("data", 20)], &[CHECK, LOSE_PATIENCE].concat());
    machine.boot_well(&[Disk::At("meta"), Disk::WhenAsked("data")], NOT_THERE_AND_THEN);
}

/// One pool that gets a disk as it is, and one in a thin pool that another service makes active, late.
const MADE_AND_FOUND: &str = r#"
    install_thinpool
    thinpool --pool made setup --device /dev/disk/by-id/virtio-raw "${small[@]}"
    new_container made web
    in_fstab /dev/mapper/made-web /srv/made
    fill /srv/made

    printf 'label: gpt\nsize=64M\nsize=2G\n' | sfdisk -q /dev/disk/by-id/virtio-parts
    udevadm wait --timeout=60 /dev/disk/by-id/virtio-parts-part1 /dev/disk/by-id/virtio-parts-part2
    cat >/etc/systemd/system/other.service <<'UNIT'
[Unit]
Description=A thin pool of somebody else
Before=thinpool@found.service
Requires=dev-disk-by\x2did-virtio\x2dparts\x2dpart1.device dev-disk-by\x2did-virtio\x2dparts\x2dpart2.device
After=dev-disk-by\x2did-virtio\x2dparts\x2dpart1.device dev-disk-by\x2did-virtio\x2dparts\x2dpart2.device
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cd /dev/disk/by-id && exec dmsetup create other --uuid OTHER-1 --table \
    "0 $(blockdev --getsz virtio-parts-part2) thin-pool $PWD/virtio-parts-part1 $PWD/virtio-parts-part2 128 0"'
ExecStop=dmsetup remove other
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl enable --now other.service
    thinpool --pool found setup --thinpooldev other "${small[@]}"
    new_container found web
    in_fstab /dev/mapper/found-web /srv/found _netdev,nofail
    fill /srv/found
"#;

const THERE_AGAIN: &str = "
    timeout 60 bash -c 'until systemctl is-active thinpool@found.service; do sleep 0.2; done'
    assert_booted_well
    assert_active thinpool@made.service srv-made.mount
    assert_filled /srv/made
    systemctl start srv-found.mount
    assert_filled /srv/found
";

#[test]
fn a_pool_on_a_whole_disk_and_one_in_a_pool_of_somebody_elses_are_back_after_a_reboot() {
    if !there_are_machines() {
        return;
    }
    let (machine, disks) = (Machine::new(), [Disk::At("raw"), Disk::At("parts")]);
    machine.add_disk("raw", 4 << 30);
    machine.add_disk("parts", 4 << 30);
    machine.boot_well(&disks, MADE_AND_FOUND);
    machine.boot_well(&disks, THERE_AGAIN);
}

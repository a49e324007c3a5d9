//! Pools on block devices: a partition, a whole disk; swapped, late, and not there at all. (Volumes: `power_cut.rs`.)

use crate::machine::{Disk, Machine};
use crate::there_are_machines;

const CHECK: &str = "
    assert_booted_well
    assert_active thinpool@thinpool.service srv-web.mount
    assert_filled /srv/web
";

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
    machine.boot_well(&[Disk::At("data"), Disk::At("meta")], ON_DISKS);
    // Swapped, and one of them late.
    machine.boot_well(&[Disk::At("meta"), Disk::Late("data", 20)], &[CHECK, LOSE_PATIENCE].concat());
    machine.boot_well(&[Disk::At("meta"), Disk::WhenAsked("data")], NOT_THERE_AND_THEN);
}

/// Disks by what they are known by, before their serial numbers.
const DISKS: &str =
    "nvme=/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_ scsi=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_";

/// Three pools: one that gets an NVMe disk for its volumes; one on whole disks, NVMe and SCSI; and one in a thin pool that
/// another service makes active, late, on a GPT of a SCSI disk.
const MADE_GIVEN_AND_FOUND: &str = r#"
    install_thinpool
    thinpool --pool made setup --device "${nvme}raw" "${small[@]}"
    new_container made web
    in_fstab /dev/mapper/made-web /srv/made
    fill /srv/made

    thinpool --pool given setup --datadev "${nvme}data" --metadatadev "${scsi}meta" "${small[@]}"
    new_container given web
    in_fstab /dev/mapper/given-web /srv/given
    fill /srv/given

    printf 'label: gpt\nsize=64M\nsize=2G\n' | sfdisk -q "${scsi}parts"
    udevadm wait --timeout=60 "${scsi}parts-part1" "${scsi}parts-part2"
    cat >/etc/systemd/system/other.service <<'UNIT'
[Unit]
Description=A thin pool of somebody else
Before=thinpool@found.service
Requires=dev-disk-by\x2did-scsi\x2d0QEMU_QEMU_HARDDISK_parts\x2dpart1.device
After=dev-disk-by\x2did-scsi\x2d0QEMU_QEMU_HARDDISK_parts\x2dpart1.device
Requires=dev-disk-by\x2did-scsi\x2d0QEMU_QEMU_HARDDISK_parts\x2dpart2.device
After=dev-disk-by\x2did-scsi\x2d0QEMU_QEMU_HARDDISK_parts\x2dpart2.device
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cd /dev/disk/by-id && parts=$PWD/scsi-0QEMU_QEMU_HARDDISK_parts-part && \
    exec dmsetup create other --uuid OTHER-1 --table \
    "0 $(blockdev --getsz $${parts}2) thin-pool $${parts}1 $${parts}2 128 0"'
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
    assert_active thinpool@made.service srv-made.mount thinpool@given.service srv-given.mount
    assert_filled /srv/made
    assert_filled /srv/given
    systemctl start srv-found.mount
    assert_filled /srv/found
";

/// A pool that was stopped stays so, whatever is written to its devices, and is back when they are.
const STOPPED: &str = r#"
    systemctl stop srv-made.mount srv-given.mount srv-found.mount thinpool@made.service thinpool@given.service
    for device in "${nvme}data" "${scsi}meta" /dev/direct-lvm-made/data; do
        dd if="$device" of="$device" bs=4096 count=1 conv=notrunc,fsync status=none
    done
    udevadm settle
    for pool in made given; do
        [ "$(systemctl is-active "thinpool@$pool.service")" = inactive ] || fail "the pool $pool was started by a write"
    done
    vgchange -q -an direct-lvm-made
    vgchange -q -ay direct-lvm-made
    timeout 60 bash -c 'until systemctl is-active thinpool@made.service; do sleep 0.2; done'
"#;

/// Wiping the devices and taking volumes away are events that udev's rules see; none of them starts a unit of a pool that is
/// on its way out.
const ALL_DESTROYED: &str = r#"
    # To the microsecond: the pool that was started before may have been started in this very second.
    journalctl --sync
    since=$(date +'%Y-%m-%d %H:%M:%S.%6N')
    for pool in made given found; do
        systemctl stop "thinpool@$pool.service"
        [ "$pool" != found ] || thinpool --pool found activate
        thinpool --pool "$pool" destroy --yes
    done
    udevadm settle
    sed -i '\,/srv/,d' /etc/fstab
    systemctl daemon-reload
    ! journalctl --no-pager --since "$since" | grep -E 'Start(ing|ed) thinpool@' || fail 'a destroyed pool was started'
    [ -z "$(ls /etc/udev/rules.d/95-thinpool-* /etc/systemd/system/thinpool@*.d 2>/dev/null)" ] || fail 'files are left'
    for disk in "${nvme}raw" "${nvme}data" "${scsi}meta"; do
        [ -z "$(wipefs "$disk")" ] || fail "$disk is not blank"
    done
    assert_booted_well
"#;

#[test]
fn pools_on_disks_of_other_kinds_and_in_a_pool_of_somebody_elses_are_back_after_a_reboot_and_gone_when_destroyed()
 {
    if !there_are_machines() {
        return;
    }
    let machine = Machine::new();
    let disks = [Disk::Nvme("raw"), Disk::Scsi("parts"), Disk::Nvme("data"), Disk::Scsi("meta")];
    for (name, size) in [("raw", 4 << 30), ("parts", 4 << 30), ("data", 2 << 30), ("meta", 64 << 20)] {
        machine.add_disk(name, size);
    }
    machine.boot_well(&disks, &[DISKS, MADE_GIVEN_AND_FOUND].concat());
    let swapped = [Disk::Scsi("meta"), Disk::Nvme("data"), Disk::Scsi("parts"), Disk::Nvme("raw")];
    machine.boot_well(&swapped, &[DISKS, THERE_AGAIN, STOPPED, ALL_DESTROYED].concat());
}

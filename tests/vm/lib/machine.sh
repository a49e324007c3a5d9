# One machine: its options, what it is handed, and the QEMU command line. Sourced by `run` and `shell`.
# shellcheck shell=bash

# The image's directory, as `build` printed it: set by the script that sources this.
image=
memory=2G
disk=
extra_disks=()
kept_disks=()
# The bus of each of the kept disks.
kept_buses=()
late_disks=()
console=
passed_env=()
# The process to watch for the machine's end: set by the script that sources this.
qemu=

# take_option ARGUMENTS...: understands the options that `run` and `shell` share, and leaves the number of
# arguments it used in $taken; 0 when the first isn't one of them.
# shellcheck disable=SC2034  # read by the callers
take_option() {
    taken=2
    case $1 in
        --memory) memory=${2:?--memory needs a size, such as 3G} ;;
        --disk) disk=${2:?--disk needs a file name} ;;
        --extra-disk) extra_disks+=("${2:?--extra-disk needs a size, such as 1G}") ;;
        --keep-disk | --nvme-disk | --scsi-disk)
            kept_disks+=("${2:?$1 needs a file name, and :SIZE for a new one}")
            kept_buses+=("$1")
            ;;
        --late-disk) late_disks+=("${2:?--late-disk needs a file name and :SECONDS}") ;;
        --console) console=${2:?--console needs a file name} ;;
        --env) passed_env+=("${2:?--env needs a name}") ;;
        *) taken=0 ;;
    esac
}

# A machine lives in one directory of its own: overlay, payload, console log. It dies with the script.
make_workspace() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/thinpool-vm.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# write_command COMMAND [ARGUMENT...]: what the guest's bash is to run.
write_command() {
    mkdir -p "$work/payload/.machine"
    {
        # shellcheck disable=SC2016  # expands in the guest
        echo 'export PATH=/run/payload:$PATH HOME=/root LANG=C.UTF-8'
        for name in ${passed_env[@]+"${passed_env[@]}"}; do
            [ -z "${!name+set}" ] || printf 'export %s=%q\n' "$name" "${!name}"
        done
        echo "exec $(printf '%q ' "$@")"
    } >"$work/payload/.machine/command"
    [ -z "$disk" ] || touch "$work/payload/.machine/keep"
}

# pack FILE...: everything the guest finds in /run/payload, each file by its last name.
pack() {
    local file
    tar -cf "$work/payload.tar" -C "$work/payload" .machine
    for file; do
        [ -e "$file" ] || die "$file: no such file to hand to the machine"
        tar -rf "$work/payload.tar" -C "$(dirname "$file")" "$(basename "$file")"
    done
}

# Each machine writes into an overlay on the cached image: thrown away, or kept under the name given by --disk.
make_disks() {
    local index kept
    overlay=${disk:-$work/disk.qcow2}
    if [ ! -e "$overlay" ]; then
        qemu-img create -q -f qcow2 -F raw -b "$image/disk.img" "$overlay" || die "can't create the disk $overlay"
    elif ! qemu-img info "$overlay" >/dev/null 2>&1; then
        die "$overlay is no disk that can be started: not made by --disk, or still in use"
    fi
    for index in "${!extra_disks[@]}"; do
        truncate -s "${extra_disks[index]}" "$work/extra$index"
    done
    for kept in ${kept_disks[@]+"${kept_disks[@]}"}; do keep_disk "$kept"; done
    for kept in ${late_disks[@]+"${late_disks[@]%:*}"}; do keep_disk "$kept"; done
}

# keep_disk FILE[:SIZE]: a disk that outlives the machine, made when it isn't there.
keep_disk() {
    local file=${1%%:*} size=${1#*:}
    [ ! -e "$file" ] || return 0
    [ "$size" != "$1" ] || die "there is no disk $file; --keep-disk $file:SIZE makes one"
    truncate -s "$size" "$file" || die "can't create the disk $file"
}

# add_drive NAME FILE FORMAT [BUS]: the guest finds it as /dev/disk/by-id/virtio-NAME. No flushes: a power cut of the host
# costs a throwaway disk, and a guest that crashes still finds what it wrote.
add_drive() {
    add_medium "$@"
    case ${4:-} in
        --nvme-disk) machine+=(-device "nvme,drive=$1,serial=$1") ;;
        # On a bus of its own, so that the order of the options is theirs here as well.
        --scsi-disk) machine+=(-device virtio-scsi-pci -device "scsi-hd,drive=$1,serial=$1") ;;
        *) machine+=(-device "$(drive_device "$1")") ;;
    esac
}

# A file that some device may be made of later.
add_medium() {
    machine+=(-drive "if=none,id=$1,file=$2,format=$3,cache=unsafe,discard=unmap")
}

# The kernel shows 20 bytes of a serial number.
drive_device() { echo "virtio-blk-pci,drive=$1,serial=${1:0:20}"; }

# add_late_disks: QEMU knows the disks from the start, and $work/monitor.in plugs them in (see plug_late_disks).
add_late_disks() {
    local late file
    [ ${#late_disks[@]} -gt 0 ] || return 0
    mkfifo "$work/monitor.in" "$work/monitor.out"
    machine+=(-chardev "pipe,id=monitor,path=$work/monitor" -mon "chardev=monitor")
    for late in "${late_disks[@]}"; do
        file=${late%:*}
        add_medium "$(basename "$file")" "$file" raw
    done
}

# plug_late_disks: plugs each disk into the running machine when its time has come. In the background: what is left of
# it when the machine has ended finds no monitor, and has no output that anybody would wait for.
plug_late_disks() {
    local late name
    [ ${#late_disks[@]} -gt 0 ] || return 0
    cat "$work/monitor.out" >"$work/monitor.log" &
    for late in "${late_disks[@]}"; do
        name=$(basename "${late%:*}")
        (wait_until_due "$name" "${late##*:}" && echo "device_add $(drive_device "$name")" >"$work/monitor.in") \
            >/dev/null 2>&1 &
    done
}

# wait_until_due NAME SECONDS|asked: for so long, or until the machine asks for it on its console.
wait_until_due() {
    if [ "$2" = asked ]; then
        # No pipeline: that would only end when the console has one more line to say.
        grep -q -m 1 "plug in $1" < <(exec tail --pid="$qemu" -n +1 -F "${console:-$work/console}")
    else
        sleep "$2"
    fi
}

# Adds to $kernel_arguments as well.
add_accelerator() {
    if has_kvm; then
        machine+=(-accel kvm -cpu host)
    else
        # With "enhanced" string instructions the kernel clears and copies byte by byte, each of which is emulated as one
        # step; without, by words: files in memory are written and read at two to six times the speed. The others cost the
        # kernel more where they are emulated than they do anything for it: another level of page tables to walk, and
        # instructions around each access to a process's memory.
        machine+=(-accel "tcg,thread=multi" -cpu "max,-erms,-la57,-pku,-smap,-smep,-umip")
        # A translation is good for one virtual address: with programs at random ones, every start translates all anew,
        # and takes twice the time.
        kernel_arguments+=" norandmaps"
        # The time without leaving the guest, and none of what the kernel does for safety's sake or keeps account of.
        kernel_arguments+=" clocksource=tsc tsc=reliable"
        kernel_arguments+=" init_on_alloc=0 hardened_usercopy=off audit=0 lsm=capability cgroup_disable=memory"
        # The kernel patches its own code, most of it while it starts. QEMU 7.2 may keep a translation of what was there a moment
        # before (int3, see Linux's text_poke_bp) when another processor runs just that code, which then faults there for ever. So
        # the others come after that: image/initramfs-init brings them. Nor is the code first made one for a single processor.
        kernel_arguments+=" maxcpus=1 noreplace-smp"
    fi
}

# machine_command UNIT: fills $machine with the QEMU command that boots into UNIT. A panic or an oops ends QEMU:
# the kernel reboots at once, which -no-reboot turns into an exit.
machine_command() {
    local index kept kernel_arguments
    kernel_arguments="console=ttyS0 root=/dev/vda rw mitigations=off panic=-1 oops=panic"
    kernel_arguments+=" systemd.wants=$1 systemd.show_status=error"
    # The journal as well, since nothing else tells of the last moments of a shutdown.
    if [ -n "$console" ]; then
        kernel_arguments+=" loglevel=7 systemd.journald.forward_to_console=1 systemd.journald.max_level_console=info"
    else
        kernel_arguments+=" loglevel=5"
    fi
    # setpriv: even when this script is killed outright, QEMU doesn't outlive it.
    machine=(setpriv --pdeathsig KILL qemu-system-x86_64
        -smp 2 -m "$memory" -nodefaults -no-user-config -display none -no-reboot)
    add_accelerator
    machine+=(-kernel "$image/vmlinux" -initrd "$image/initramfs" -append "$kernel_arguments")
    add_drive root "$overlay" qcow2
    add_drive payload "$work/payload.tar" "raw,read-only=on"
    for index in "${!extra_disks[@]}"; do add_drive "extra$index" "$work/extra$index" raw; done
    for index in "${!kept_disks[@]}"; do
        kept=${kept_disks[index]%%:*}
        add_drive "$(basename "$kept")" "$kept" raw "${kept_buses[index]}"
    done
    add_late_disks
}

# What the scripts of boot tests share. Sourced in the machine.
# shellcheck shell=bash
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR

# A pool that is made in no time.
small=(--base-size 512M --fs ext4)
# shellcheck disable=SC2034  # for the scripts
small_loop=("${small[@]}" --loop-data-size 2G --loop-metadata-size 16M)

fail() {
    echo "failed: $*" >&2
    exit 1
}

# wait_for WHAT COMMAND...: waits until the command succeeds, two minutes at most.
wait_for() {
    local what=$1 give_up=$((SECONDS + 120))
    shift
    until "$@" >/dev/null; do
        [ $SECONDS -lt $give_up ] || fail "waited for $what in vain"
        sleep 0.2
    done
}

# As a package would: the command and its units in their places.
install_thinpool() {
    install -m 755 /run/payload/thinpool /usr/sbin/thinpool
    install -m 644 -t /usr/lib/systemd/system /run/payload/systemd/*.service
    systemctl daemon-reload
}

# new_container POOL NAME [OPTION...]: a container of an image with one file, active and with a file system to mount.
new_container() {
    local pool=$1 name=$2 tree
    shift 2
    if [[ $(thinpool --pool "$pool" "$@" image list --json) != *'"of-tests"'* ]]; then
        tree=$(mktemp -d)
        echo "of the image" >"$tree/image"
        thinpool --pool "$pool" "$@" image import of-tests "$tree" >/dev/null 2>&1
    fi
    thinpool --pool "$pool" "$@" container create of-tests --name "$name" >/dev/null
    thinpool --pool "$pool" "$@" container activate "$name" >/dev/null
}

# in_fstab DEVICE DIRECTORY [OPTIONS]: mounts a device, at every boot, and now.
in_fstab() {
    mkdir -p "$2"
    echo "$1 $2 ext4 ${3:-defaults} 0 2" >>/etc/fstab
    systemctl daemon-reload
    systemctl start "$(systemd-escape --path --suffix=mount "$2")"
}

# fill DIRECTORY: content that would show the loss of any block of it.
fill() {
    cp -r /usr/lib/systemd "$1/content"
    (cd "$1" && find content -type f -exec sha256sum {} +) >"$1/sums"
    sync -f "$1"
}

assert_filled() {
    mountpoint -q "$1" || fail "nothing is mounted at $1"
    (cd "$1" && sha256sum --check --quiet --strict sums) || fail "the content of $1 is not what it was"
    [ "$(cat "$1/image")" = "of the image" ] || fail "the image's file in $1 is not what it was"
}

assert_active() {
    local unit
    for unit; do
        systemctl is-active --quiet "$unit" || { systemctl status --no-pager "$unit" || true; fail "$unit isn't active"; }
    done
}

# Nothing failed on the way up, and no unit was left out to break a cycle. It is over when nothing is being started any more: no
# target waits for a pool's monitor.
assert_booted_well() {
    local failed
    timeout 120 systemctl is-system-running --wait >/dev/null || true
    failed=$(systemctl --failed --plain --no-legend)
    [ -z "$failed" ] || { journalctl -b -p warning --no-pager; fail "failed units: $failed"; }
    ! journalctl -b --no-pager | grep -iE 'ordering cycle|break.*cycle' || fail "units are ordered in a cycle"
}

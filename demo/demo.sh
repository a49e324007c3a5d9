#!/bin/bash
# A tour of thinpool: from no disk at all to two containers and back, with each command shown as it runs.
# `make demo` runs it in a throwaway machine, `make demo HOST=1` on this one. Ends with an error when a promise isn't kept.
set -euo pipefail
images=${THINPOOL_IMAGES:-/usr/share/thinpool-test}
runs=5

heading() { printf '\n== %s\n\n' "$*"; }

show() {
    printf '$ %s\n' "$*"
    "$@"
}

check() {
    local promise=$1
    shift
    "$@" || { echo "demo: NOT TRUE: $promise" >&2 && exit 1; }
    echo "ok: $promise"
}

# What this demo may make, and must have taken away again in the end.
nodes() { dmsetup ls --target thin-pool; dmsetup ls --target thin; losetup --list --noheadings --output NAME,BACK-FILE; }

setup() {
    heading "A pool on loopback files: no disk needed"
    show thinpool setup
    heading "Images: a plain archive, and an OCI image with whiteouts"
    show thinpool image import debian "$images/debian.tar"
    show thinpool image import app "$images/app-oci"
    show thinpool image list
}

# mount NAME: like `show`, and keeps the mount point that the command prints, in $mounted.
mount_container() {
    echo "\$ thinpool container mount $1"
    mounted=$(thinpool container mount "$1")
    echo "$mounted"
}

containers() {
    local web1 web2
    heading "Two containers from one image, and neither sees the other's files"
    show thinpool container create app --name web1
    show thinpool container create app --name web2
    mount_container web1 && web1=$mounted
    mount_container web2 && web2=$mounted
    show cat "$web1/opt/app/release"
    echo "\$ echo 'only in web1' >$web1/srv/www/note"
    echo 'only in web1' >"$web1/srv/www/note"
    check "web1 has its note" test -e "$web1/srv/www/note"
    check "web2 doesn't" test ! -e "$web2/srv/www/note"
    check "what a layer deleted is gone" test ! -e "$web2/opt/app/data"
}

look() {
    heading "What there is now"
    show thinpool container list
    show thinpool status
    heading "The same, as the kernel sees it"
    show dmsetup table
    show lsblk
}

# milliseconds COMMAND...: how long it took.
milliseconds() {
    local started
    started=$(date +%s%N)
    "$@" >/dev/null
    echo $((($(date +%s%N) - started) / 1000000))
}

median() { sort -n | sed -n "$(((runs + 1) / 2))p"; }

create_times() {
    local run
    for ((run = 0; run < runs; run++)); do
        milliseconds thinpool container create app --name "timed$run"
        thinpool container remove "timed$run" >/dev/null
    done
}

copy_times() {
    local run
    for ((run = 0; run < runs; run++)); do
        milliseconds cp -a "$mounted" "$scratch/copy"
        rm -rf "$scratch/copy"
    done
}

race() {
    local create copy
    heading "A container beside a copy of the same files (medians of $runs)"
    scratch=$(mktemp -d)
    create=$(create_times | median)
    copy=$(copy_times | median)
    rm -rf "$scratch"
    printf 'thinpool container create  %6d ms\ncp -a                      %6d ms   (%d.%d times as long)\n' \
        "$create" "$copy" $((copy / create)) $((copy * 10 / create % 10))
}

take_down() {
    local name
    heading "And away with it"
    for name in web1 web2; do
        show thinpool container unmount "$name"
        show thinpool container remove "$name"
    done
    show thinpool destroy --yes
    check "nothing is left: no device, no loop device" test "$(nodes)" = "$before"
}

before=$(nodes)
setup
containers
look
race
take_down

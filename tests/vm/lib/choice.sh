# Which Debian and which kernel the machine gets. Sourced.
# shellcheck shell=bash

# The guest runs binaries that were built on this host, so its C library must not be older than the host's.
guest_suite() {
    local glibc
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2) || true
    case $glibc in
        '') die "this host has no glibc: binaries built here don't run in a Debian machine" ;;
        2.? | 2.[12]? | 2.3[0-6]) echo bookworm ;;
        2.3? | 2.4[01]) echo trixie ;;
        *) die "this host's glibc $glibc is newer than that of any Debian this script knows (2.41): binaries built" \
            "here won't start in the machine. Build on Debian 12 or 13 or an older distribution." ;;
    esac
}

# kernel_for SUITE: $KERNEL, or the kernel that SUITE installs by default.
kernel_for() {
    case ${KERNEL:-default}/$1 in
        default/bookworm | 6.1/bookworm) echo 6.1 ;;
        default/trixie | 6.12/*) echo 6.12 ;;
        *) die "KERNEL=$KERNEL: Debian $1 has no such kernel; say 6.1 (bookworm only) or 6.12, or leave KERNEL out" ;;
    esac
}

# kernel_package KERNEL SUITE: the package that depends on the newest build of it.
kernel_package() {
    case $1/$2 in
        6.12/bookworm) echo linux-image-6.12-amd64 ;;
        *) echo linux-image-amd64 ;;
    esac
}

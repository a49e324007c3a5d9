# Whether a machine runs on the processor itself, or is emulated. Sourced.
# shellcheck shell=bash

# A KVM guest hangs in its firmware on hosts that offer /dev/kvm without the processor's help, so both must be there.
has_kvm() { grep -qwE 'vmx|svm' /proc/cpuinfo && (exec 3<>/dev/kvm) 2>/dev/null; }

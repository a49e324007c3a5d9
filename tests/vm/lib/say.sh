# Words for the person at the terminal. Sourced; everything goes to stderr because stdout belongs to the command
# that runs in the machine.
# shellcheck shell=bash

# The code for "the machine itself failed", apart from every code a test or the tool returns. As docker and
# git-bisect use it.
readonly MACHINE_FAILED=125

say() { printf 'vm: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit "$MACHINE_FAILED"
}

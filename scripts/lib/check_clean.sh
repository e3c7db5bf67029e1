#!/bin/bash
# Fails when a run left a namespace, folder, mount, process or control group behind. Names are
# `ferry-PID-NAME`, so runs that go on, also of other worktrees, are told from those that have ended.
#
#   scripts/lib/check_clean.sh [PID]…     PID: also what a script has left that is not at its end yet
set -euo pipefail

shopt -s nullglob
scratch=${TMPDIR:-/var/tmp}

# ended NAME [PID]…: whether the owner of a name has ended, or is one of these.
ended() {
    local name=$1 pid owner
    shift
    [[ $name =~ ^ferry-([0-9]+)- ]] || return 1
    owner=${BASH_REMATCH[1]}
    for pid in "$@"; do
        [[ $owner != "$pid" ]] || return 0
    done
    [[ ! -e /proc/$owner ]]
}

# found: `NAME WHAT` for everything that bears a name.
found() {
    local path pid stat name
    for path in /run/netns/ferry-* "$scratch"/ferry-* /sys/fs/cgroup/ferry-* /sys/fs/cgroup/*/ferry-*; do
        printf '%s %s\n' "${path##*/}" "$path"
    done
    grep -oE 'ferry-[0-9]+-[^/ ]+' /proc/self/mountinfo | sort -u | sed 's/$/ a mount/'
    # Processes end meanwhile; a zombie holds nothing.
    grep --no-messages --text --only-matching -E 'ferry-[0-9]+-[^/[:space:][:cntrl:]]+' /proc/[0-9]*/{cmdline,cgroup} | sort -u |
        while IFS=: read -r path name; do
            pid=${path#/proc/} pid=${pid%%/*}
            stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
            [[ ${stat##*) } == Z* ]] || printf '%s process %s\n' "$name" "$pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"
        done
}

# left [PID]…: what is left, one a line.
left() {
    local name what
    while read -r name what; do
        ! ended "$name" "$@" || printf '%s\n' "$what"
    done < <(found)
}

# A process that was killed a moment ago has its control group still.
deadline=$((SECONDS + 5))
while left=$(left "$@") && [[ -n $left ]]; do
    if ((SECONDS > deadline)); then
        printf 'error: left behind:\n%s\n' "$left" >&2
        exit 1
    fi
    sleep 0.1
done

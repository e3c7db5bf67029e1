# How our scripts speak: progress and errors go to stderr, results to stdout.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

# step WORDS: a heading, with the seconds since the start.
step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# usage: the comment at the top of the script is its help.
usage() { sed -n '2,${/^#/!q;s/^# \{0,1\}//p}' "$0"; }

# wrong_usage MESSAGE…
wrong_usage() {
    printf 'error: %s\n\n' "$*" >&2
    usage >&2
    exit 2
}

# need_root WHAT: namespaces, mounts and engines need it.
need_root() {
    [[ $(id -u) -eq 0 ]] || die "$1 needs root"
}

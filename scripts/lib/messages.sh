# How our scripts speak: progress and errors go to stderr, results to stdout.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need_root WHAT: namespaces, mounts and engines need it.
need_root() {
    [[ $(id -u) -eq 0 ]] || die "$1 needs root"
}

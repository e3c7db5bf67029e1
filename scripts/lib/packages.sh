# Debian packages that the scripts need, without letting any daemon start by itself.
# Needs messages.sh, at_exit.sh.
# shellcheck shell=bash

POLICY=/usr/sbin/policy-rc.d

# no_daemons COMMAND…: runs it while a policy forbids every service to start. A policy that
# was there before comes back, also after a failure or a signal.
no_daemons() (
    saved=$(mktemp -d)
    at_exit give_policy_back "$saved"
    if [[ -e $POLICY || -L $POLICY ]]; then
        mv "$POLICY" "$saved/"
    fi
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 0755 "$POLICY"
    "$@"
)

# give_policy_back FOLDER: the policy that was there before, or none.
give_policy_back() {
    rm -f "$POLICY"
    [[ ! -e $1/${POLICY##*/} && ! -L $1/${POLICY##*/} ]] || mv "$1/${POLICY##*/}" "$POLICY"
    rmdir "$1"
}

# missing_packages NAME…: those that are not installed, one a line.
missing_packages() {
    local name
    for name in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) != installed ]]; then
            printf '%s\n' "$name"
        fi
    done
}

# install_packages NAME…
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [[ ${#missing[@]} -eq 0 ]] && return 0
    need_root "installing packages"
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive no_daemons \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# unpack_package NAME FOLDER: downloads a package and unpacks it, without installing it.
unpack_package() (
    name=$1 folder=$2
    [[ ! -e $folder/.complete ]] || exit 0
    say "unpacking $name"
    download=$(mktemp -d)
    at_exit rm -rf "$download"
    cd "$download" || exit
    if ! apt-get -qq -o APT::Sandbox::User=root download "$name"; then
        apt-get update -qq
        apt-get -qq -o APT::Sandbox::User=root download "$name"
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    dpkg-deb -x "$download"/*.deb "$folder"
    touch "$folder/.complete"
)

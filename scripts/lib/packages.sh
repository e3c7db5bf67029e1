# Debian packages that the scripts need, without letting any daemon start by itself.
# shellcheck shell=bash

POLICY=/usr/sbin/policy-rc.d

# no_daemons COMMAND…: runs it while a policy forbids every service to start. A policy that
# was there before comes back, also after a failure or a signal.
no_daemons() (
    saved=''
    if [[ -e $POLICY || -L $POLICY ]]; then
        saved=$(mktemp -d)/policy-rc.d
        mv "$POLICY" "$saved"
    fi
    # shellcheck disable=SC2064 # the path is known now
    trap "rm -f '$POLICY'; if [[ -n '$saved' ]]; then mv '$saved' '$POLICY'; fi" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 0755 "$POLICY"
    "$@"
)

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
unpack_package() {
    local name=$1 folder=$2 download
    [[ -e $folder/.complete ]] && return 0
    say "unpacking $name"
    download=$(mktemp -d)
    if ! (cd "$download" && apt-get -qq -o APT::Sandbox::User=root download "$name"); then
        apt-get update -qq
        (cd "$download" && apt-get -qq -o APT::Sandbox::User=root download "$name")
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    dpkg-deb -x "$download"/*.deb "$folder"
    rm -rf "$download"
    touch "$folder/.complete"
}

# Image layers from Debian packages, without any image registry: a debootstrap base, then one
# overlayfs layer for each set of packages. Every layer is kept in .cache/layers/NAME-KEY, where
# KEY is a hash of its inputs, so building again costs nothing.
#
# Needs: $ROOT, $FIXTURES (the program that writes layer tars), messages.sh. Functions that mount
# run inside a mount namespace of their own (see scripts/layers): nothing stays mounted.
# shellcheck shell=bash

SUITE=bookworm
LAYERS=$ROOT/.cache/layers
APT=$ROOT/.cache/apt
RECIPE=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-64)

declare -A TREE=() # layer name → its folder in the cache
declare -A STACK=() # layer name → the layers below and itself, base first

# The Debian mirror that this machine uses already.
# shellcheck disable=SC2016 # apt's own placeholders
MIRROR=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$SUITE" '$NF == "main" && ($2 == suite || $3 == suite) { print $1; exit }')
MIRROR=${MIRROR%/}
[[ -n $MIRROR ]] || die "this machine's apt sources have no Debian $SUITE"

# machine_apt ARGUMENT…: the machine's own apt, so proxies and certificates are those of the machine, over
# the suite alone and with lists and archives in the cache.
machine_apt() {
    mkdir -p "$APT"/{lists/partial,archives/partial}
    printf 'deb %s %s main\n' "$MIRROR" "$SUITE" >"$APT/sources.list"
    local apt=(apt-get -qq -y -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=-
        -o Dir::State::lists="$APT/lists" -o Dir::Cache::archives="$APT/archives" -o APT::Sandbox::User=root
        -o APT::Install-Recommends=false -o APT::Default-Release= -o Acquire::GzipIndexes=false)
    if [[ -z ${APT_UPDATED:-} ]]; then
        "${apt[@]}" update >&2
        APT_UPDATED=yes
    fi
    "${apt[@]}" "$@" >&2
}

# tidy ROOTFS: removes what installing leaves behind and no program needs.
tidy() {
    rm -rf "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*_* \
        "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/cache/ldconfig/aux-cache \
        "$1"/tmp/* "$1"/run/* "$1"/usr/share/lintian "$1"/etc/ssl/private/*.key
    local folder
    for folder in doc man info locale; do
        [[ ! -d $1/usr/share/$folder ]] || find "$1/usr/share/$folder" ! -type d -delete
    done
    find "$1/var/log" -type f -delete
}

# with_stack FOLDER LAYERS COMMAND…: runs the command with the layers (base first) mounted at
# $MERGED, and what it writes kept in FOLDER/tree.
with_stack() {
    local folder=$1 layers=$2 layer lower=''
    shift 2
    for layer in $layers; do
        lower=${TREE[$layer]}/tree${lower:+:$lower}
    done
    mkdir -p "$folder"/{tree,work,merged}
    MERGED=$folder/merged
    mount -t overlay ferry-layer -o "lowerdir=$lower,upperdir=$folder/tree,workdir=$folder/work,redirect_dir=off,metacopy=off,index=off" "$MERGED"
    mount -t proc proc "$MERGED/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$MERGED/tmp"
    mount -t tmpfs tmpfs "$MERGED/run"
    mount -t tmpfs -o mode=0755 tmpfs "$MERGED/dev"
    local device
    for device in null zero full random urandom; do
        touch "$MERGED/dev/$device"
        mount --bind "/dev/$device" "$MERGED/dev/$device"
    done
    mkdir -m 1777 "$MERGED/dev/shm"
    ln -s /proc/self/fd "$MERGED/dev/fd"
    "$@"
    umount -R "$MERGED"
    rm -rf "$folder/work" "$folder/merged"
}

in_chroot() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root \
        chroot "$MERGED" "$@"
}

install_in_stack() {
    machine_apt -o Dir::State::status="$MERGED/var/lib/dpkg/status" install --download-only "$@"
    mount --bind "$APT/lists" "$MERGED/var/lib/apt/lists"
    mount --bind "$APT/archives" "$MERGED/var/cache/apt/archives"
    mount --bind "$APT/sources.list" "$MERGED/etc/apt/sources.list"
    in_chroot apt-get -qq -y --no-download -o APT::Install-Recommends=false -o APT::Sandbox::User=root \
        -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= install "$@" >"$APT/install.log" 2>&1 ||
        die "installing $* failed: $(tail -n 5 "$APT/install.log")"
    umount "$MERGED/var/lib/apt/lists" "$MERGED/var/cache/apt/archives" "$MERGED/etc/apt/sources.list"
    tidy "$MERGED"
}

bootstrap() {
    debootstrap --variant=minbase "$SUITE" "$1" "$MIRROR" >"$APT/debootstrap.log" 2>&1 ||
        die "debootstrap failed: $(tail -n 5 "$APT/debootstrap.log")"
    tidy "$1"
    # Nothing of the machine that built it.
    : >"$1/etc/resolv.conf"
    echo localhost >"$1/etc/hostname"
    echo "deb http://debian.invalid $SUITE main" >"$1/etc/apt/sources.list"
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
    chmod 0755 "$1/usr/sbin/policy-rc.d"
    printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' '/usr/share/info/*' \
        '/usr/share/lintian/*' >"$1/etc/dpkg/dpkg.cfg.d/slim"
    # The package would make a cluster of its own, 40 MB in every image.
    mkdir -p "$1/etc/postgresql-common" "$1/usr/share/man/man1"
    echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.conf"
}

# layer NAME BELOW [PACKAGE…]: builds a layer over the layer BELOW (`-`: over nothing), unless the
# cache has it. Its tar is then ${TREE[NAME]}/layer.tar.
layer() {
    local name=$1 below=$2 key folder
    shift 2
    STACK[$name]="${STACK[$below]:-}${STACK[$below]:+ }$name"
    key=$(printf '%s\n' "$RECIPE" "$MIRROR" "${TREE[$below]:-}" "$@" | sha256sum | cut -c1-12)
    folder=$LAYERS/$name-$key
    TREE[$name]=$folder
    [[ -e $folder/layer.tar ]] && return 0
    say "building layer $name"
    # Keys are 12 hexadecimal digits: this also prunes what an earlier recipe left under the name.
    local hex='[0-9a-f]'
    # shellcheck disable=SC2086 # a pattern
    rm -rf "$LAYERS/$name"-$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex$hex
    mkdir -p "$folder" "$APT"
    if [[ $below == - ]]; then
        bootstrap "$folder/tree"
    else
        with_stack "$folder" "${STACK[$below]}" install_in_stack "$@"
    fi
    "$FIXTURES" layer-tar "$folder/tree" "$folder/layer.tar.partial"
    mv "$folder/layer.tar.partial" "$folder/layer.tar"
}

# Engines for scripts: Debian's dockerd (or Podman's service) in a network namespace without a route
# out, with folders of its own. fixtures/src/engine.rs is the same for tests.
#
#   engine_start NAME [docker|podman]     start it and wait until it answers
#   engine_host NAME                      prints unix://…, for DOCKER_HOST
#   engine_folder NAME                    prints its folder; scripts may put files there
#   engine_docker NAME ARGUMENT…          Docker's client against it
#   engine_inside NAME COMMAND…           any command in its namespace, DOCKER_HOST set
#   engine_kill9 NAME, engine_restart NAME
#   engine_end NAME, engine_end_all       leaves nothing running or mounted
#
# Needs $ROOT, messages.sh, fixtures.sh, at_exit.sh. The engines end with the script, however it ends.
# shellcheck shell=bash

declare -A ENGINE_PID=() ENGINE_KIND=()
at_exit engine_end_all

engine_name() { printf 'ferry-%s-%s\n' "$$" "$1"; }
engine_folder() { printf '%s/%s\n' "${TMPDIR:-/var/tmp}" "$(engine_name "$1")"; }
engine_host() { printf 'unix://%s/engine.sock\n' "$(engine_folder "$1")"; }

engine_start() {
    local name=$1 kind=${2:-docker} program
    need_root "starting an engine"
    find_fixtures
    for program in /usr/bin/docker /usr/bin/nsenter /usr/sbin/dockerd; do
        [[ -x $program ]] || die "$program is missing: run scripts/prepare test"
    done
    [[ $kind == docker || -x /usr/bin/podman ]] || die "/usr/bin/podman is missing: run scripts/prepare test"
    "$FIXTURES" sweep
    ENGINE_KIND[$name]=$kind
    ip netns add "$(engine_name "$name")"
    local folder
    folder=$(engine_folder "$name")
    mkdir -p "$folder"/{data,client,home,run-containers}
    engine_inside "$name" ip link set lo up
    if [[ $kind == docker ]]; then
        echo '{}' >"$folder/daemon.json"
    else
        # runc runs under any control groups; crun refuses hybrid ones.
        # Podman asks for more than a machine may allow root, and lowers its own limit of processes
        # to 32768.
        local files processes
        files=$(ulimit -Hn) processes=$(ulimit -Hu)
        [[ $files != unlimited ]] || files=1048576
        [[ $processes != unlimited ]] && ((processes < 32768)) || processes=32768
        cat >"$folder/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$folder/tmp"
static_dir = "$folder/data/libpod"
volume_path = "$folder/data/volumes"
image_copy_tmp_dir = "$folder/home"
[network]
network_backend = "netavark"
network_config_dir = "$folder/networks"
CONF
        printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/data"\nrunroot = "%s/run"\n' \
            "$folder" "$folder" >"$folder/storage.conf"
        echo 'unqualified-search-registries = []' >"$folder/registries.conf"
    fi
    engine_restart "$name"
}

# engine_inside NAME COMMAND…
engine_inside() {
    local name=$1 folder
    shift
    folder=$(engine_folder "$name")
    env -u DOCKER_CONTEXT DOCKER_HOST="$(engine_host "$name")" DOCKER_CONFIG="$folder/client" \
        nsenter --net="/run/netns/$(engine_name "$name")" -- "$@"
}

engine_docker() {
    local name=$1
    shift
    engine_inside "$name" /usr/bin/docker "$@"
}

engine_restart() {
    local name=$1 folder host deadline
    folder=$(engine_folder "$name")
    host=$(engine_host "$name")
    if [[ -n ${ENGINE_PID[$name]:-} ]]; then
        # It may have ended by itself.
        kill "${ENGINE_PID[$name]}" 2>/dev/null || true
        wait "${ENGINE_PID[$name]}" 2>/dev/null || true
    fi
    rm -f "$folder/engine.sock"
    (
        trap - EXIT
        unset http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY
        export HOME=$folder/home
        if [[ ${ENGINE_KIND[$name]} == podman ]]; then
            # Podman keeps the state of networks in /run/containers, and no option moves it: a mount
            # namespace shows this Podman a folder of its own there.
            # shellcheck disable=SC2016 # for the inner shell
            engine=(/usr/bin/unshare --mount --propagation=slave -- /bin/sh -c
                'mkdir -p /run/containers && mount --bind "$0" /run/containers && exec "$@"' "$folder/run-containers"
                /usr/bin/podman --root="$folder/data" --runroot="$folder/run" system service --time=0 "$host")
            export TMPDIR=$folder/home CONTAINERS_CONF=$folder/containers.conf CONTAINERS_STORAGE_CONF=$folder/storage.conf
            export CONTAINERS_REGISTRIES_CONF=$folder/registries.conf
        else
            engine=(/usr/sbin/dockerd --config-file="$folder/daemon.json" --data-root="$folder/data"
                --exec-root="$folder/exec" --pidfile="$folder/engine.pid" --host="$host"
                --cgroup-parent="/$(engine_name "$name")")
        fi
        # Not engine_inside: the process itself is what kill9 must meet.
        exec nsenter --net="/run/netns/$(engine_name "$name")" -- "${engine[@]}"
    ) >>"$folder/engine.log" 2>&1 </dev/null &
    ENGINE_PID[$name]=$!
    spare_at_exit "$!"
    deadline=$((SECONDS + 60))
    until engine_docker "$name" version >/dev/null 2>&1; do
        if ! kill -0 "${ENGINE_PID[$name]}" 2>/dev/null || ((SECONDS > deadline)); then
            die "the engine $name does not answer: $(tail -n 15 "$folder/engine.log")"
        fi
    done
}

engine_kill9() {
    # It may have ended by itself, and what it started runs on.
    kill -9 "${ENGINE_PID[$1]}" 2>/dev/null || true
    wait "${ENGINE_PID[$1]}" 2>/dev/null || true
    # Its containerd dies with it. Where process 1 reaps late, the next dockerd would wait for the
    # zombie's pid.
    rm -f "$(engine_folder "$1")/exec/containerd/containerd.pid"
    ENGINE_PID[$1]=''
}

engine_end() {
    local name=$1
    [[ -n ${ENGINE_KIND[$name]:-} ]] || return 0
    if [[ ${ENGINE_KIND[$name]} == podman && -n ${ENGINE_PID[$name]:-} ]]; then
        # Only Podman knows the control groups and namespaces that it made outside its folder.
        engine_inside "$name" timeout --signal=KILL 20 /bin/sh -c \
            '/usr/bin/docker ps --all --quiet | xargs --no-run-if-empty /usr/bin/docker rm --force --volumes' \
            >/dev/null 2>&1 || true
    fi
    # The job is ended first, so that bash does not report its death.
    if [[ -n ${ENGINE_PID[$name]:-} ]]; then
        engine_kill9 "$name"
    fi
    "$FIXTURES" end-namespace "$(engine_name "$name")" || return
    unset "ENGINE_KIND[$name]" "ENGINE_PID[$name]"
}

# engine_end_all: an engine that does not end keeps none of the others running.
engine_end_all() {
    local name status=0
    for name in "${!ENGINE_KIND[@]}"; do
        engine_end "$name" || status=1
    done
    return "$status"
}

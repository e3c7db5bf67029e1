#!/bin/bash
# Ends the demo early in every way that people and machines do, and fails when it leaves something.
# Needs root, and what the demo needs: a first demo has made all of it.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$ROOT/scripts/lib/messages.sh"
source "$ROOT/scripts/lib/at_exit.sh"
need_root "the demo"
folder=$(mktemp -d)
at_exit rm -rf "$folder"

# demo COMMAND…: starts the demo (with COMMAND before it) in a session of its own, as $pid. Bash
# ignores SIGINT in what it starts in the background, and env brings it back.
demo() {
    : >"$folder/log"
    env --default-signal=INT setsid "$@" "$ROOT/scripts/demo" >"$folder/log" 2>&1 </dev/null &
    pid=$!
}

# reached TEXT: waits until the demo has shown TEXT.
reached() {
    local deadline=$((SECONDS + 600))
    until grep -qF -- "$1" "$folder/log"; do
        if [[ ! -e /proc/$pid ]] || ((SECONDS > deadline)); then
            die "the demo did not reach \`$1\`: $(tail -n 20 "$folder/log")"
        fi
        sleep 0.05
    done
}

# ended WAY: the demo has failed, and left nothing.
ended() {
    local status=0 left
    wait "$pid" 2>/dev/null || status=$?
    ((status)) || die "the demo succeeded although it was ended by $1"
    # What has ended and waits for process 1 to notice is nothing that runs.
    left=$({ ps -o stat=,pid=,args= --sid "$pid" || true; } | awk '$1 !~ /^Z/')
    [[ -z $left ]] || die "the demo that was ended by $1 left processes: $left"
    "$ROOT/scripts/lib/check_clean.sh" || die "the demo that was ended by $1 is not clean: $(tail -n 20 "$folder/log")"
    say "  ended by $1 (exit code $status): nothing is left"
}

importing='$ ./install --root'
demo; reached "$importing"; kill -INT -- "-$pid"; ended "Ctrl-C during an install"
demo; reached "$importing"; kill -TERM "$pid"; ended "TERM during an install"
demo; reached "laying out"; kill -HUP -- "-$pid"; ended "a terminal that hangs up"
demo; reached "on the disconnected side"; kill -INT -- "-$pid"; sleep 0.2; kill -INT -- "-$pid" || true; ended "Ctrl-C twice while the engine starts"
demo; reached "ferry build"; kill -TERM "$pid"; ended "TERM during a build"

printf '#!/bin/sh\nexit 22\n' >"$folder/curl"
chmod 0755 "$folder/curl"
demo env PATH="$folder:$PATH"; ended "a site that does not answer"

mkfifo "$folder/pipe"
env --default-signal=PIPE setsid "$ROOT/scripts/demo" >"$folder/pipe" 2>&1 </dev/null &
pid=$!
sed '/ferry inspect/q' "$folder/pipe" >"$folder/log"
ended "a reader that goes away"

# What a script undoes at its end, also after an error or a signal.
#
#   at_exit COMMAND [ARGUMENT…]     runs the command at the end, the latest one first; paths are absolute
#   spare_at_exit PID               a process that a command of at_exit ends itself
#
# What must stay true: programs that the script started end first, so that nothing is in use when it is
# removed; a command that fails stops no other, and fails the script; a second Ctrl-C does not cut the
# undoing short. Only `kill -9` does: `fixtures sweep` removes what is left then.
# shellcheck shell=bash

AT_EXIT=() AT_EXIT_SPARED=() AT_EXIT_OWNER=''

at_exit() {
    # A subshell ends for itself, and inherits no trap.
    if [[ $AT_EXIT_OWNER != "$BASHPID" ]]; then
        AT_EXIT=() AT_EXIT_SPARED=() AT_EXIT_OWNER=$BASHPID
        trap undo_all EXIT
    fi
    AT_EXIT+=("$(printf '%q ' "$@")")
}

spare_at_exit() { AT_EXIT_SPARED+=("$1"); }

undo_all() {
    local status=$? at
    trap '' HUP INT PIPE TERM
    set +e
    cd /
    end_started
    for ((at = ${#AT_EXIT[@]} - 1; at >= 0; at--)); do
        if ! eval "${AT_EXIT[at]}"; then
            say "error: this failed at the end of $0: ${AT_EXIT[at]}"
            ((status)) || status=1
        fi
    done
    exit "$status"
}

# started ROOT: the processes below ROOT that have not ended, without those that are spared.
started() {
    local self=$BASHPID
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v root="$1" -v spared="$self ${AT_EXIT_SPARED[*]}" '
        BEGIN { split(spared, list); for (at in list) skip[list[at]] = 1 }
        # PID (NAME) STATE PARENT …, and a name may hold anything (proc(5)).
        { pid = $1; sub(/^.*\) /, "") }
        $1 != "Z" { below[$2] = below[$2] " " pid }
        function descend(pid,    at, count, children) {
            count = split(below[pid], children)
            for (at = 1; at <= count; at++)
                if (!(children[at] in skip)) { print children[at]; descend(children[at]) }
        }
        END { descend(root) }'
}

# end_started: TERM, and KILL for what has not ended after 10 seconds.
end_started() {
    local root=$BASHPID pids signal=TERM deadline=$((SECONDS + 10))
    while mapfile -t pids < <(started "$root") && ((${#pids[@]} && SECONDS < deadline + 10)); do
        if [[ $signal == TERM ]] || ((SECONDS > deadline)); then
            # One of them may have ended by itself.
            kill "-$signal" "${pids[@]}" 2>/dev/null
            signal=KILL
        fi
        sleep 0.1
    done
}

# Finds (building it if need be) the program `fixtures`. Needs $ROOT and messages.sh.
# shellcheck shell=bash

# find_fixtures: sets and exports FIXTURES.
find_fixtures() {
    if [[ -z ${FIXTURES:-} ]]; then
        (cd "$ROOT" && cargo build --quiet --package fixtures) || die "the program fixtures does not build"
        FIXTURES=${CARGO_TARGET_DIR:-$ROOT/target}/debug/fixtures
    fi
    [[ -x $FIXTURES ]] || die "no program at FIXTURES=$FIXTURES"
    export FIXTURES
}

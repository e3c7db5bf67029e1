#!/bin/bash
# Checks every script with shellcheck; where that is missing, with `bash -n` alone, and says so.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$ROOT/scripts/lib/messages.sh"
cd "$ROOT"
mapfile -t scripts < <(grep -rlE '^#!/bin/(ba)?sh|^# shellcheck shell=' scripts .ci fixtures/site)
if command -v shellcheck >/dev/null; then
    shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
    say "  ${#scripts[@]} scripts, checked by shellcheck"
else
    for script in "${scripts[@]}"; do
        bash -n "$script"
    done
    say "  ${#scripts[@]} scripts, checked by bash -n alone: shellcheck is missing (scripts/prepare test)"
fi

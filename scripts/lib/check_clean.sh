#!/bin/bash
# Fails when a test left a namespace, mount or process of its own behind.
set -euo pipefail
left=$(ip netns list | grep '^ferry-' || true)
left+=$(findmnt --noheadings --list --output TARGET | grep '/ferry-' || true)
left+=$(pgrep --full --list-full -- '--data-root=[^ ]*/ferry-' || true)
if [[ -n $left ]]; then
    printf 'error: left behind:\n%s\n' "$left" >&2
    exit 1
fi

#!/bin/bash
# Fails unless each program is static, has at most 12 MiB, and runs.
set -euo pipefail
for program in "$@"; do
    if readelf --program-headers "$program" | grep -q INTERP; then
        echo "error: $program asks for a dynamic loader" >&2
        exit 1
    fi
    if readelf --dynamic "$program" | grep -q NEEDED; then
        echo "error: $program needs dynamic libraries" >&2
        exit 1
    fi
    size=$(stat -c %s "$program")
    ((size <= 12 << 20)) || { echo "error: $program has $size bytes" >&2; exit 1; }
    "$program" --version
    echo "  static, $size bytes"
done

#!/usr/bin/env bash
# Compares what becomes of recorded workloads with what upstream made of them, in a network namespace of its own.
# CORTEN names the binary; FACTS is the directory of workloads.py and its record.
set -euo pipefail
: "${CORTEN:?set CORTEN to the binary under test}"
facts="$(realpath "${1:?usage: workloads.sh FACTS [arguments]}")"
shift
cd "$(dirname "$0")"
export CORTEN
exec unshare --net -- bash -c 'ip link set lo up && exec python3 -u -m corten_e2e.workloads "$@"' run "$facts" "$@"

#!/usr/bin/env bash
# Runs the end-to-end tests in a network namespace of their own that has no route to the outside, with real kubectl
# and real containers. CORTEN names the binary; arguments go to Python's unittest (e2e/run.sh test_services).
set -euo pipefail
cd "$(dirname "$0")"
: "${CORTEN:?set CORTEN to the binary under test}"
export CORTEN
if [ "$(id -u)" -ne 0 ]; then
    echo "The end-to-end tests start containers and need root." >&2
    exit 1
fi
exec unshare --net -- bash -c 'ip link set lo up && exec python3 -m corten_e2e "$@"' run "$@"

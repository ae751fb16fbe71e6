#!/usr/bin/env bash
# Licences, sources and banned crates by cargo-deny, which is built once where it is missing (crates.io carries its source).
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v cargo-deny || true)
[ -n "$tool" ] || tool=$(ls "${CARGO_TARGET_DIR:-target}/tools/bin/cargo-deny" 2>/dev/null || true)
if [ -z "$tool" ]; then
    echo "Building cargo-deny, once (unoptimized: it runs for a second)"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --debug --quiet --locked --version 0.20.2 --root "${CARGO_TARGET_DIR:-target}/tools" cargo-deny
    tool=${CARGO_TARGET_DIR:-target}/tools/bin/cargo-deny
fi
cargo fetch --quiet --locked
exec "$tool" --offline --log-level warn check bans licenses sources

#!/usr/bin/env bash
# Every Debian package Corten needs, in one place. `packages.sh build` for building and running it, `packages.sh test`
# for the tests as well. Installs only what is missing, and names exactly what it could not install.
set -euo pipefail

# cc and ld for the crates that carry C (ring, zstd-sys, mimalloc); xz for the profile of `profile.sh`.
build=(gcc libc6-dev make xz-utils)
# busybox-static, nginx-light, perl and redis-server: what test images are made of. iproute2, nftables: tests look from outside at what Corten did.
# docker-registry: a real registry to pull from; openssl: the key and signatures of its bearer tokens. python3: test tools.
tests=(busybox-static wget nginx-light redis-server iproute2 nftables docker-registry openssl perl python3 procps util-linux)

want=("${build[@]}")
[ "${1:-build}" = test ] && want+=("${tests[@]}")
if [ "${1:-build}" = test ] && ! command -v kubectl >/dev/null; then
    want+=(kubernetes-client)
fi

missing=()
for package in "${want[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Missing Debian packages: ${missing[*]}. Install them as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Services of these packages are not wanted running: only their files are used.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

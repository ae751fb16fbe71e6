#!/usr/bin/env bash
# What a busy cluster uses of the program, so that release builds are optimized for that (profile-guided optimization).
#   profile.sh flags DIR   prints the compiler's flags for the profile in the repository, which it unpacks to DIR
#   profile.sh make        makes that profile anew: builds Corten with counters, runs tests and benches, takes a quarter of an hour on two cores; root
# A function that has changed since is compiled as if there was no profile. One from before still serves; make it anew with a release.
set -euo pipefail
cd "$(dirname "$0")/.."
packed=$PWD/hack/corten.profdata.xz

flags() {
    local sum file
    sum=$(sha256sum "$packed" | cut -c 1-16)
    # Cargo builds anew when the flags change: the name tells of the content.
    file=$(realpath -m "$1")/corten-$sum.profdata
    if [ ! -e "$file" ]; then
        mkdir -p "$1"
        xz -dc "$packed" >"$file.part"
        mv "$file.part" "$file"
    fi
    # Thousands of lines where a crate has changed.
    echo "-Cprofile-use=$file -Cllvm-args=-no-pgo-warn-mismatch"
}

bench() {
    local data=$1 corten=$CORTEN
    "$corten" up --detach --no-kubeconfig --data-dir "$data" --port 16443 >&2
    for what in writes reads watch controllers; do
        "$corten" bench "$what" --data-dir "$data" >&2
    done
    "$corten" bench crowd --pods 3000 --data-dir "$data" >&2
    "$corten" down --data-dir "$data" >&2
}

make_profile() {
    local work target
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/profiling
    rustup component add llvm-tools
    # Build scripts and macros count as well, to a file that nobody reads.
    LLVM_PROFILE_FILE=$work/build/%m.profraw RUSTFLAGS=-Cprofile-generate CARGO_TARGET_DIR=$target \
        cargo build --release --locked --package corten
    hack/documents.sh "$target/documents"
    export LLVM_PROFILE_FILE=$work/run/%4m.profraw CORTEN=$target/release/corten CORTEN_DOCUMENTS=$target/documents
    e2e/run.sh test_1_start test_4_kubectl test_4_pods test_4_custom test_4_services test_8_down
    export -f bench
    unshare --net -- bash -euc "ip link set lo up && bench '$work/data'"
    "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata merge -sparse -o "$work/corten.profdata" "$work"/run/*.profraw
    xz -9e -c "$work/corten.profdata" >"$packed"
}

case "${1:-}" in
flags) flags "${2:?profile.sh flags DIR}" ;;
make) make_profile ;;
*)
    echo "profile.sh flags DIR, or profile.sh make" >&2
    exit 1
    ;;
esac

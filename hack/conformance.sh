#!/usr/bin/env bash
# Runs upstream's end-to-end suite (v1.36) against Corten, in a network namespace of its own without a route outside:
#
#   CORTEN=target/release/corten AGNHOST=... hack/conformance.sh E2E_TEST [arguments of e2e.test]
#
# E2E_TEST is upstream's e2e.test, AGNHOST its static agnhost (docs/conformance-suite.md). Images
# are made of programs of this machine; those that cannot be made are printed as skipped, and specs that need them fail.
# SAMPLE_APISERVER and ETCD: upstream's sample-apiserver and an etcd, for the aggregation spec. KUBECTL: the kubectl of
# the sig-cli specs. WORK: a directory for cluster, images and reports (default: a new one, removed at the end but for
# the reports). It needs 5 GB; the kubelets neither remove unused images nor refuse pods while 1 GB is left.
# Without arguments all conformance specs run, one after another; this takes two hours and more.
set -euo pipefail
: "${CORTEN:?set CORTEN to the binary under test}" "${AGNHOST:?set AGNHOST to the agnhost binary}"
suite="$(realpath "${1:?usage: conformance.sh E2E_TEST [arguments of e2e.test]}")"
shift
if [ "$(id -u)" -ne 0 ]; then
    echo "The suite starts containers and needs root." >&2
    exit 1
fi
export CORTEN="$(realpath "$CORTEN")" AGNHOST="$(realpath "$AGNHOST")" SUITE="$suite"
export KUBECTL="$(realpath "${KUBECTL:-$(command -v kubectl)}")"
export SAMPLE_APISERVER="${SAMPLE_APISERVER:+$(realpath "$SAMPLE_APISERVER")}" ETCD="${ETCD:+$(realpath "$ETCD")}"
export WORK="${WORK:-$(mktemp -d -t corten-conformance-XXXXXX)}"
mkdir -p "$WORK"
WORK="$(realpath "$WORK")"
cd "$(dirname "$0")/../e2e"
mkdir -p "$WORK/images" "$WORK/home" "$WORK/report"
[ "$#" -gt 0 ] || set -- '--ginkgo.focus=\[Conformance\]' --ginkgo.timeout=6h

inside() {
    ip link set lo up
    "$CORTEN" up --nodes 2 --detach --data-dir "$WORK/data" \
        --eviction-hard 'memory.available<100Mi,nodefs.available<1Gi,nodefs.inodesFree<1%' --image-gc-high-threshold 100
    trap '"$CORTEN" down --data-dir "$WORK/data"; rm -rf "$WORK/data" "$WORK/images" "$WORK/home" "$WORK/import.log"' EXIT
    "$SUITE" --list-images | python3 -m corten_e2e.suite_images "$WORK/images" | while read -r what reference rest; do
        if [ "$what" = made ]; then
            "$CORTEN" image import "$rest" --data-dir "$WORK/data" >/dev/null 2>"$WORK/import.log" || cat "$WORK/import.log" >&2
            rm "$rest"
        else
            echo "skipped image $reference: $rest"
        fi
    done
    "$SUITE" --kubeconfig="$WORK/data/admin.kubeconfig" --provider=skeleton --kubectl-path="$KUBECTL" \
        --report-dir="$WORK/report" "$@"
}
export -f inside
echo "reports: $WORK/report"
HOME="$WORK/home" exec unshare --net -- bash -euo pipefail -c 'inside "$@"' conformance "$@"

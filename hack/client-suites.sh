#!/usr/bin/env bash
# Runs the integration tests of Kubernetes' Python client and of kube-rs, unchanged, against Corten, in a network namespace of
# its own without a route outside (docs/client-suites.md has the results):
#
#   CORTEN=target/release/corten PYTHON=python3 hack/client-suites.sh python CHECKOUT
#   CORTEN=target/release/corten hack/client-suites.sh kube-rs CHECKOUT PROGRAMS
#
# python: CHECKOUT of github.com/kubernetes-client/python at a release. PYTHON is an interpreter with the client's requirements and
# pytest.
# kube-rs: PROGRAMS is the directory with its tests and examples as programs, as cargo leaves them (`target/debug`).
# Images are made of programs of this machine (e2e/corten_e2e/client_suites.py).
set -euo pipefail
: "${CORTEN:?set CORTEN to the binary under test}"
suite="${1:?usage: client-suites.sh python CHECKOUT | kube-rs CHECKOUT PROGRAMS}"
if [ "$(id -u)" -ne 0 ]; then
    echo "The tests start containers and need root." >&2
    exit 1
fi
export CORTEN="$(realpath "$CORTEN")"

if [ "$suite" = python ]; then
    checkout="${2:?usage: client-suites.sh python CHECKOUT}"
    : "${PYTHON:?set PYTHON to an interpreter that has the requirements of the client and pytest}"
    export PYTHON
elif [ "$suite" = kube-rs ]; then
    checkout="${2:?usage: client-suites.sh kube-rs CHECKOUT PROGRAMS}"
    PROGRAMS="$(realpath "${3:?usage: client-suites.sh kube-rs CHECKOUT PROGRAMS}")"
    export PROGRAMS
    [ ! -x "$PROGRAMS/job" ] || export KUBE_RS_JOB="$PROGRAMS/job"
else
    echo "unknown suite $suite" >&2
    exit 1
fi
export CHECKOUT="$(realpath "$checkout")"

# What the client's own CI runs against a cluster, then the tests beside its modules, some of which ask for one too.
python_suite() {
    cd "$CHECKOUT"
    status=0
    for tests in kubernetes/e2e_test kubernetes/aio/e2e_test "kubernetes/base kubernetes/test -o python_files='test_*.py *_test.py'"; do
        eval "\"$PYTHON\" -m pytest -q -rfEs --tb=short -p no:cacheprovider $tests" || status=1
    done
    return "$status"
}

# The newest program of each test crate, with the tests that want a cluster.
kube_rs_tests() {
    for crate in kube_core kube_client kube_runtime kube; do
        program=$(find "$PROGRAMS/deps" -maxdepth 1 -type f -executable -regextype posix-extended -regex ".*/$crate-[0-9a-f]{16}" -printf '%T@ %p\n' |
            sort -rn | sed -n '1s/[^ ]* //p')
        echo "== $crate"
        "$program" --ignored || status=1
    done
}

# Examples that end by themselves; each starts without what another left.
kube_rs_examples() {
    for example in crd_api crd_derive crd_derive_multi crd_derive_schema crd_derive_no_schema dynamic_api dynamic_pod job_api pod_api pod_attach pod_cp \
        pod_evict pod_exec pod_paged pod_portforward pod_portforward_hyper_http pod_resize pod_log_kubelet_debug custom_client_retry; do
        [ -x "$PROGRAMS/examples/$example" ] || continue
        kubectl delete pod,job --all --wait >/dev/null 2>&1
        if (cd "$CHECKOUT/examples" && RUST_BACKTRACE=0 timeout 60 "$PROGRAMS/examples/$example") >"$HOME/example.log" 2>&1 </dev/null; then
            echo "example $example ... ok"
        else
            echo "example $example ... FAILED"
            tail -n 20 "$HOME/example.log"
            status=1
        fi
    done
}

# A program of kube-rs inside the cluster, with the rights of its manifest alone.
kube_rs_in_cluster() {
    [ ! -x "$PROGRAMS/boot" ] || "$PROGRAMS/boot" >"$HOME/boot.log" 2>&1 || { status=1; cat "$HOME/boot.log"; }
    [ -x "$PROGRAMS/job" ] || return 0
    kubectl apply -f "$CHECKOUT/e2e/deployment.yaml" -n apps
    kubectl wait --for=condition=complete job/e2e -n apps --timeout=60s || { status=1; kubectl logs job/e2e -n apps; }
}

kube-rs_suite() {
    status=0
    kube_rs_tests
    kube_rs_examples
    kube_rs_in_cluster
    return "$status"
}
export -f python_suite kube_rs_tests kube_rs_examples kube_rs_in_cluster kube-rs_suite

cd "$(dirname "$0")/../e2e"
unshare --net -- bash -c 'ip link set lo up && exec python3 -m corten_e2e.client_suites bash -uo pipefail -c "$1_suite"' run "$suite"

#!/usr/bin/env bash
# Manifests nobody here wrote, for the tests: those of the Kubernetes documentation, out of Debian's source package of
# Kubernetes, and a public project's (the Prometheus exporter of Elasticsearch) with its program, out of Debian's package of it.
# The documentation's Job needs a Math::BigInt without the error of perl 5.36's own. apt checks the signatures. Does nothing when DIR has them. Nothing of it becomes part of Corten.
#   documents.sh DIR
set -euo pipefail
into=${1:?documents.sh DIR}
[ -e "$into/complete" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/sources"
chmod -R a+rX "$work"
# The same archives this machine installs from, for sources. The machine's own lists stay as they are.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -e "$list" ] || continue
    grep -q debian.org/debian "$list" || grep -q '/debian\b' "$list" || continue
    sed -E 's/^deb (.*)/deb \1\ndeb-src \1/; s/^(Types:).*/\1 deb deb-src/' "$list" >"$work/sources/$(basename "$list")"
done
apt=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$work/sources" -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work" -o "APT::Sandbox::User=root" -o "Acquire::Retries=3" -qq)
echo "Fetching the Kubernetes documentation's manifests and a public project's (Debian's packages)"
apt-get "${apt[@]}" update
(cd "$work" && apt-get "${apt[@]}" source --download-only kubernetes)
(cd "$work" && apt-get "${apt[@]}" download prometheus-elasticsearch-exporter libmath-bigint-perl)
mkdir -p "$into"
tar -xf "$work"/kubernetes_*.orig.tar.* -C "$into" --strip-components=1 --wildcards \
    '*/test/fixtures/doc-yaml' '*/test/e2e/testing-manifests/guestbook' '*/staging/src/k8s.io/cli-runtime/artifacts'
dpkg-deb -x "$work"/prometheus-elasticsearch-exporter_*.deb "$into/elasticsearch-exporter"
dpkg-deb -x "$work"/libmath-bigint-perl_*.deb "$into/perl-modules"
touch "$into/complete"

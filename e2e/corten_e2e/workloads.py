"""Runs a recorded comparison of workloads (its script and record lie in FACTS) against a fresh cluster.

CORTEN=target/release/corten e2e/workloads.sh FACTS [arguments of workloads.py, such as --only NAME or --verbose]

The record was made on a build of upstream that publishes one more ConfigMap in every namespace; the script leaves its
name out of what it compares, but a quota counts it. So this publishes one of that name too.

`statefulset-ordered` compares only on a machine with time to spare. Its first wait, for the update, is over at once if the status is
read before the controller has seen the patch, as it was in the record; and the record was made 1.5 s after the status said
one replica, while the last pod was going, which takes 2 s: the kubelet's shortest grace. Whoever looks half a second late, or
reads a status that is already new, sees another moment of the same order."""

import os
import subprocess
import sys
import tempfile
import threading

from . import images
from .cluster import Cluster

NODE = "ref-0"
IMAGE = "registry.test/busybox:1.35"
# The first name of the image in the record, which is the one containers tell.
RECORDED = "docker.io/library/busybox:latest"
EXTRA = "openshift-service-ca.crt"


def publish(cluster, watch):
    """Creates the extra ConfigMap in every namespace as soon as there is one."""
    for line in watch.stdout:
        name = line.strip().removeprefix("namespace/")
        if name.startswith("wl-"):
            cluster.kubectl("create", "configmap", EXTRA, "-n", name, check=False)


def token(cluster):
    cluster.kubectl("create", "serviceaccount", "workloads", "-n", "default")
    cluster.kubectl("create", "clusterrolebinding", "workloads", "--clusterrole=cluster-admin",
                    "--serviceaccount=default:workloads")
    return cluster.out("create", "token", "workloads", "-n", "default", "--duration=2h").strip()


def main(facts, *arguments):
    cluster = Cluster("--node-name", NODE, name="workloads")
    try:
        cluster.up()
        with tempfile.TemporaryDirectory() as folder:
            tar = os.path.join(folder, "busybox.tar")
            images.docker_archive(tar, [RECORDED, IMAGE], [images.busybox_layer()], cmd=["sh"])
            cluster.import_image(tar)
        get = ["get", "namespaces", "--watch-only", "-o", "name"]
        watch = subprocess.Popen(["kubectl", *get], env=cluster.env, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=publish, args=(cluster, watch), daemon=True).start()
        server = cluster.out("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
        ca = os.path.join(cluster.root, "ca.crt")
        with open(ca, "w", encoding="ascii") as handle:
            handle.write(cluster.out("get", "configmap", "kube-root-ca.crt", "-n", "default",
                                     "-o", "jsonpath={.data.ca\\.crt}"))
        script, record = (os.path.join(facts, name) for name in ("workloads.py", "oracle/workloads.json"))
        done = subprocess.run([sys.executable, script, server, ca, token(cluster), IMAGE, "compare", record, *arguments])
        watch.kill()
        return done.returncode
    finally:
        cluster.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

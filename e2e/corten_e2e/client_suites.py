"""A cluster for other projects' client tests: images under the names that they ask for, made of programs of this machine
and pulled from a registry that mirrors all others. Runs the command given with KUBECONFIG set, and ends with its status.

KUBE_RS_JOB: kube-rs's `e2e/job.rs` as a program, for the image of its test inside the cluster.
"""

import os
import signal
import subprocess
import sys

from . import images
from .cluster import Cluster
from .registry import Registry
from .suite_images import Missing, pause

PYTHON = "/usr/bin/python3"
SHELLS = ("library/busybox:latest", "library/busybox:stable", "library/alpine:latest")
WEB = ("library/nginx:latest", "library/nginx:1.7.9", "library/nginx:1.10", "library/nginx:1.14.2", "library/nginx:1.15.4",
       "clux/blog:0.1.0")
# Parts of Python's library that no server of a few lines needs.
LEFT_OUT = ("test", "idlelib", "lib2to3", "ensurepip", "distutils", "pydoc_data", "tkinter", "__pycache__")


def python_layer():
    """Debian's Python with its library."""
    layer = images.Layer()
    program = os.path.realpath(PYTHON)
    layer.binary(program)
    layer.link("usr/bin/python", os.path.basename(program))
    for folder, folders, names in os.walk(f"/usr/lib/{os.path.basename(program)}"):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for path in (os.path.join(folder, name) for name in names):
            if path.endswith(".so"):
                layer.binary(path)
            elif path.endswith(".py"):
                with open(path, "rb") as handle:
                    layer.file(path, handle.read())
    return layer.done()


def job_layer(program):
    layer = images.Layer()
    layer.binary(program, "/app/job")
    return layer.done()


def push(registry, reference, layers, **options):
    name, tag = reference.split(":")
    registry.push(name, tag, layers, **options)


def push_images(registry):
    base = images.busybox_layer()
    for reference in SHELLS:
        push(registry, reference, [base], cmd=["sh"])
    for reference in WEB:
        push(registry, reference, [base, images.nginx_layer()], cmd=["nginx"])
    push(registry, "library/python:latest", [base, python_layer()], cmd=["python"])
    try:
        layers, options = pause()
        push(registry, "pause:2.0", layers, **options)
    except Missing as why:
        print("skipped image pause:", why, flush=True)
    if job := os.environ.get("KUBE_RS_JOB"):
        push(registry, "clux/kube-e2e:latest", [base, job_layer(job)], cmd=["/app/job"])


def main():
    # The cluster goes down however the command ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    registry = Registry()
    try:
        push_images(registry)
        cluster = Cluster("--registry-mirror", f"*={registry.address}", name="clients")
        try:
            cluster.up()
            status = subprocess.run(sys.argv[1:], env=cluster.env, check=False).returncode
        finally:
            cluster.close()
    finally:
        registry.close()
    sys.exit(status)


if __name__ == "__main__":
    main()

"""One cluster for the tests that do not stop or harm it, started when first asked for and closed at exit."""

import atexit
import os
import tempfile

from . import images
from .cluster import Cluster

BUSYBOX = "registry.test/busybox:1.35"
WEB = "registry.test/web:1"
WEB2 = "registry.test/web:2"
_cluster = None


def work_dir():
    directory = tempfile.mkdtemp(prefix="corten-images-")
    atexit.register(lambda: os.system(f"rm -rf {directory}"))
    return directory


def import_basics(cluster):
    """busybox, and two versions of a web server that says its version and pod name."""
    directory = work_dir()
    base = images.busybox_layer()
    cluster.import_image(images.docker_archive(f"{directory}/busybox.tar", [BUSYBOX], [base], cmd=["sh"]))
    for tag, version in ((WEB, "v1"), (WEB2, "v2")):
        script = f'mkdir -p /www; echo "{version} $(hostname)" > /www/index.html; exec httpd -f -v -p 8080 -h /www'
        cluster.import_image(images.oci_layout(f"{directory}/{version}.tar", tag, [base], cmd=["sh", "-c", script]))


def cluster():
    global _cluster
    if _cluster is None:
        _cluster = Cluster(name="shared")
        atexit.register(_cluster.close)
        _cluster.up()
        import_basics(_cluster)
    return _cluster

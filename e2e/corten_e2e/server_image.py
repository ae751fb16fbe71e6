"""An image of Debian's Python with the program `answerer.py`, and of Python's library only what that imports."""

import os
import subprocess

from . import images, shared

PYTHON = "/usr/bin/python3"
SERVER = "registry.test/server:1"
PROGRAM = os.path.join(os.path.dirname(__file__), "answerer.py")
IMPORTED = """import runpy, sys; runpy.run_path(sys.argv[1])
print(*{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}, sep='\\n')"""
COMMAND = [PYTHON, "-ISB", "/answerer.py"]
_imported = set()


def layer():
    layer = images.Layer()
    program = os.path.realpath(PYTHON)
    layer.binary(program)
    layer.link("usr/bin/python3", os.path.basename(program))
    listed = subprocess.run([PYTHON, "-IS", "-c", IMPORTED, PROGRAM], capture_output=True, text=True, check=True).stdout
    for path in sorted(listed.split()):
        if path.endswith(".so"):
            layer.binary(path)
        elif path != PROGRAM:
            with open(path, "rb") as handle:
                layer.file(path, handle.read())
    with open(PROGRAM, "rb") as handle:
        layer.file("answerer.py", handle.read())
    return layer.done()


def provide(cluster):
    """The image is in the cluster after this."""
    if cluster.root not in _imported:
        _imported.add(cluster.root)
        path = os.path.join(shared.work_dir(), "server.tar")
        cluster.import_image(images.docker_archive(path, [SERVER], [images.busybox_layer(), layer()], cmd=COMMAND))
    return cluster


def container(*what, name="c", **more):
    """A container that serves what is said, `http:8080` first and `udp:8081` after, and is ready when it listens."""
    listens = {"tcpSocket": {"port": int(what[0].split(":")[1])}, "periodSeconds": 1}
    command = {"name": name, "image": SERVER, "imagePullPolicy": "Never", "command": [*COMMAND, *what]}
    return {**command, "readinessProbe": listens, **more}

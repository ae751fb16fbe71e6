"""Images under the names that upstream's end-to-end suite asks for, made of programs of this machine.

Reads image references, one a line, from standard input (`e2e.test --list-images`), writes a docker-archive tar for
each it can make into the directory given, and prints `made REFERENCE FILE` or `skipped REFERENCE REASON`.
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile

from . import images

NAME_TOOLS = ("/usr/bin/dig", "/usr/bin/getent", "/usr/bin/curl", "/bin/nc.openbsd", "/bin/bash")
NETWORK_TOOLS = ("/usr/sbin/ip", "/usr/bin/iperf", "/usr/sbin/conntrack", "/usr/sbin/nft")
# What the suite's `update demo` expects of the two pictures it tells apart.
PICTURE = b'{"image": "%s.jpg"}\n'
# Ends on the signals that stop a container; as process 1 it must ask for them.
PAUSE = """#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
"""
EFFECTIVE_UID = """#include <stdio.h>
#include <unistd.h>
int main(void) { printf("Effective uid: %d\\n", (int)geteuid()); return 0; }
"""


class Missing(Exception):
    """A program of the image is not on this machine."""


def program(layer, source, path, mode=0o755):
    """A statically linked program of upstream's, as built from test/images."""
    if not source or not os.path.exists(source):
        raise Missing(f"no {os.path.basename(path)} given")
    with open(source, "rb") as handle:
        layer.file(path, handle.read(), mode)


def tools(layer, names):
    """Programs that specs call, and a shell that finds them: busybox's takes its own applets first."""
    layer.link("bin/sh", "bash")
    for name in names:
        if os.path.exists(name):
            layer.binary(name, "/usr/bin/nc" if name.endswith("nc.openbsd") else None)


def users(layer):
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n"
               b"user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n")
    layer.file("etc/group", b"root:x:0:\nnogroup:x:65534:\nuser-defined-in-image:x:1000:\n"
               b"group-defined-in-image:x:50000:user-defined-in-image\n")


def certificate(layer):
    """What agnhost's servers show as localhost; specs also ask for the file itself."""
    if not shutil.which("openssl"):
        raise Missing("no openssl")
    with tempfile.TemporaryDirectory() as directory:
        key, cert = f"{directory}/key", f"{directory}/cert"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        for source, path in ((key, "localhost.key"), (cert, "localhost.crt")):
            program(layer, source, path, 0o644)


@functools.cache
def agnhost():
    layer = images.Layer()
    tools(layer, NAME_TOOLS + NETWORK_TOOLS)
    program(layer, os.environ.get("AGNHOST"), "agnhost")
    layer.link("agnhost-2", "agnhost")
    layer.directory("uploads")
    certificate(layer)
    users(layer)
    layers = [images.busybox_layer(), layer.done()]
    return layers, {"cmd": ["pause"], "entrypoint": ["/agnhost"]}


def busybox():
    """With bash as its shell: busybox's leaves out variables whose names it could not use, as `data-1`."""
    layer = images.Layer()
    tools(layer, ("/bin/bash",))
    return [images.busybox_layer(), layer.done()], {"cmd": ["sh"]}


def compiled(layer, path, source, mode=0o755):
    """A static program of a few lines of C."""
    if not shutil.which("cc"):
        raise Missing("no C compiler")
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["cc", "-static", "-xc", "-o", f"{directory}/program", "-"], input=source, text=True, check=True)
        program(layer, f"{directory}/program", path, mode)


def pause():
    layer = images.Layer()
    compiled(layer, "pause", PAUSE)
    return [layer.done()], {"cmd": [], "entrypoint": ["/pause"]}


def nginx():
    if not os.path.exists("/usr/sbin/nginx"):
        raise Missing("no nginx on this machine")
    return [images.busybox_layer(), images.nginx_layer()], {"cmd": ["nginx"]}


def glibc_dns():
    layer = images.Layer()
    tools(layer, NAME_TOOLS)
    return [images.busybox_layer(), layer.done()], {"cmd": ["bash"]}


def nonroot():
    return [images.busybox_layer()], {"cmd": ["sh"], "user": "1234"}


def nonewprivs():
    """A setuid program that says whom it runs as."""
    layer = images.Layer()
    compiled(layer, "usr/bin/nnp", EFFECTIVE_UID, 0o6755)
    return [images.busybox_layer(), layer.done()], {"cmd": ["nnp"]}


def picture(name):
    def make():
        layers, options = agnhost()
        layer = images.Layer()
        layer.file("data.json", PICTURE % name.encode())
        layer.file(f"{name}.jpg", b"a picture\n")
        return [*layers, layer.done()], {**options, "cmd": ["test-webserver"]}
    return make


def sample_apiserver():
    layer = images.Layer()
    program(layer, os.environ.get("SAMPLE_APISERVER"), "sample-apiserver")
    return [images.busybox_layer(), layer.done()], {"cmd": [], "entrypoint": ["/sample-apiserver"]}


def etcd():
    """Of the aggregation spec: Debian's etcd-server does."""
    source = os.environ.get("ETCD") or shutil.which("etcd")
    if not source:
        raise Missing("no etcd on this machine")
    layer = images.Layer()
    layer.binary(source, "/usr/local/bin/etcd")
    return [images.busybox_layer(), layer.done()], {"cmd": ["etcd"]}


RECIPES = {
    "agnhost": agnhost, "busybox": busybox, "pause": pause, "nginx": nginx, "glibc-dns-testing": glibc_dns,
    "nonroot": nonroot, "nonewprivs": nonewprivs, "kitten": picture("kitten"), "nautilus": picture("nautilus"),
    "ipc-utils": busybox, "etcd": etcd, "sample-apiserver": sample_apiserver,
}


def make(reference, directory):
    """Writes the archive of one reference and returns its path; raises Missing."""
    name = reference.rsplit("/", 1)[-1].split(":")[0]
    if "authenticated" in reference or "invalid" in reference:
        raise Missing("the suite wants it not to be there")
    if name not in RECIPES:
        raise Missing("no recipe")
    layers, options = RECIPES[name]()
    path = os.path.join(directory, name + "-" + reference.rsplit(":", 1)[-1] + ".tar")
    return images.docker_archive(path, [reference], layers, **options)


def main():
    directory = sys.argv[1]
    for reference in sorted({line.strip() for line in sys.stdin if ":" in line}):
        try:
            print("made", reference, make(reference, directory), flush=True)
        except Missing as why:
            print("skipped", reference, why, flush=True)


if __name__ == "__main__":
    main()

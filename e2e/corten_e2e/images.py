"""Images made of Debian's binaries: docker-archive and OCI-layout tars, without a registry."""

import functools
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
WGET = "/usr/bin/wget"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layer:
    """An uncompressed layer tar under construction."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.GNU_FORMAT)
        self.seen = set()

    def directory(self, path, mode=0o755):
        path = path.strip("/")
        if not path or path in self.seen:
            return
        self.directory(os.path.dirname(path))
        self.seen.add(path)
        info = tarfile.TarInfo(path)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self.tar.addfile(info)

    def file(self, path, data, mode=0o644):
        path = path.strip("/")
        if path in self.seen:
            return
        self.directory(os.path.dirname(path))
        self.seen.add(path)
        info = tarfile.TarInfo(path)
        info.mode, info.size = mode, len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def link(self, path, target):
        self.directory(os.path.dirname(path.strip("/")))
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, target
        self.tar.addfile(info)

    def raw(self, info, data=b""):
        self.tar.addfile(info, io.BytesIO(data))

    def binary(self, source, path=None):
        """A dynamically linked program of this machine with every library it needs."""
        with open(source, "rb") as handle:
            self.file(path or source, handle.read(), 0o755)
        listing = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+)\s+\(0x", listing):
            with open(os.path.realpath(library), "rb") as handle:
                self.file(library, handle.read(), 0o755)

    def done(self):
        self.tar.close()
        return self.buffer.getvalue()


@functools.cache
def busybox_layer():
    layer = Layer()
    with open(BUSYBOX, "rb") as handle:
        layer.file("bin/busybox", handle.read(), 0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    # The static busybox's own wget crashes where it looks up names: glibc cannot do that in a static program.
    layer.binary(WGET)
    for applet in applets:
        if applet not in ("busybox", "wget"):
            layer.link(f"bin/{applet}", "busybox")
    base_files(layer)
    return layer.done()


def base_files(layer):
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n")
    layer.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    for path, mode in (("tmp", 0o1777), ("root", 0o700), ("var/tmp", 0o1777), ("run", 0o755)):
        layer.directory(path, mode)


def config(layers, cmd, env=(), user="", entrypoint=None, workdir="/", architecture="amd64"):
    body = {"Cmd": cmd, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", *env], "User": user, "WorkingDir": workdir}
    if entrypoint:
        body["Entrypoint"] = entrypoint
    return json.dumps({
        "architecture": architecture, "os": "linux", "config": body,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [{"created_by": "corten e2e"} for _ in layers],
    }, sort_keys=True).encode()


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def docker_archive(path, tags, layers, **options):
    """Writes what `docker save` writes."""
    image = config(layers, **options)
    name = digest(image)[7:] + ".json"
    with tarfile.open(path, "w") as tar:
        files = []
        for layer in layers:
            entry = digest(layer)[7:] + "/layer.tar"
            add(tar, entry, layer)
            files.append(entry)
        add(tar, name, image)
        add(tar, "manifest.json", json.dumps([{"Config": name, "RepoTags": tags, "Layers": files}]).encode())
    return path


def manifest(image, blobs):
    return json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(image), "size": len(image)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(blob), "size": len(blob)}
                   for blob in blobs],
    }).encode()


def oci_layout(path, tag, layers, **options):
    """Writes an OCI image layout tar with gzip layers."""
    image = config(layers, **options)
    blobs = [gzip.compress(layer, mtime=0) for layer in layers]
    body = manifest(image, blobs)
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(body), "size": len(body),
        "annotations": {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": tag},
        "platform": {"architecture": options.get("architecture", "amd64"), "os": "linux"}}]}
    with tarfile.open(path, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", json.dumps(index).encode())
        for blob in (image, body, *blobs):
            add(tar, "blobs/sha256/" + digest(blob)[7:], blob)
    return path


def nginx_layer(page=b"<h1>Welcome to nginx!</h1>\n"):
    layer = Layer()
    layer.binary("/usr/sbin/nginx")
    for library in ("/lib/x86_64-linux-gnu/libnss_files.so.2", "/lib/x86_64-linux-gnu/libnss_dns.so.2"):
        if os.path.exists(library):
            layer.binary(library)
    layer.file("etc/nginx/nginx.conf", b"""daemon off; worker_processes 1; error_log /dev/stderr; pid /run/nginx.pid;
events { worker_connections 64; }
http { access_log /dev/stdout; include /etc/nginx/mime.types; server { listen 80; root /usr/share/nginx/html; } }
""")
    layer.file("etc/nginx/mime.types", b"types { text/html html; text/plain txt; }\n")
    layer.file("usr/share/nginx/html/index.html", page)
    for path in ("var/log/nginx", "var/lib/nginx/body", "var/lib/nginx/proxy", "var/lib/nginx/fastcgi",
                 "var/lib/nginx/uwsgi", "var/lib/nginx/scgi"):
        layer.directory(path)
    return layer.done()


def redis_layer():
    layer = Layer()
    layer.binary("/usr/bin/redis-check-rdb", "/usr/bin/redis-server")
    layer.binary("/usr/bin/redis-cli")
    layer.directory("data")
    return layer.done()

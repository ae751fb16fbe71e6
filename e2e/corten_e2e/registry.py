"""Debian's docker-registry on loopback, open, with basic authentication or with bearer tokens, and a push by hand."""

import base64
import functools
import gzip
import json
import os
import socket
import subprocess
import tempfile
import urllib.request

from . import images, tokens

USER, PASSWORD = "puller", "corten-e2e"
# bcrypt of PASSWORD at cost 4, as `htpasswd -B` writes it.
HTPASSWD = "puller:$2b$04$abcdefghijklmnopqrstuuu2FcUeHeYTxWDt1miWmeBKtv8ZGDHTS"


@functools.cache
def compressed(layer):
    """Many images share a layer."""
    return gzip.compress(layer, mtime=0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    def __init__(self, htpasswd=None, bearer=False):
        self.directory = tempfile.TemporaryDirectory(prefix="corten-registry-")
        self.address = f"127.0.0.1:{free_port()}"
        self.credentials = htpasswd is not None
        config = f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {self.directory.name}/data}}}}\n"
        config += f"http: {{addr: '{self.address}'}}\n"
        if htpasswd:
            path = os.path.join(self.directory.name, "htpasswd")
            with open(path, "w", encoding="ascii") as handle:
                handle.write(htpasswd + "\n")
            config += f"auth: {{htpasswd: {{realm: corten, path: {path}}}}}\n"
        self.tokens = tokens.TokenServer(self.directory.name, USER, PASSWORD) if bearer else None
        if bearer:
            config += (f"auth: {{token: {{realm: '{self.tokens.realm}', service: {tokens.SERVICE}, issuer: {tokens.ISSUER}, "
                       f"rootcertbundle: {self.tokens.certificate}}}}}\n")
        path = os.path.join(self.directory.name, "config.yml")
        with open(path, "w", encoding="ascii") as handle:
            handle.write(config)
        self.process = subprocess.Popen(["docker-registry", "serve", path], stderr=subprocess.PIPE, text=True)
        self.wait_listening()

    def wait_listening(self):
        """Until the port accepts: the registry announces nothing at this log level."""
        host, port = self.address.split(":")
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
        raise AssertionError(f"docker-registry ended: {self.process.stderr.read()}")

    def close(self):
        self.process.terminate()
        self.process.communicate()
        if self.tokens:
            self.tokens.close()
        self.directory.cleanup()

    def request(self, method, url, data=None, kind="application/octet-stream"):
        headers = {"Content-Type": kind}
        if self.credentials:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.tokens:
            name = url.split("/v2/")[1].rsplit("/blobs/")[0].rsplit("/manifests/")[0]
            headers["Authorization"] = "Bearer " + self.tokens.token([f"repository:{name}:pull,push"])
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request) as answer:
            return answer.headers

    def push(self, name, tag, layers, **options):
        config = images.config(layers, **options)
        blobs = [compressed(layer) for layer in layers]
        base = f"http://{self.address}/v2/{name}"
        for blob in (config, *blobs):
            place = self.request("POST", f"{base}/blobs/uploads/", b"")["Location"]
            joint = "&" if "?" in place else "?"
            self.request("PUT", f"{place}{joint}digest={images.digest(blob)}", blob)
        body = images.manifest(config, blobs)
        self.request("PUT", f"{base}/manifests/{tag}", body, json.loads(body)["mediaType"])
        return f"{self.address}/{name}:{tag}"

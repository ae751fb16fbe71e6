"""The API server's proxy to pods and services, in every method, and logs over WebSocket."""

import base64
import os
import subprocess
import tempfile

from . import server_image
from .space import Space, pod, service, shell

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
LINES = "".join(f"line {n}\n" for n in range(3))
PORTS = [{"name": "plain", "port": 80, "targetPort": "dest"}, {"name": "number", "port": 81, "targetPort": 162},
         {"name": "sealed", "port": 443, "targetPort": "tlsdest"}, {"name": "sealednumber", "port": 444, "targetPort": 462}]


def pair():
    """A certificate that nobody trusts, and its key, as a Secret."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {"tls.crt": os.path.join(directory, "crt"), "tls.key": os.path.join(directory, "key")}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=pod",
                        "-out", paths["tls.crt"], "-keyout", paths["tls.key"]], check=True, capture_output=True)
        data = {}
        for name, path in paths.items():
            with open(path, "rb") as handle:
                data[name] = base64.b64encode(handle.read()).decode()
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pair"}, "type": "kubernetes.io/tls", "data": data}


class Proxy(Space):
    NS = "proxied"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        ports = [{"containerPort": 80}, {"name": "dest", "containerPort": 160}, {"name": "tlsdest", "containerPort": 460}]
        container = server_image.container("http:80", "http:160", "http:162", "https:460", "https:462", ports=ports,
                                           volumeMounts=[{"name": "pair", "mountPath": "/tls"}])
        cls.make(pair(), pod("target", container, labels={"app": "target"}, volumes=[{"name": "pair", "secret": {"secretName": "pair"}}]),
                 service("target", *PORTS, selector={"app": "target"}),
                 service("only", {"port": 80}, selector={"app": "target"}),
                 pod("talker", shell(f"printf '{LINES}'; exec sleep 3600".replace("\n", "\\n"))))
        cls.cluster.wait("pods", "condition=Ready", "--all", "-n", cls.NS)
        for name in ("target", "only"):
            endpoints = lambda found: any(e["conditions"]["ready"] for e in found["endpoints"] or [])
            cls.cluster.watch_until(endpoints, "endpointslices", "-l", f"kubernetes.io/service-name={name}", "-n", cls.NS)

    def answered(self, method, what, rest=""):
        """Asks with a body; gives the words of the answer: pod, port, method, path, body."""
        answer = self.api.request(method, self.path(what) + rest, "given", "text/plain")
        self.assertEqual(answer.status, 200, f"{method} {what} {answer.text}")
        return answer.text.split()

    def test_every_method(self):
        for what in ("pods/target/proxy", "services/only/proxy"):
            for method in METHODS:
                rest = f"?method={method}"
                if method in ("GET", "HEAD"):
                    # A page there would be the wrong base of its own links.
                    answer = self.api.request(method, self.path(what) + rest)
                    self.assertEqual((answer.status, answer.headers["Location"]), (301, f"{self.path(what)}/{rest}"))
                else:
                    self.assertEqual(self.answered(method, what, rest), ["target", "80", method, f"/{rest}", "given"])

    def test_every_method_with_a_path(self):
        for what in ("pods/target/proxy", "services/only/proxy"):
            for method in METHODS:
                wanted = [] if method == "HEAD" else ["target", "80", method, f"/some/path/with/{method}", "given"]
                self.assertEqual(self.answered(method, what, f"/some/path/with/{method}"), wanted)

    def test_names_and_numbers_of_ports(self):
        for scheme, name, port in (("", "plain", 160), ("http:", "plain", 160), ("", "number", 162), ("http:", "number", 162),
                                   ("https:", "sealed", 460), ("https:", "sealednumber", 462)):
            wanted = ["target", str(port), "GET", "/", "given"]
            self.assertEqual(self.answered("GET", f"services/{scheme}target:{name}/proxy", "/"), wanted)
            self.assertEqual(self.answered("GET", f"pods/{scheme}target:{port}/proxy", "/"), wanted)

    def test_links_lead_through_the_proxy(self):
        for what in ("pods/target/proxy", "pods/http:target:162/proxy", "pods/https:target:462/proxy"):
            answer = self.api.request("GET", self.path(what) + "/page")
            self.assertEqual(answer.text, f'<a href="{self.path(what)}/elsewhere">link</a>')

    def test_logs_over_websocket(self):
        self.until_logged("talker", "line 2")
        for wanted, decode in (("binary.k8s.io", bytes), ("base64.binary.k8s.io", base64.b64decode)):
            messages, protocol = self.api.messages(self.path("pods/talker/log?container=c"), wanted)
            self.assertEqual((b"".join(map(decode, messages)).decode(), protocol), (LINES, wanted))

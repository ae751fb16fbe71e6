"""An extension API server behind an APIService, and the audit log, as kubectl and an administrator see them."""

import http.server
import json
import os
import ssl
import subprocess
import tempfile
import threading
import unittest

from . import shared
from .cluster import Cluster

GROUP = "ext.example.com"


class Extension(http.server.BaseHTTPRequestHandler):
    """Serves one resource; its only object says who asks."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        meta = {"name": "one", "namespace": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        foo = {"apiVersion": f"{GROUP}/v1", "kind": "Foo", "metadata": meta,
               "user": self.headers["X-Remote-User"], "groups": self.headers.get_all("X-Remote-Group")}
        documents = {
            f"/apis/{GROUP}/v1": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1", "resources": [
                {"name": "foos", "singularName": "foo", "namespaced": True, "kind": "Foo", "verbs": ["get", "list"]}]},
            f"/apis/{GROUP}/v1/namespaces/default/foos": {
                "kind": "FooList", "apiVersion": f"{GROUP}/v1", "metadata": {}, "items": [foo]},
            f"/apis/{GROUP}/v1/namespaces/default/foos/one": foo,
        }
        document = documents.get(path)
        body = json.dumps(document or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).encode()
        self.send_response(200 if document else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve():
    """An HTTPS server with a certificate that nobody trusts; gives it and its port."""
    with tempfile.TemporaryDirectory() as directory:
        pair = os.path.join(directory, "pair.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=ext",
                        "-keyout", pair, "-out", pair + ".crt"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair + ".crt", pair)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Extension)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


class Aggregation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        cls.server, port = serve()
        addresses = cls.cluster.get("nodes")["items"][0]["status"]["addresses"]
        ip = next(a["address"] for a in addresses if a["type"] == "InternalIP")
        cls.cluster.apply(f"""
apiVersion: v1
kind: Service
metadata: {{name: ext}}
spec: {{ports: [{{name: https, port: 443}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: ext, labels: {{kubernetes.io/service-name: ext}}}}
addressType: IPv4
endpoints: [{{addresses: [{ip}]}}]
ports: [{{name: https, port: {port}, protocol: TCP}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1.{GROUP}}}
spec:
  group: {GROUP}
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 10
  insecureSkipTLSVerify: true
  service: {{name: ext, namespace: default}}
""")
        cls.cluster.wait(f"apiservice/v1.{GROUP}", "condition=Available")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.kubectl("delete", f"apiservice/v1.{GROUP}", "service/ext")
        cls.server.shutdown()

    def test_kubectl_finds_and_reads_the_resource(self):
        foos = self.cluster.get("foos")["items"]
        self.assertEqual([f["metadata"]["name"] for f in foos], ["one"])
        self.assertIn("system:masters", foos[0]["groups"])
        foo = self.cluster.get("foo.ext.example.com/one", "--as", "ann", "--as-group", "system:masters")
        self.assertEqual(foo["user"], "ann")

    def test_the_condition_is_upstreams(self):
        conditions = self.cluster.get(f"apiservice/v1.{GROUP}")["status"]["conditions"]
        self.assertEqual([(c["type"], c["status"], c["reason"]) for c in conditions], [("Available", "True", "Passed")])


class Audit(unittest.TestCase):
    def test_requests_are_recorded_and_users_known_by_their_tokens(self):
        with tempfile.TemporaryDirectory() as directory:
            policy, log = os.path.join(directory, "policy.yaml"), os.path.join(directory, "audit.log")
            with open(policy, "w", encoding="ascii") as handle:
                handle.write("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n"
                             "rules:\n- level: Request\n  verbs: [create]\n  resources: [{group: '', resources: [configmaps]}]\n")
            tokens = os.path.join(directory, "tokens.csv")
            with open(tokens, "w", encoding="ascii") as handle:
                handle.write('secret,ann,7,"dev,ops"\n')
            cluster = Cluster("--port", "7543", "--audit-policy-file", policy, "--audit-log-path", log,
                              "--token-auth-file", tokens, name="audit")
            try:
                cluster.up()
                stranger = ("--kubeconfig", os.devnull, "--server", "https://127.0.0.1:7543", "--insecure-skip-tls-verify")
                ann = json.loads(cluster.out("create", "--raw", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                                             "-f", "-", "--token", "secret", *stranger, stdin="{}"))
                self.assertEqual(ann["status"]["userInfo"],
                                 {"username": "ann", "uid": "7", "groups": ["dev", "ops", "system:authenticated"]})
                cluster.kubectl("create", "configmap", "seen", "--from-literal=a=b")
                # The log is written before the server ends.
                cluster.stop()
                with open(log, encoding="ascii") as handle:
                    events = [json.loads(line) for line in handle]
                mine = [e for e in events if e["objectRef"].get("name") == "seen"]
                self.assertEqual([(e["verb"], e["stage"], e["responseStatus"]["code"]) for e in mine],
                                 [("create", "ResponseComplete", 201)])
                self.assertEqual(mine[0]["requestObject"]["data"], {"a": "b"})
                self.assertIn("system:masters", mine[0]["user"]["groups"])
                self.assertTrue(mine[0]["userAgent"].startswith("kubectl"))
            finally:
                cluster.close()

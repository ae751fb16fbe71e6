"""Bad input gets upstream's error, or one that says what happened and what to do; nothing is half-made."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import tempfile
import unittest

from . import shared
from .cluster import CORTEN, Cluster, run


class Requests(unittest.TestCase):
    """Straight to the server, as the administrator."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        config = json.loads(cls.cluster.out("config", "view", "--raw", "-o", "json"))
        server = config["clusters"][0]["cluster"]["server"].removeprefix("https://")
        cls.host, cls.port = server.rsplit(":", 1)
        user = config["users"][0]["user"]
        cls.context = ssl.create_default_context(cafile=os.path.join(cls.cluster.data, "pki", "ca.crt"))
        with tempfile.NamedTemporaryFile("w") as pair:
            import base64

            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]).decode())
            pair.flush()
            cls.context.load_cert_chain(pair.name)

    def send(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPSConnection(self.host, int(self.port), context=self.context)
        try:
            connection.request(method, path, body, {"Content-Type": kind, "Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def refused(self, code, reason, text, *request, **options):
        status, body = self.send(*request, **options)
        self.assertEqual((status, body.get("reason")), (code, reason), body)
        self.assertIn(text, body["message"])
        return body

    CONFIGMAPS = "/api/v1/namespaces/default/configmaps"

    def test_malformed_bodies(self):
        self.refused(400, "BadRequest", "", "POST", self.CONFIGMAPS, b'{"kind": "ConfigMap", ')
        self.refused(400, "BadRequest", "", "POST", self.CONFIGMAPS, b"kind: [", kind="application/yaml")
        self.refused(400, "BadRequest", "", "POST", self.CONFIGMAPS, b"k8s\0\xff\xff\xff", kind="application/vnd.kubernetes.protobuf")
        self.refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format", "POST", self.CONFIGMAPS, b"x", kind="text/x-unknown")

    def test_wrong_kind_and_version(self):
        self.refused(400, "BadRequest", "cannot be handled as a ConfigMap", "POST", self.CONFIGMAPS,
                     json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}))
        absent = self.cluster.kubectl("get", "--raw", "/apis/apps/v9/deployments", check=False)
        self.assertIn("the server could not find the requested resource", absent.stderr)
        unknown = self.cluster.kubectl("apply", "-f", "-", stdin="apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: x}\n", check=False)
        self.assertIn('no matches for kind "Nothing" in version "example.com/v1"', unknown.stderr)

    def test_body_over_three_mebibytes(self):
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"x": "y" * (3 * 1024 * 1024)}})
        self.refused(413, "RequestEntityTooLarge", "limit is 3145728", "POST", self.CONFIGMAPS, body)

    def test_names(self):
        body = self.refused(422, "Invalid", 'ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain',
                            "POST", self.CONFIGMAPS, json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}}))
        self.assertEqual(body["details"]["causes"][0]["field"], "metadata.name")

    def test_conflict(self):
        self.cluster.kubectl("create", "configmap", "stale")
        self.addCleanup(self.cluster.kubectl, "delete", "configmap", "stale")
        old = self.cluster.get("configmap", "stale")
        self.cluster.kubectl("annotate", "configmap", "stale", "a=b")
        self.refused(409, "Conflict", 'Operation cannot be fulfilled on configmaps "stale": the object has been modified; please apply your changes to the latest version and try again',
                     "PUT", f"{self.CONFIGMAPS}/stale", json.dumps(old))
        self.refused(409, "AlreadyExists", 'configmaps "stale" already exists', "POST", self.CONFIGMAPS,
                     json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stale"}}))

    def test_continue_and_watch_tokens(self):
        self.refused(400, "BadRequest", "continue key is not valid", "GET", f"{self.CONFIGMAPS}?limit=1&continue=nonsense")
        status, body = self.send("GET", f"{self.CONFIGMAPS}?resourceVersion=99999999999")
        self.assertEqual((status, body["reason"]), (504, "Timeout"), body)

    def test_causes_of_an_invalid_deployment(self):
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"},
                      "spec": {"replicas": -1, "selector": {"matchLabels": {"a": "b"}},
                               "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c"}]}}}}
        body = self.refused(422, "Invalid", 'Deployment.apps "bad" is invalid', "POST", "/apis/apps/v1/namespaces/default/deployments", json.dumps(deployment))
        fields = {cause["field"] for cause in body["details"]["causes"]}
        self.assertLessEqual({"spec.replicas", "spec.template.metadata.labels", "spec.template.spec.containers[0].image"}, fields)

    def test_unknown_fields(self):
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odd"}, "dta": {"a": "b"}}
        self.refused(400, "BadRequest", 'strict decoding error: unknown field "dta"', "POST", f"{self.CONFIGMAPS}?fieldValidation=Strict", json.dumps(manifest))
        self.assertEqual(self.send("GET", f"{self.CONFIGMAPS}/odd")[0], 404)


class Starting(unittest.TestCase):
    def test_second_up_on_the_same_data(self):
        cluster = shared.cluster()
        again = cluster.corten("up", "--detach", check=False)
        self.assertNotEqual(again.returncode, 0)
        self.assertIn("already runs on", again.stdout + again.stderr)
        self.assertIn("--data-dir", again.stdout + again.stderr)
        cluster.kubectl("get", "nodes")

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            cluster = Cluster("--port", port, name="port")
            try:
                failed = cluster.up(check=False)
                self.assertNotEqual(failed.returncode, 0)
                self.assertRegex(failed.stdout + failed.stderr, rf"{port}.*in use")
                self.assertIn("--port", failed.stdout + failed.stderr)
            finally:
                cluster.close()

    def test_not_root(self):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o777)
            done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", CORTEN, "up", "--detach",
                                   "--data-dir", f"{directory}/data"], capture_output=True, text=True, cwd="/")
            if "Permission denied" in done.stderr and "setpriv" in done.stderr:
                self.skipTest("the binary is not readable for others here")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("root", done.stderr)

    def test_full_disk(self):
        """On a file system of 96 MiB: writes are refused with an answer, what was acknowledged stays readable."""
        with tempfile.TemporaryDirectory(prefix="corten-full-") as directory:
            run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", directory])
            cluster = Cluster("--port", "12443", "--kubelet-port", "15250", name="full")
            cluster.data = os.path.join(directory, "data")
            cluster.env["KUBECONFIG"] = cluster.kubeconfig
            try:
                cluster.up()
                cluster.kubectl("create", "configmap", "before", "--from-literal=k=v")
                free = os.statvfs(directory)
                with open(os.path.join(directory, "filler"), "wb") as filler:
                    filler.write(b"\0" * (free.f_bavail * free.f_frsize - 65536))
                refused, payload = None, "x" * 100_000
                for index in range(64):
                    done = cluster.kubectl("create", "configmap", f"fill-{index}", f"--from-literal=k={payload}", check=False)
                    if done.returncode != 0:
                        refused = done
                        break
                self.assertIsNotNone(refused, "the disk never filled")
                self.assertRegex(refused.stderr, r"(?i)space")
                self.assertEqual(cluster.out("get", "configmap", "before", "-o", "jsonpath={.data.k}"), "v")
                os.unlink(os.path.join(directory, "filler"))
                cluster.kubectl("create", "configmap", "after")
            finally:
                cluster.close()
                run(["umount", "-l", directory])


class OldClient(unittest.TestCase):
    """Debian's kubectl 1.20 checks manifests itself, by the OpenAPI document: KUBECTL_OLD names it where both are there."""

    def test_validation_by_openapi(self):
        cluster = shared.cluster()
        old = os.environ.get("KUBECTL_OLD", "kubectl")
        manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\n%s: {a: b}\n"
        refused = run([old, "create", "--dry-run=client", "-f", "-"], env=cluster.env, stdin=manifest % "dta", check=False)
        accepted = run([old, "create", "-f", "-"], env=cluster.env, stdin=manifest % "data")
        self.assertIn("created", accepted.stdout)
        cluster.kubectl("delete", "configmap", "odd")
        if refused.returncode != 0:
            self.assertIn('unknown field "dta"', refused.stderr)

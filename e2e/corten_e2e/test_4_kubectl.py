"""What kubectl's commands find and do, without containers unless a line says otherwise."""

import json
import os
import re
import socket
import subprocess
import unittest

from . import shared
from .cluster import KUBECTL, wait_readable

RC = """
apiVersion: v1
kind: ReplicationController
metadata: {name: rc, labels: {app: rc}}
spec:
  replicas: 1
  selector: {app: rc}
  template:
    metadata: {labels: {app: rc}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: %s, ports: [{containerPort: 8080}]}]
""" % shared.WEB
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: differs}
spec:
  replicas: 0
  selector: {matchLabels: {app: differs}}
  template:
    metadata: {labels: {app: differs}}
    spec: {containers: [{name: main, image: %s}]}
"""


class Kubectl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        cls.cluster.kubectl("create", "namespace", "cli")
        cls.cluster.apply(RC, "-n", "cli")
        cls.cluster.wait("replicationcontroller/rc", "jsonpath={.status.readyReplicas}=1", "-n", "cli")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.kubectl("delete", "namespace", "cli", "--wait=false")

    def out(self, *args, **options):
        return self.cluster.out(*args, "-n", "cli", **options)

    def pod_of_rc(self):
        return self.out("get", "pods", "-l", "app=rc", "-o", "jsonpath={.items[0].metadata.name}")

    def test_api_versions(self):
        self.assertIn("v1", self.out("api-versions").splitlines())

    def test_cluster_info(self):
        self.assertRegex(self.out("cluster-info"), r"Kubernetes control plane.* is running at .*https://")

    def test_version(self):
        text = self.out("version")
        for line in (r"Client Version: .*v1", r"Server Version: .*v1\.36\."):
            self.assertRegex(text, line)

    def test_describe(self):
        text = self.out("describe", "replicationcontroller", "rc")
        for line in (r"Name: +rc", r"Replicas: +1 current / 1 desired", r"Pods Status: +1 Running", r"Image: +registry.test/web:1", r"SuccessfulCreate"):
            self.assertRegex(text, line)
        text = self.out("describe", "pod", self.pod_of_rc())
        for line in (r"Controlled By: +ReplicationController/rc", r"Status: +Running", r"Node: "):
            self.assertRegex(text, line)
        self.assertRegex(self.out("describe", "namespace", "cli"), r"Status: +Active")

    def test_diff(self):
        self.cluster.apply(DEPLOYMENT % "one:1", "-n", "cli")
        same = self.cluster.kubectl("diff", "-n", "cli", "-f", "-", stdin=DEPLOYMENT % "one:1", check=False)
        other = self.cluster.kubectl("diff", "-n", "cli", "-f", "-", stdin=DEPLOYMENT % "two:2", check=False)
        self.assertEqual((same.returncode, other.returncode), (0, 1), same.stderr + other.stderr)
        self.assertRegex(other.stdout, r"(?m)^\+.*image: two:2")

    def test_expose(self):
        self.out("expose", "replicationcontroller", "rc", "--name=one", "--port=1234", "--target-port=8080")
        self.out("expose", "service", "one", "--name=two", "--port=2345", "--target-port=8080")
        for name, port in (("one", 1234), ("two", 2345)):
            slice_of = ("endpointslices", "-n", "cli", "-l", f"kubernetes.io/service-name={name}")
            self.cluster.watch_until(lambda s: s.get("endpoints"), *slice_of)
            self.assertEqual(self.cluster.get("service", name, "-n", "cli")["spec"]["ports"][0]["port"], port)

    def test_label(self):
        pod = self.pod_of_rc()
        self.out("label", "pod", pod, "tried=yes")
        self.assertRegex(self.out("get", "pod", pod, "-L", "tried"), r"yes")
        self.out("label", "pod", pod, "tried-")
        self.assertNotRegex(self.out("get", "pod", pod, "-L", "tried"), r"yes")

    def test_patch(self):
        pod = self.pod_of_rc()
        self.out("patch", "pod", pod, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
        self.assertEqual(self.cluster.get("pod", pod, "-n", "cli")["metadata"]["annotations"]["x"], "y")

    def test_run_once_and_replace(self):
        self.cluster.out("run", "once", "-n", "cli", f"--image={shared.BUSYBOX}", "--restart=Never", "--", "true")
        pod = self.cluster.get("pod", "once", "-n", "cli")
        self.assertEqual((pod["spec"]["containers"][0]["image"], pod["spec"]["restartPolicy"]), (shared.BUSYBOX, "Never"))
        ended = lambda pod: pod["status"].get("phase") == "Succeeded"
        pod = self.cluster.watch_until(ended, "pod", "once", "-n", "cli")
        pod["spec"]["containers"][0]["image"] = shared.WEB
        # The kubelet may write once more.
        del pod["metadata"]["resourceVersion"]
        self.cluster.kubectl("replace", "-n", "cli", "-f", "-", stdin=json.dumps(pod))
        self.assertEqual(self.cluster.get("pod", "once", "-n", "cli")["spec"]["containers"][0]["image"], shared.WEB)

    def test_dry_run_by_the_server(self):
        pod = self.pod_of_rc()
        patch = json.dumps({"spec": {"containers": [{"name": "main", "image": "other:1"}]}})
        text = self.out("patch", "pod", pod, "--dry-run=server", "-p", patch, "-o", "jsonpath={.spec.containers[0].image}")
        self.assertEqual(text, "other:1")
        self.assertEqual(self.cluster.get("pod", pod, "-n", "cli")["spec"]["containers"][0]["image"], shared.WEB)

    def test_scale_of_a_controller(self):
        self.cluster.apply(RC.replace("name: rc", "name: sc").replace("app: rc", "app: sc"), "-n", "cli")
        for count in (2, 1):
            self.out("scale", "replicationcontroller", "sc", f"--replicas={count}")
            self.cluster.wait("replicationcontroller/sc", "jsonpath={.status.readyReplicas}=" + str(count), "-n", "cli")
        self.out("delete", "replicationcontroller", "sc", "--cascade=foreground")
        self.assertEqual(self.out("get", "pods", "-l", "app=sc", "-o", "name").split(), [])

    def test_explain(self):
        text = self.out("explain", "pod.spec.containers.livenessProbe")
        self.assertRegex(text, r"(FIELD|RESOURCE): livenessProbe <(Probe|Object)>")
        self.assertRegex(text, r"initialDelaySeconds\s+<integer>")
        for field in ("pod", "deployment.spec.replicas", "service.spec.ports.targetPort", "cronjob.spec.schedule", "configmap.metadata.labels"):
            self.assertRegex(self.out("explain", field), r"(?s)DESCRIPTION:\s+[A-Z][^<]{20,}", field)

    def proxy(self, *args):
        process = subprocess.Popen([KUBECTL, "proxy", *args], env=self.cluster.env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        wait_readable(process.stdout.fileno())
        return process.stdout.readline()

    def ask(self, connection):
        connection.sendall(b"GET /api/ HTTP/1.0\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        connection.close()
        self.assertIn(b'"APIVersions"', answer)

    def test_proxy_on_any_port(self):
        port = int(re.search(r":(\d+)$", self.proxy("--port=0", "--disable-filter").strip()).group(1))
        self.ask(socket.create_connection(("127.0.0.1", port)))

    def test_proxy_on_a_socket(self):
        path = os.path.join(self.cluster.root, "proxy.sock")
        self.proxy(f"--unix-socket={path}", "--disable-filter")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        self.ask(connection)

"""Steps 3 and 4: a Deployment behind a Service, through its whole life, with kubectl."""

import json
import re
import unittest
import urllib.request

from . import shared

PROBED = """
apiVersion: v1
kind: Pod
metadata: {name: flaky, labels: {app: flaky}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: %s
    readinessProbe: {exec: {command: [test, "!", -e, /tmp/broken]}, periodSeconds: 1, failureThreshold: 1}
"""


class Deployment(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        cls.cluster.kubectl("create", "deployment", "web", f"--image={shared.WEB}", "--replicas=3", "--port=8080")
        cls.cluster.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
        cls.cluster.rollout("deployment/web")
        cls.cluster.kubectl("run", "client", f"--image={shared.BUSYBOX}", "--", "sleep", "3600")
        cls.cluster.wait("pod/client", "condition=Ready")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.kubectl("delete", "deployment/web", "service/web", "pod/client", "--grace-period=1", "--ignore-not-found")

    def fetch(self, host):
        return self.cluster.exec("client", "wget", "-q", "-T", "5", "-O", "-", f"http://{host}/").stdout.strip()

    def test_get_prints_as_upstream(self):
        table = self.cluster.out("get", "pods", "-l", "app=web", "-o", "wide").splitlines()
        self.assertRegex(table[0], r"^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES")
        self.assertEqual(len(table), 4)
        for row in table[1:]:
            self.assertRegex(row, r"^web-\w+-\w{5} +1/1 +Running +0 +\d+[ms]\S* +\d+\.\d+\.\d+\.\d+ +\S+ +<none> +<none>")
        self.assertRegex(self.cluster.out("get", "deployment", "web"), r"web +3/3 +3 +3 +")

    def test_components_are_named_as_owners_of_what_they_write(self):
        def managers(path):
            found = json.loads(self.cluster.out("get", "--raw", path))
            found = found["items"][0] if "items" in found else found
            return {(f["manager"], f.get("subresource", "")) for f in found["metadata"]["managedFields"]}

        deployment = managers("/apis/apps/v1/namespaces/default/deployments/web")
        self.assertIn(("kube-controller-manager", "status"), deployment)
        pod = managers("/api/v1/namespaces/default/pods?labelSelector=app%3Dweb&limit=1")
        self.assertEqual(pod, {("kube-controller-manager", ""), ("kubelet", "status")})
        node = managers(f"/api/v1/nodes/{self.cluster.get('nodes')['items'][0]['metadata']['name']}")
        self.assertIn(("kubelet", ""), node)
        self.assertNotIn("", {manager for manager, _ in deployment | pod | node})

    def test_service_by_address_and_names(self):
        address = self.cluster.out("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
        for host in (address, "web", "web.default", "web.default.svc.cluster.local"):
            self.assertRegex(self.fetch(host), r"^v1 web-", host)

    def test_load_balancer_has_the_node_s_address(self):
        self.cluster.kubectl("expose", "deployment", "web", "--type=LoadBalancer", "--port=8081", "--target-port=8080", "--name=outside")
        try:
            given = self.cluster.watch_until(lambda s: s["status"]["loadBalancer"].get("ingress"), "service", "outside")
            address = given["status"]["loadBalancer"]["ingress"][0]["ip"]
            self.assertRegex(self.cluster.out("get", "service", "outside"), rf"outside +LoadBalancer +\S+ +{address} +8081:\d+/TCP")
            self.assertRegex(self.fetch(f"{address}:8081"), "^v1 web-")
            with urllib.request.urlopen(f"http://{address}:8081/", timeout=5) as answer:
                self.assertRegex(answer.read().decode(), "^v1 web-")
        finally:
            self.cluster.kubectl("delete", "service", "outside")

    def test_load_is_spread(self):
        seen = {self.fetch("web") for _ in range(40)}
        self.assertEqual(len(seen), 3)

    def test_unready_pod_leaves_the_service(self):
        self.cluster.apply(PROBED % shared.WEB)
        self.cluster.kubectl("expose", "pod", "flaky", "--port=80", "--target-port=8080")
        try:
            self.cluster.wait("pod/flaky", "condition=Ready")
            slice_of = ("endpointslices", "-l", "kubernetes.io/service-name=flaky")
            ready = lambda want: lambda s: [e["conditions"]["ready"] for e in s.get("endpoints") or []] == [want]
            self.cluster.watch_until(ready(True), *slice_of)
            self.cluster.exec("flaky", "touch", "/tmp/broken")
            self.cluster.watch_until(ready(False), *slice_of)
            refused = self.cluster.exec("client", "wget", "-T", "3", "-O", "-", "http://flaky/", check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.cluster.exec("flaky", "rm", "/tmp/broken")
            self.cluster.watch_until(ready(True), *slice_of)
            self.assertRegex(self.fetch("flaky"), "flaky")
        finally:
            self.cluster.kubectl("delete", "pod/flaky", "service/flaky")

    def test_logs_and_follow(self):
        self.fetch("web")
        pods = self.cluster.out("get", "pods", "-l", "app=web", "-o", "name").split()
        self.assertTrue(any("GET" in self.cluster.out("logs", pod) or "response:200" in self.cluster.out("logs", pod) for pod in pods))
        self.cluster.kubectl("run", "talker", f"--image={shared.BUSYBOX}", "--restart=Never", "--",
                             "sh", "-c", "for i in 1 2 3; do echo line $i; done")
        self.assertEqual(self.cluster.out("logs", "-f", "talker", "--pod-running-timeout=30s").split("\n")[:3], ["line 1", "line 2", "line 3"])
        self.cluster.kubectl("delete", "pod", "talker")

    def test_exec_interactive_and_exit_code(self):
        self.assertEqual(self.cluster.kubectl("exec", "-i", "client", "--", "cat", stdin="through\n").stdout, "through\n")
        failed = self.cluster.exec("client", "sh", "-c", "exit 7", check=False)
        self.assertEqual(failed.returncode, 7)
        self.assertIn("command terminated with exit code 7", failed.stderr)

    def test_describe(self):
        text = self.cluster.out("describe", "deployment", "web")
        self.assertRegex(text, r"Replicas: +3 desired \| 3 updated \| 3 total \| 3 available \| 0 unavailable")
        self.assertRegex(text, r"ScalingReplicaSet +\S+ +deployment-controller +Scaled up replica set web-\w+ from 0 to 3")
        pod = self.cluster.out("get", "pods", "-l", "app=web", "-o", "name").split()[0]
        text = self.cluster.out("describe", pod)
        for reason in ("Scheduled", "Pulled", "Created", "Started"):
            self.assertIn(reason, text)

    def test_update_and_undo(self):
        self.cluster.kubectl("set", "image", "deployment/web", f"web={shared.WEB2}")
        self.assertIn('deployment "web" successfully rolled out', self.cluster.rollout("deployment/web"))
        self.assertRegex(self.fetch("web"), "^v2 ")
        history = self.cluster.out("rollout", "history", "deployment/web")
        self.assertEqual(re.findall(r"^(\d+) ", history, re.M)[:2], ["1", "2"])
        self.cluster.kubectl("rollout", "undo", "deployment/web")
        self.cluster.rollout("deployment/web")
        self.assertRegex(self.fetch("web"), "^v1 ")

    def test_scale_and_self_healing(self):
        self.cluster.kubectl("scale", "deployment", "web", "--replicas=5")
        self.cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=5")
        self.cluster.kubectl("scale", "deployment", "web", "--replicas=3")
        self.cluster.wait("deployment/web", "jsonpath={.status.replicas}=3")
        victim = self.cluster.out("get", "pods", "-l", "app=web", "-o", "name").split()[0]
        self.cluster.kubectl("delete", victim, "--grace-period=1")
        self.cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=3")
        self.assertNotIn(victim, self.cluster.out("get", "pods", "-l", "app=web", "-o", "name"))

    def test_delete_cascades(self):
        self.cluster.kubectl("create", "deployment", "gone", f"--image={shared.BUSYBOX}", "--", "sleep", "3600")
        self.cluster.rollout("deployment/gone")
        self.cluster.kubectl("delete", "deployment", "gone", "--cascade=foreground")
        self.assertEqual(self.cluster.out("get", "replicasets", "-l", "app=gone", "-o", "name"), "")

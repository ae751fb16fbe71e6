"""Step 5: three nodes on one machine."""

import os
import signal
import unittest

from . import server_image, shared, space
from .cluster import Cluster
from .space import pod

PINNED = """
apiVersion: v1
kind: Pod
metadata: {name: on-%(node)s}
spec:
  nodeName: %(node)s
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: %(image)s}]
"""


class Nodes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--port", "10443", "--nodes", "3", "--node-monitor-grace-period", "21s", name="nodes")
        cls.cluster.up()
        shared.import_basics(cls.cluster)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def nodes(self):
        return [item["metadata"]["name"] for item in self.cluster.get("nodes")["items"]]

    def test_1_pods_talk_across_nodes_without_nat(self):
        nodes = self.nodes()
        self.assertEqual(len(nodes), 3)
        for node in nodes:
            self.cluster.apply(PINNED % {"node": node, "image": shared.WEB})
        for node in nodes:
            self.cluster.wait(f"pod/on-{node}", "condition=Ready")
        address = {node: self.cluster.out("get", "pod", f"on-{node}", "-o", "jsonpath={.status.podIP}") for node in nodes}
        for source in nodes:
            for target in nodes:
                answer = self.cluster.exec(f"on-{source}", "wget", "-q", "-T", "5", "-O", "-", f"http://{address[target]}:8080/")
                self.assertEqual(answer.stdout.split(), ["v1", f"on-{target}"])
        log = self.cluster.out("logs", f"on-{nodes[2]}")
        for source in nodes[:2]:
            self.assertIn(address[source], log, "the server must see the client pod's own address")

    def test_2_no_route_outside(self):
        node = self.nodes()[0]
        routes = self.cluster.exec(f"on-{node}", "ip", "route").stdout
        self.assertIn("default", routes)
        self.assertNotEqual(self.cluster.exec(f"on-{node}", "wget", "-T", "2", "-O", "-", "http://192.0.2.1/", check=False).returncode, 0)

    def test_2_udp_to_pods_from_pods_and_nodes(self):
        """Each pod answers each other pod, and a pod that has its node's own network."""
        nodes = self.nodes()
        server_image.provide(self.cluster)
        asks = {**{f"udp-{node}": {"nodeName": node} for node in nodes},
                **{f"host-{node}": {"nodeName": node, "hostNetwork": True} for node in nodes}}
        what = ("http:8080", "udp:8081")
        pods = [pod(name, server_image.container(*what) if name.startswith("udp") else space.sleeper(image=server_image.SERVER), **spec)
                for name, spec in asks.items()]
        self.cluster.apply_all(pods)
        for name in asks:
            self.cluster.wait(f"pod/{name}", "condition=Ready")
        address = {item["metadata"]["name"]: item["status"]["podIP"] for item in self.cluster.get("pods")["items"]}
        for source in asks:
            for target in (name for name in asks if name.startswith("udp")):
                answer = self.cluster.exec(source, *server_image.COMMAND, "ask", address[target], "8081").stdout.split()
                self.assertEqual(answer[:2], [target, "8081"])
                if source.startswith("udp"):
                    self.assertEqual(answer[-1], address[source], "the server must see the client pod's own address")
        self.cluster.kubectl("delete", "pods", *asks)

    def test_3_a_dead_agent_s_pods_are_replaced(self):
        self.cluster.kubectl("create", "deployment", "web", f"--image={shared.WEB}", "--replicas=6")
        patch = '{"spec":{"template":{"spec":{"tolerations":[%s]}}}}' % ",".join(
            '{"key":"node.kubernetes.io/%s","operator":"Exists","effect":"NoExecute","tolerationSeconds":1}' % key
            for key in ("not-ready", "unreachable"))
        self.cluster.kubectl("patch", "deployment", "web", "-p", patch)
        self.cluster.rollout("deployment/web")
        pods = self.cluster.get("pods", "-l", "app=web")["items"]
        victim = pods[0]["spec"]["nodeName"]
        with open(os.path.join(self.cluster.data, "nodes", victim, "agent.pid"), encoding="ascii") as handle:
            os.kill(int(handle.read()), signal.SIGKILL)
        self.cluster.wait(f"node/{victim}", "condition=Ready=Unknown")
        self.assertRegex(self.cluster.out("get", "nodes"), rf"{victim} +NotReady ")
        self.cluster.rollout("deployment/web")

        def elsewhere(deployment):
            return deployment["status"].get("readyReplicas") == 6
        self.cluster.watch_until(elsewhere, "deployment", "web")
        running = [p for p in self.cluster.get("pods", "-l", "app=web")["items"] if not p["metadata"].get("deletionTimestamp")]
        self.assertEqual(len(running), 6)
        self.assertNotIn(victim, {p["spec"]["nodeName"] for p in running})

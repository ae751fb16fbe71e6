"""Services of type LoadBalancer on two nodes: their addresses, who reaches them, and who gets a port that two want."""

import os
import re
import time
import unittest

from . import shared
from .cluster import DEADLINE_S, Cluster, run
from .images import WGET


def ingress(service):
    return [entry["ip"] for entry in service["status"]["loadBalancer"].get("ingress") or []]


class Balancer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--port", "11443", "--nodes", "2", name="balancer")
        cls.cluster.up()
        shared.import_basics(cls.cluster)
        cls.cluster.kubectl("create", "deployment", "web", f"--image={shared.WEB}")
        cls.cluster.kubectl("run", "client", f"--image={shared.BUSYBOX}", "--", "sleep", "3600")
        cls.cluster.rollout("deployment/web")
        cls.cluster.wait("pod/client", "condition=Ready")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def expose(self, name):
        self.cluster.kubectl("expose", "deployment", "web", "--type=LoadBalancer", "--port=80", "--target-port=8080", f"--name={name}")

    def given(self, name, addresses):
        """Until the Service has these addresses."""
        return self.cluster.watch_until(lambda service: ingress(service) == addresses, "service", name)

    def node_addresses(self):
        nodes = self.cluster.get("nodes")["items"]
        internal = lambda node: [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
        return sorted((ip for node in nodes for ip in internal(node)), key=lambda ip: [int(part) for part in ip.split(".")])

    def event(self, reason, name):
        about = lambda e: e["reason"] == reason and e["involvedObject"]["name"] == name
        return self.cluster.watch_until(about, "events")["message"]

    def fetch(self, address, wanted):
        """From beside the nodes, outside the pod network, until the answer is as wanted: proxies follow the status a moment later."""
        outside = os.path.join(self.cluster.data, "netns", "cluster")
        command = [WGET, "--no-verbose", "--no-proxy", "-T", "2", "-t", "1", "-O", "-", f"http://{address}/"]
        end = time.monotonic() + DEADLINE_S
        while True:
            done = run(["nsenter", f"--net={outside}", *command], check=False)
            if re.search(wanted, done.stdout + done.stderr):
                return
            self.assertLess(time.monotonic(), end, f"{address} does not say {wanted}: {done}")

    def test_1_the_addresses_of_all_nodes(self):
        addresses = self.node_addresses()
        self.assertEqual(len(addresses), 2)
        self.expose("web")
        self.given("web", addresses)
        self.assertRegex(self.cluster.out("get", "service", "web"), rf"web +LoadBalancer +\S+ +{','.join(addresses)} +80:\d+/TCP")
        for address in addresses:
            answer = self.cluster.exec("client", "wget", "-q", "-T", "5", "-O", "-", f"http://{address}/").stdout
            self.assertRegex(answer, "^v1 web-")
            self.fetch(address, "^v1 web-")
        text = self.cluster.out("describe", "service", "web")
        self.assertRegex(text, r"EnsuringLoadBalancer +\S+ +service-controller +Ensuring load balancer")
        self.assertRegex(text, r"EnsuredLoadBalancer +\S+ +service-controller +Ensured load balancer")

    def test_2_under_policy_local_only_where_it_runs(self):
        self.cluster.kubectl("patch", "service", "web", "-p", '{"spec":{"externalTrafficPolicy":"Local"}}')
        pod = self.cluster.get("pods", "-l", "app=web")["items"][0]
        own = pod["status"]["hostIP"]
        self.given("web", [own])
        self.fetch(own, "^v1 web-")
        other = next(ip for ip in self.node_addresses() if ip != own)
        self.fetch(other, "refused|timed out")
        self.cluster.kubectl("patch", "service", "web", "-p", '{"spec":{"externalTrafficPolicy":"Cluster"}}')
        self.given("web", self.node_addresses())

    def test_3_the_older_keeps_a_port_until_it_is_free(self):
        addresses = self.node_addresses()
        self.expose("web-later")
        self.assertRegex(self.event("SyncLoadBalancerFailed", "web-later"),
                         rf"^Error syncing load balancer: failed to ensure load balancer: port 80/TCP of {addresses[0]} is taken by Service default/web$")
        self.assertRegex(self.cluster.out("get", "service", "web-later"), r"web-later +LoadBalancer +\S+ +<pending> ")
        self.cluster.kubectl("patch", "service", "web", "-p", '{"spec":{"type":"ClusterIP"}}')
        released = self.cluster.watch_until(lambda s: not s["metadata"].get("finalizers"), "service", "web")
        self.assertEqual(ingress(released), [])
        self.assertEqual(self.event("DeletedLoadBalancer", "web"), "Deleted load balancer")
        self.given("web-later", addresses)
        self.assertRegex(self.cluster.out("get", "service", "web"), r"web +ClusterIP +\S+ +<none> ")
        self.fetch(addresses[1], "^v1 web-")

    def test_4_what_a_client_writes_stays(self):
        def other(service):
            service["status"]["loadBalancer"] = {"ingress": [{"ip": "203.0.113.1"}]}
        self.cluster.replace_raw("/api/v1/namespaces/default/services/web-later/status", other)
        # The controller has seen this one's change, hence the one before it.
        self.cluster.kubectl("expose", "deployment", "web", "--type=LoadBalancer", "--port=11443", "--name=own")
        self.assertRegex(self.event("SyncLoadBalancerFailed", "own"), r"port 11443/TCP of \S+ is kept for the node's API server$")
        self.assertEqual(ingress(self.cluster.get("service", "web-later")), ["203.0.113.1"])

    def test_5_a_deleted_service_lets_go(self):
        addresses = self.node_addresses()
        self.cluster.kubectl("delete", "service", "web-later", "own", "--ignore-not-found")
        self.assertEqual(self.event("DeletedLoadBalancer", "web-later"), "Deleted load balancer")
        self.fetch(addresses[0], "refused")

    def test_6_switched_off_and_on(self):
        self.cluster.stop()
        self.cluster.up("--service-load-balancer", "none")
        self.expose("left")
        # What the controllers do after they could have seen the Service.
        self.cluster.kubectl("scale", "deployment", "web", "--replicas=2")
        self.cluster.wait("deployment/web", "jsonpath={.status.readyReplicas}=2")
        left = self.cluster.get("service", "left")
        self.assertEqual((ingress(left), left["metadata"].get("finalizers")), ([], None))
        self.cluster.stop()
        self.cluster.up("--service-load-balancer", "node")
        self.given("left", self.node_addresses())

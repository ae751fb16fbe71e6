"""Step 1: `corten up` on empty data gives a secure, usable cluster."""

import json
import os
import re
import ssl
import stat
import unittest
import urllib.error
import urllib.request

from . import shared
from .cluster import Cluster


class Start(unittest.TestCase):
    def setUp(self):
        self.cluster = shared.cluster()

    def test_ready_line_and_objects(self):
        fresh = Cluster("--port", "7443", "--kubelet-port", "11250", name="second")
        try:
            printed = fresh.up().stdout
            self.assertRegex(printed, r"ready in \d+(\.\d+)? ?m?s")
            namespaces = fresh.out("get", "namespaces", "-o", "name").split()
            for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
                self.assertIn(f"namespace/{name}", namespaces)
            node = fresh.get("nodes")["items"][0]
            ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
            self.assertEqual(ready, ["True"])
            self.assertEqual(fresh.out("get", "service", "kubernetes", "-o", "jsonpath={.spec.ports[0].port}"), "443")
            self.assertIn("v1.36", fresh.out("version"))
        finally:
            fresh.close()

    def test_two_clusters_side_by_side(self):
        other = Cluster("--port", "8443", "--kubelet-port", "12250", name="beside")
        try:
            other.up()
            self.cluster.kubectl("create", "configmap", "only-here")
            self.assertNotIn("only-here", other.out("get", "configmaps"))
            ranges = [c.out("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}") for c in (self.cluster, other)]
            self.assertNotEqual(ranges[0], ranges[1])
        finally:
            other.close()
        self.cluster.kubectl("delete", "configmap", "only-here")

    def test_a_full_node_takes_no_pods(self):
        full = Cluster("--port", "8643", "--kubelet-port", "12350", name="full", room=("--eviction-hard=nodefs.available<99.99%",))
        try:
            full.up()
            node = full.watch_until(lambda node: any(t["key"] == "node.kubernetes.io/disk-pressure" and t["effect"] == "NoSchedule"
                                                     for t in node["spec"].get("taints", [])), "nodes")
            pressure = [c for c in node["status"]["conditions"] if c["type"] == "DiskPressure"]
            self.assertEqual([(c["status"], c["reason"]) for c in pressure], [("True", "KubeletHasDiskPressure")])
            full.stop()
            refused = full.up("--image-gc-high-threshold=70", check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("--image-gc-low-threshold 80 must be lower than --image-gc-high-threshold 70", refused.stdout)
        finally:
            full.close()

    def test_files_are_private(self):
        for base, _, names in os.walk(os.path.join(self.cluster.data, "pki")):
            for name in names:
                if name.endswith(".key"):
                    mode = stat.S_IMODE(os.stat(os.path.join(base, name)).st_mode)
                    self.assertEqual(mode, 0o600, name)
        self.assertEqual(stat.S_IMODE(os.stat(self.cluster.kubeconfig).st_mode), 0o600)

    def test_anonymous_sees_health_and_version_only(self):
        server = self.cluster.out("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
        context = ssl.create_default_context(cafile=os.path.join(self.cluster.data, "pki", "ca.crt"))
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            with urllib.request.urlopen(server + path, context=context) as answer:
                self.assertEqual(answer.status, 200)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server + "/api/v1/namespaces/default/secrets", context=context)
        body = json.load(refused.exception)
        self.assertEqual((refused.exception.code, body["reason"]), (403, "Forbidden"))
        self.assertIn('User "system:anonymous" cannot list resource "secrets"', body["message"])

    def test_rbac_binds_service_accounts(self):
        self.cluster.kubectl("create", "serviceaccount", "viewer")
        denied = self.cluster.kubectl("auth", "can-i", "list", "pods", "--as=system:serviceaccount:default:viewer", check=False)
        self.assertEqual(denied.stdout.strip(), "no")
        self.cluster.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", "--serviceaccount=default:viewer")
        as_viewer = ("--as=system:serviceaccount:default:viewer",)
        allowed = self.cluster.kubectl("auth", "can-i", "list", "pods", *as_viewer, check=False)
        self.assertEqual(allowed.stdout.strip(), "yes")
        secret = self.cluster.kubectl("get", "secrets", *as_viewer, check=False)
        self.assertRegex(secret.stderr, re.escape('cannot list resource "secrets" in API group "" in the namespace "default"'))
        self.cluster.kubectl("delete", "rolebinding/viewer", "serviceaccount/viewer")

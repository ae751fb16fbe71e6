"""Step 8: `corten down` leaves nothing outside the data directory."""

import unittest

from . import machine, shared
from .cluster import Cluster


class Down(unittest.TestCase):
    maxDiff = None

    def check(self, *flags):
        cluster = Cluster("--port", "9443", "--kubelet-port", "13250", *flags, name="down")
        try:
            before = machine.snapshot(cluster.home)
            cluster.up()
            shared.import_basics(cluster)
            cluster.kubectl("create", "deployment", "web", f"--image={shared.WEB}", "--replicas=4")
            cluster.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
            cluster.rollout("deployment/web")
            cluster.down()
            self.assertEqual(machine.left_behind(before, machine.snapshot(cluster.home)), {})
        finally:
            cluster.close()

    def test_one_node(self):
        self.check()

    def test_three_nodes(self):
        self.check("--nodes", "3")

    def test_after_a_crash(self):
        import signal

        cluster = Cluster("--port", "9443", "--kubelet-port", "13250", name="crash")
        try:
            before = machine.snapshot(cluster.home)
            cluster.up()
            shared.import_basics(cluster)
            cluster.kubectl("run", "sleeper", f"--image={shared.BUSYBOX}", "--", "sleep", "3600")
            cluster.wait("pod/sleeper", "condition=Ready")
            cluster.stop(signal.SIGKILL)
            cluster.down()
            self.assertEqual(machine.left_behind(before, machine.snapshot(cluster.home)), {})
        finally:
            cluster.close()

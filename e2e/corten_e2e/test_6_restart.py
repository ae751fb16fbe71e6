"""Step 6: restarts lose nothing and restart nothing."""

import concurrent.futures
import json
import signal
import unittest

from . import shared
from .cluster import Cluster


class Restart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--port", "11443", "--kubelet-port", "14250", name="restart")
        cls.cluster.up()
        shared.import_basics(cls.cluster)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def fingerprint(self):
        pods = self.cluster.get("pods", "-l", "app=web")["items"]
        return {p["metadata"]["uid"]: [(c["containerID"], c["restartCount"], c["state"]["running"]["startedAt"])
                                       for c in p["status"]["containerStatuses"]] for p in pods}

    def host_pids(self):
        found = {}
        import os
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as handle:
                    command = handle.read()
                with open(f"/proc/{entry}/cgroup", encoding="ascii") as handle:
                    group = handle.read()
            except OSError:
                continue
            if b"httpd\0-f" in command and "pod" in group:
                found[int(entry)] = command
        return found

    def test_containers_outlive_the_server(self):
        self.cluster.kubectl("create", "deployment", "web", f"--image={shared.WEB}", "--replicas=3")
        self.cluster.rollout("deployment/web")
        before, pids = self.fingerprint(), self.host_pids()
        self.assertEqual(len(before), 3)
        for signum in (signal.SIGTERM, signal.SIGKILL):
            self.cluster.stop(signum)
            self.assertEqual(self.host_pids(), pids)
            self.cluster.up()
            self.cluster.wait("nodes", "condition=Ready", "--all")
            self.cluster.rollout("deployment/web")
            self.assertEqual(self.fingerprint(), before)
            self.assertEqual(self.host_pids(), pids)
        pod = self.cluster.out("get", "pods", "-l", "app=web", "-o", "name").split()[0]
        self.assertEqual(self.cluster.exec(pod, "echo", "still here").stdout, "still here\n")

    def test_no_acknowledged_write_is_lost(self):
        """Writers note each name that the server acknowledged; after kill -9 every one of them is there."""
        def write(writer):
            acknowledged = []
            for index in range(1000):
                name = f"storm-{writer}-{index}"
                done = self.cluster.kubectl("create", "configmap", name, f"--from-literal=k={name}", check=False)
                if done.returncode != 0:
                    break
                acknowledged.append(name)
                if writer == 0 and index == 15:
                    self.cluster.stop(signal.SIGKILL)
            return acknowledged

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            acknowledged = [name for names in pool.map(write, range(4)) for name in names]
        self.assertGreater(len(acknowledged), 15)
        self.cluster.up()
        kept = {item["metadata"]["name"]: item["data"]["k"] for item in self.cluster.get("configmaps")["items"] if "data" in item and "k" in item["data"]}
        self.assertEqual([name for name in acknowledged if kept.get(name) != name], [])
        self.assertTrue(json.dumps(kept))

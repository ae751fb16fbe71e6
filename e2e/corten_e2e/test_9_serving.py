"""What an API server is told by flags: how long it keeps events, how much it serves at once, what addresses services have."""

import re
import subprocess
import unittest

from .cluster import CORTEN, Cluster, Failed, run

FLAGS = ["--only", "apiserver", "--port", "7643", "--service-cidr", "10.90.0.0/16,fd00:90::/112", "--event-ttl", "1s",
         "--max-requests-inflight", "30", "--max-mutating-requests-inflight", "30"]


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(name="serving")
        cls.server = subprocess.Popen([CORTEN, "server", *FLAGS, "--data-dir", cls.cluster.data], env=cls.cluster.env,
                                      stdout=subprocess.PIPE, text=True)
        line = cls.server.stdout.readline()
        if not line.startswith("serving"):
            raise Failed(f"the server says {line!r}")

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.communicate(timeout=30)
        cls.cluster.close()

    def test_services_have_addresses_of_both_families(self):
        self.assertEqual(self.cluster.get("servicecidr/kubernetes")["spec"]["cidrs"], ["10.90.0.0/16", "fd00:90::/112"])
        self.cluster.apply("apiVersion: v1\nkind: Service\nmetadata: {name: both}\n"
                           "spec: {ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}\n")
        spec = self.cluster.get("service/both")["spec"]
        self.assertEqual(spec["ipFamilies"], ["IPv4", "IPv6"])
        self.assertRegex(spec["clusterIPs"][0], r"^10\.90\.")
        self.assertRegex(spec["clusterIPs"][1], r"^fd00:90::")
        for address in spec["clusterIPs"]:
            self.cluster.get(f"ipaddress/{address}")

    def test_events_leave_after_their_time(self):
        self.cluster.apply("apiVersion: v1\nkind: Event\nmetadata: {name: short}\nreason: Test\nmessage: soon gone\ntype: Normal\n"
                           "involvedObject: {apiVersion: v1, kind: Namespace, name: default, namespace: default}\n")
        self.cluster.wait("event/short", "delete")

    def test_seats_are_shared_out(self):
        seats = re.findall(r"^apiserver_flowcontrol_nominal_limit_seats\S* (\d+)$", self.cluster.out("get", "--raw", "/metrics"), re.M)
        # Each level's share is rounded up.
        self.assertGreaterEqual(sum(map(int, seats)), 60)
        self.assertLess(sum(map(int, seats)), 60 + len(seats))

    def test_what_makes_no_sense_is_refused(self):
        for flags, why in [
            (["--max-requests-inflight", "0", "--max-mutating-requests-inflight", "0"], "must add up to something positive"),
            (["--request-timeout", "0s"], "name a positive duration"),
            (["--event-ttl", "soon"], "is not a duration"),
            (["--service-cidr", "10.0.0.0/16,10.1.0.0/16"], "are of the same family"),
            (["--service-cidr", "10.90.0.0/16,fd01::/112"], "was made with fd00:90::/112"),
        ]:
            done = run([CORTEN, "server", "--only", "apiserver", "--data-dir", self.other_directory(flags), *flags],
                       env=self.cluster.env, check=False)
            self.assertNotEqual(done.returncode, 0, flags)
            self.assertIn(why, done.stderr, flags)

    def other_directory(self, flags):
        """The cluster that runs holds its lock; what it was made with is read from a copy."""
        if "fd01::/112" not in flags[-1]:
            return f"{self.cluster.root}/none"
        copy = f"{self.cluster.root}/copy"
        run(["mkdir", "-p", copy])
        run(["cp", f"{self.cluster.data}/cluster.json", copy])
        return copy

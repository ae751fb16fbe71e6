"""Pods are resized as they run: their containers go on, and their control groups and status say what was asked.

And of a pod that is changed very often, the last change is observed."""

from .api import STRATEGIC
from .space import Space, is_ready, pod, sleeper, statuses

PERIOD_US = 100_000
LEAST_QUOTA_US = 1000
# Prints the container's CPU quota (microseconds) and its limit of memory (bytes), of either version of control groups.
LIMITS = """cd /sys/fs/cgroup
if [ -e cpu.max ]; then cut -d' ' -f1 cpu.max; cat memory.max; else cat cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes; fi"""


def amounts(cpu=None, memory=None, cpu_limit=None, memory_limit=None):
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {key: value for key, value in (("cpu", cpu_limit), ("memory", memory_limit)) if value}
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def guaranteed(cpu, memory):
    return amounts(cpu, memory, cpu, memory)


THREE = [guaranteed("20m", "35Mi"), guaranteed("22m", "37Mi"), guaranteed("24m", "39Mi")]
# Name of the pod: resources of its containers before and after.
RESIZES = {
    "more-in-all": (THREE, [guaranteed("25m", "40Mi"), guaranteed("27m", "42Mi"), guaranteed("19m", "34Mi")]),
    "less-in-all": (THREE, [guaranteed("25m", "40Mi"), guaranteed("17m", "32Mi"), guaranteed("19m", "34Mi")]),
    "some-each": (THREE, [guaranteed("25m", "35Mi"), guaranteed("17m", "42Mi"), guaranteed("29m", "44Mi")]),
    "added-to": (
        [amounts("20m"), amounts(memory="35Mi"), amounts("20m", "35Mi"), amounts("20m"), amounts(memory="35Mi"),
         amounts("20m", "35Mi", "30m", "45Mi")],
        [amounts("25m", cpu_limit="35m"), amounts(memory="30Mi", memory_limit="50Mi"), amounts("20m", "30Mi"), amounts("15m", "35Mi"),
         amounts("20m", "40Mi"), amounts("25m", "40Mi", "35m", "50Mi")]),
    "same-in-effect": ([amounts("2m", cpu_limit="10m")], [amounts("1m", cpu_limit="5m")]),
}
CHANGES = 499


class Resize(Space):
    NS = "resize"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, (before, _) in RESIZES.items():
            cls.make(pod(name, *(sleeper(f"c{index}", resources=of) for index, of in enumerate(before))))
        cls.make(pod("changed", sleeper(), activeDeadlineSeconds=10_000))

    def in_effect(self, found, wanted):
        """Whether the status says so of every container, and of nothing that is still to be done."""
        told = [statuses(found).get(f"c{index}", {}) for index in range(len(wanted))]
        pending = [c["type"] for c in found["status"].get("conditions") or [] if c["type"].startswith("PodResize")]
        observed = found["status"].get("observedGeneration", 0) >= found["metadata"]["generation"]
        return (is_ready(found) and observed and not pending and [s.get("resources", {}) for s in told] == wanted
                and [s.get("allocatedResources", {}) for s in told] == [of.get("requests", {}) for of in wanted])

    def limited(self, name, index, wanted):
        quota, memory = self.exec(name, "sh", "-c", LIMITS, container=f"c{index}").stdout.split()
        limits = wanted.get("limits", {})
        if cpu := limits.get("cpu"):
            self.assertEqual(int(quota), max(int(cpu.removesuffix("m")) * PERIOD_US // 1000, LEAST_QUOTA_US))
        else:
            self.assertIn(quota, ("max", "-1"))
        if bound := limits.get("memory"):
            self.assertEqual(int(memory), int(bound.removesuffix("Mi")) << 20)
        else:
            self.assertTrue(memory == "max" or int(memory) > 1 << 60, memory)

    def resize(self, name):
        before, after = RESIZES[name]
        found = self.until(lambda pod: self.in_effect(pod, before), "pod", name)
        quality, ids = found["status"]["qosClass"], [s["containerID"] for s in found["status"]["containerStatuses"]]
        containers = [{"name": f"c{index}", "resources": of} for index, of in enumerate(after)]
        answered = self.api.call("PATCH", self.path(f"pods/{name}/resize"), {"spec": {"containers": containers}}, STRATEGIC)
        self.assertEqual([c["resources"] for c in answered["spec"]["containers"]], after)
        found = self.until(lambda pod: self.in_effect(pod, after), "pod", name)
        self.assertEqual([s["containerID"] for s in found["status"]["containerStatuses"]], ids, "none is restarted")
        self.assertEqual(found["status"]["qosClass"], quality)
        for index, of in enumerate(after):
            self.limited(name, index, of)

    def test_more_in_all(self):
        self.resize("more-in-all")

    def test_less_in_all(self):
        self.resize("less-in-all")

    def test_some_each(self):
        self.resize("some-each")

    def test_limits_and_requests_are_added(self):
        self.resize("added-to")

    def test_same_in_effect(self):
        self.resize("same-in-effect")

    def test_every_change_is_observed(self):
        self.ready("changed")
        for count in range(1, CHANGES + 1):
            patch = {"spec": {"activeDeadlineSeconds": 10_000 - count}}
            found = self.api.call("PATCH", self.path("pods/changed"), patch, STRATEGIC)
            self.assertEqual(found["metadata"]["generation"], count + 1)
        last = CHANGES + 1
        found = self.until(lambda pod: pod["status"].get("observedGeneration") == last, "pod", "changed")
        self.assertEqual(found["metadata"]["generation"], last)

"""Who gets a place on a node: host ports in conflict, and preemption, of resources that the node has for these tests only."""

import json

from .api import STRATEGIC
from .space import Space, condition, pod, sleeper

PORT = 54322
# What the node has of each.
RESOURCES = {"example.com/critical": 5, "example.com/path": 1000, "example.com/told": 1}
PRIORITIES = {f"level-{value}": value for value in range(1, 5)}
FINALIZER = "example.com/kept"


def asking(name, resource, amount, priority, **more):
    wanted = {f"example.com/{resource}": str(amount)}
    return pod(name, sleeper(resources={"requests": wanted, "limits": wanted}), priorityClassName=priority, **more)


def replica_set(name, amount, priority):
    labels = {"of": name}
    template = {"metadata": {"labels": labels}, "spec": asking("", "path", amount, priority)["spec"]}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}}


class Scheduling(Space):
    NS = "scheduling"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node = cls.cluster.get("nodes")["items"][0]["metadata"]["name"]
        cls.offer({name: str(amount) for name, amount in RESOURCES.items()})
        cls.addClassCleanup(cls.offer, dict.fromkeys(RESOURCES))
        classes = [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
                   for name, value in PRIORITIES.items()]
        cls.cluster.apply_all(classes)
        cls.addClassCleanup(cls.cluster.kubectl, "delete", "priorityclass", *PRIORITIES)

    @classmethod
    def offer(cls, amounts):
        cls.api.call("PATCH", f"/api/v1/nodes/{cls.node}/status", {"status": {"capacity": amounts, "allocatable": amounts}}, STRATEGIC)

    def unschedulable(self, name):
        found = self.until(lambda pod: condition(pod, "PodScheduled").get("reason") == "Unschedulable", "pod", name)
        self.assertNotIn("nodeName", found["spec"])
        return condition(found, "PodScheduled")["message"]

    def test_host_ports_conflict_with_those_on_all_addresses(self):
        ports = lambda **more: [{"containerPort": 80, "hostPort": PORT, "protocol": "TCP", **more}]
        self.make(pod("on-all", sleeper(ports=ports(hostIP="0.0.0.0"))))
        self.ready("on-all")
        self.make(pod("on-one", sleeper(ports=ports(hostIP="127.0.0.1"))), pod("by-udp", sleeper(ports=ports(protocol="UDP"))))
        self.assertIn("1 node(s) didn't have free ports for the requested pod ports", self.unschedulable("on-one"))
        self.ready("by-udp")
        # And for no other reason.
        self.remove("pod", "on-all")
        self.ready("on-one")

    def test_a_critical_pod_preempts_the_least(self):
        self.make(asking("least", "critical", 2, "level-1"), asking("lesser", "critical", 2, "level-2"))
        self.ready("least", "lesser")
        critical = asking("critical", "critical", 2, "system-cluster-critical")
        self.cluster.apply(json.dumps(critical), "-n", "kube-system")
        self.addCleanup(self.cluster.kubectl, "delete", "pod", "critical", "-n", "kube-system")
        self.cluster.wait("pod/critical", "condition=Ready", "-n", "kube-system")
        self.assertIn("not found", self.kubectl("get", "pod", "least", check=False).stderr)
        self.assertNotIn("deletionTimestamp", self.get("pod", "lesser")["metadata"])

    def of_set(self, name):
        return [p for p in self.get("pods", "-l", f"of={name}")["items"] if "deletionTimestamp" not in p["metadata"]]

    def test_replica_sets_are_preempted_no_more_than_needed(self):
        amounts = {"first": 200, "second": 300, "third": 450}
        self.make(*(replica_set(name, amount, f"level-{level}") for level, (name, amount) in enumerate(amounts.items(), 1)))
        for name in amounts:
            self.until(lambda found: found["status"].get("readyReplicas") == 1, "replicaset", name)
        before = {name: self.of_set(name)[0]["metadata"]["uid"] for name in amounts}
        self.make(asking("fourth", "path", 500, "level-4"))
        self.ready("fourth")
        for name in ("first", "second"):
            # Made anew in place of the one that went, for which there is no room.
            anew = lambda found: found["metadata"]["uid"] != before[name] and condition(found, "PodScheduled").get("reason") == "Unschedulable"
            self.until(anew, "pods", "-l", f"of={name}")
        third = self.of_set("third")
        self.assertEqual([p["metadata"]["uid"] for p in third], [before["third"]])
        self.assertEqual(third[0]["status"]["phase"], "Running")
        for name, wanted in (("first", 2), ("second", 2), ("third", 1)):
            made = self.out("get", "events", "--field-selector", f"involvedObject.name={name},reason=SuccessfulCreate",
                            "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}").splitlines()
            self.assertEqual(len(set(made)), wanted, made)
            self.assertEqual(self.get("replicaset", name)["status"]["replicas"], 1)

    def test_the_preempted_says_why_it_goes(self):
        victim = asking("victim", "told", 1, "level-1")
        victim["metadata"]["finalizers"] = [FINALIZER]
        self.make(victim)
        self.ready("victim")
        self.make(asking("winner", "told", 1, "level-2"))
        found = self.until(lambda found: "deletionTimestamp" in found["metadata"], "pod", "victim")
        told = condition(found, "DisruptionTarget")
        self.assertEqual((told["status"], told["reason"]), ("True", "PreemptionByScheduler"))
        self.assertEqual(told["message"], "default-scheduler: preempting to accommodate a higher priority pod")
        self.change("pods/victim", lambda found: found["metadata"].pop("finalizers"))
        self.kubectl("wait", "pod/victim", "--for=delete", "--timeout=30s", check=False)
        self.assertIn("not found", self.kubectl("get", "pod", "victim", check=False).stderr)
        self.ready("winner")

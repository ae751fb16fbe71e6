"""Turns that the lives of pods can take: containers that fail again and again, join late, or cannot be started until
something is mended; and volumes out of images and of many sources.

The pods are made at once: some take back-offs of ten seconds."""

from . import images
from .registry import Registry
from .space import Space, condition, is_ready, pod, shell, sleeper, statuses

MANAGED = "# Kubernetes-managed hosts file."
MAPS, REPLICAS = 50, 5


def sub_path(name, value):
    """Mounts what a variable says of a volume, and all of it."""
    mounts = [{"name": "v", "mountPath": "/part", "subPathExpr": "$(PART)"}, {"name": "v", "mountPath": "/all"}]
    variable = {"name": "PART", **value}
    return pod(name, sleeper(env=[variable], volumeMounts=mounts), volumes=[{"name": "v", "emptyDir": {}}])


def pods():
    yield pod("joined", sleeper())
    yield pod("uninitialized", sleeper(), initContainers=[shell("exit 1", "first"), shell("exit 0", "second")])
    yield pod("failing", shell("exit 1"))
    hosts = {"hostPath": {"path": "/etc/hosts", "type": "File"}}
    yield pod("hosts", sleeper("managed"), sleeper("own", volumeMounts=[{"name": "hosts", "mountPath": "/etc/hosts"}]),
              volumes=[{"name": "hosts", **hosts}])
    yield pod("hosts-of-node", sleeper("managed"), hostNetwork=True)
    yield sub_path("absolute", {"value": "/tmp"})
    yield sub_path("upwards", {"value": ".."})
    yield sub_path("quoted", {"value": "`id`"})
    yield sub_path("mended", {"valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['part']"}}})


def wrapped():
    """ConfigMaps, and a controller whose pods each mount them all."""
    names = [f"map-{n}" for n in range(MAPS)]
    yield from ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": name}} for name in names)
    mounts = [{"name": name, "mountPath": f"/etc/maps/{name}"} for name in names]
    template = pod("", sleeper(volumeMounts=mounts), volumes=[{"name": name, "configMap": {"name": name}} for name in names])
    template = {"metadata": {"labels": {"of": "maps"}}, "spec": template["spec"]}
    yield {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "maps"},
           "spec": {"replicas": REPLICAS, "selector": {"of": "maps"}, "template": template}}


class Lives(Space):
    NS = "lives"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make(*pods(), *wrapped())

    def test_ephemeral_containers_are_added(self):
        self.ready("joined")
        guests = [sleeper("one"), sleeper("two")]
        runs = lambda pod: ["running" in s["state"] for s in pod["status"].get("ephemeralContainerStatuses") or []]
        for count in (1, 2):
            self.change("pods/joined/ephemeralcontainers", lambda pod: pod["spec"].update(ephemeralContainers=guests[:count]))
            found = self.until(lambda pod: runs(pod) == [True] * count, "pod", "joined")
            self.assertEqual([c["name"] for c in found["spec"]["ephemeralContainers"]], ["one", "two"][:count])
        self.assertEqual(self.exec("joined", "echo", "here", container="two").stdout, "here\n")

    def test_a_failed_init_container_is_tried_again(self):
        seen = []

        def twice(found):
            seen.append(found["status"])
            first = (found["status"].get("initContainerStatuses") or [{}])[0]
            return first.get("restartCount", 0) >= 2 and "terminated" in first.get("lastState", {})

        found = self.until(twice, "pod", "uninitialized")
        self.assertEqual(found["status"]["phase"], "Pending")
        self.assertEqual(condition(found, "Initialized")["message"], "containers with incomplete status: [first second]")
        self.assertEqual(found["status"]["initContainerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1)
        waiting = [s["state"] for status in seen for s in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])[1:]]]
        self.assertTrue(waiting)
        self.assertEqual([s for s in waiting if s != {"waiting": {"reason": "PodInitializing"}}], [])

    def test_a_failing_pod_is_deleted(self):
        failed = lambda found: "terminated" in statuses(found).get("c", {}).get("lastState", {})
        found = self.until(failed, "pod", "failing")
        ended = statuses(found)["c"]["lastState"]["terminated"]
        self.assertEqual((ended["exitCode"], ended["reason"]), (1, "Error"))
        self.kubectl("delete", "pod", "failing")
        self.assertIn("not found", self.kubectl("get", "pod", "failing", check=False).stderr)

    def test_hosts_file(self):
        self.ready("hosts", "hosts-of-node")
        head = lambda name, container: self.exec(name, "cat", "/etc/hosts", container=container).stdout.split("\n")[0]
        self.assertEqual(head("hosts", "managed"), MANAGED)
        with open("/etc/hosts", encoding="utf-8") as handle:
            self.assertEqual(self.exec("hosts", "cat", "/etc/hosts", container="own").stdout, handle.read())
        self.assertNotEqual(head("hosts-of-node", "managed"), MANAGED)

    def refused(self, name, message):
        waits = lambda found: statuses(found).get("c", {}).get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"
        found = self.until(waits, "pod", name)
        self.assertRegex(statuses(found)["c"]["state"]["waiting"]["message"], message)
        self.assertEqual(found["status"]["phase"], "Pending")

    def test_an_absolute_sub_path_is_refused(self):
        self.refused("absolute", "/tmp.*must not be an absolute path")

    def test_a_sub_path_upwards_is_refused_and_none_is_run(self):
        self.refused("upwards", r"must not contain '\.\.'")
        self.ready("quoted")
        self.assertEqual(self.exec("quoted", "ls", "/all").stdout, "`id`\n")

    def test_a_sub_path_is_mended(self):
        self.refused("mended", "missing value for PART")
        self.kubectl("annotate", "pod", "mended", "part=now")
        self.ready("mended")
        self.exec("mended", "touch", "/part/file")
        self.assertEqual(self.exec("mended", "ls", "/all/now").stdout, "file\n")

    def test_many_config_maps_in_many_pods(self):
        self.until(lambda found: found["status"].get("readyReplicas") == REPLICAS, "replicationcontroller", "maps")
        found = self.get("pods", "-l", "of=maps")["items"]
        self.assertEqual([is_ready(p) for p in found], [True] * REPLICAS)
        read = self.exec(found[0]["metadata"]["name"], "sh", "-c", "cat /etc/maps/*/key").stdout
        self.assertEqual(read, "".join(sorted(f"map-{n}" for n in range(MAPS))))
        failures = self.out("get", "events", "--field-selector", "reason=FailedMount", "-o", "jsonpath={.items[*].involvedObject.name}")
        self.assertNotIn("maps-", failures)

    def test_a_volume_out_of_an_image(self):
        """Pulled each time: what the tag means now is what is mounted."""
        registry = Registry()
        self.addCleanup(registry.close)
        for text in ("older", "newer"):
            layer = images.Layer()
            layer.file("data/text", text.encode())
            reference = registry.push("some/data", "1", [layer.done()], cmd=[])
            volume = {"name": "v", "image": {"reference": reference, "pullPolicy": "Always"}}
            mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/text", "subPath": "data/text"}]
            self.make(pod(text, sleeper(volumeMounts=mounts), volumes=[volume]))
            self.ready(text)
            for path in ("/v/data/text", "/text"):
                self.assertEqual(self.exec(text, "cat", path).stdout, text)
            refused = self.exec(text, "touch", "/v/new", check=False)
            self.assertIn("Read-only file system", refused.stderr)

    def test_a_job_s_container_is_restarted(self):
        """Each of two pods fails once, and is tried again in place."""
        script = "if [ -e /v/tried ]; then exit 0; fi; touch /v/tried; exit 1"
        spec = pod("", shell(script, volumeMounts=[{"name": "v", "mountPath": "/v"}]), restartPolicy="OnFailure",
                   volumes=[{"name": "v", "emptyDir": {}}])["spec"]
        self.make({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "again"},
                   "spec": {"completions": 2, "parallelism": 2, "template": {"spec": spec}}})
        found = self.until(lambda job: condition(job, "Complete").get("status") == "True", "job", "again")
        self.assertEqual((found["status"]["succeeded"], found["status"].get("failed", 0)), (2, 0))
        restarts = [statuses(p)["c"]["restartCount"] for p in self.get("pods", "-l", "job-name=again")["items"]]
        self.assertEqual(restarts, [1, 1])


class Limited(Space):
    NS = "limited"

    def test_a_controller_tells_of_a_quota(self):
        """And no longer when it wants no more than there may be."""
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}}
        template = {"metadata": {"labels": {"of": "quota"}}, "spec": pod("", sleeper())["spec"]}
        self.make(quota)
        self.until(lambda found: found.get("status", {}).get("hard") == {"pods": "2"}, "resourcequota", "two")
        self.make({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "three"},
                   "spec": {"replicas": 3, "selector": {"of": "quota"}, "template": template}})
        of = ("replicationcontroller", "three")
        found = self.until(lambda found: condition(found, "ReplicaFailure").get("status") == "True", *of)
        told = condition(found, "ReplicaFailure")
        self.assertEqual(told["reason"], "FailedCreate")
        self.assertRegex(told["message"], r"exceeded quota: two, requested: pods=1, used: pods=2, limited: pods=2")
        found = self.until(lambda found: found["status"].get("readyReplicas") == 2, *of)
        self.assertEqual(found["status"]["replicas"], 2)
        self.kubectl("scale", *of, "--replicas=2")
        self.until(lambda found: not condition(found, "ReplicaFailure"), *of)

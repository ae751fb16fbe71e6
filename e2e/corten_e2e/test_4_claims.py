"""PersistentVolumes and claims through their lives and statuses, without containers; and volumes of a CSI driver in pods,
as objects: no driver answers."""

from .api import MERGE, STRATEGIC
from .space import Space, pod, sleeper

CLASS = "claims.example.com"
LABEL = "of=claims"
PHASES = {"Pending", "Available", "Bound"}


def volume(name):
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": {"of": "claims"}},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
                     "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "none.example.com", "volumeHandle": name},
                     "nodeAffinity": {"required": {"nodeSelectorTerms": [
                         {"matchExpressions": [{"key": "no-node", "operator": "In", "values": ["has-this"]}]}]}}}}


def claim(name, of):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": {"of": "claims"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS, "volumeName": of,
                     "resources": {"requests": {"storage": "1Gi"}}}}


class Claims(Space):
    NS = "claims"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.claims, cls.volumes = cls.path("persistentvolumeclaims"), "/api/v1/persistentvolumes"

    def made(self, name):
        """The paths of a volume and a claim of it."""
        self.make(volume(name), claim(name, name))
        self.addCleanup(self.cluster.kubectl, "delete", "pv", name, "--ignore-not-found")
        return f"{self.volumes}/{name}", f"{self.claims}/{name}"

    def names(self, path):
        return [item["metadata"]["name"] for item in self.api.call("GET", path)["items"]]

    def gone(self, *paths):
        """Their protection lets go of them in its own time."""
        for path in paths:
            kind, name = path.split("/")[-2:]
            self.kubectl("wait", f"{kind}/{name}", "--for=delete", "--timeout=30s", check=False)
            self.assertEqual(self.api.request("GET", path).status, 404)

    def test_life(self):
        paths = self.made("first")
        self.assertEqual(self.names(f"{self.volumes}?labelSelector={LABEL}"), ["first"])
        self.assertEqual(self.names(self.claims), ["first"])
        ids = []
        for path in paths:
            patched = self.api.call("PATCH", path, {"metadata": {"labels": {"patched": "yes"}}}, MERGE)
            self.assertEqual(patched["metadata"]["labels"], {"of": "claims", "patched": "yes"})
            ids.append(self.api.call("GET", path)["metadata"]["uid"])
            self.assertEqual(patched["metadata"]["uid"], ids[-1])
        for path in reversed(paths):
            self.api.call("DELETE", path)
        self.gone(*paths)
        paths = self.made("again")
        for path, old in zip(paths, ids):
            self.cluster.replace_raw(path, lambda found: found["metadata"]["labels"].update(updated="yes"))
            found = self.api.call("GET", path)
            self.assertEqual(found["metadata"]["labels"], {"of": "claims", "updated": "yes"})
            self.assertNotEqual(found["metadata"]["uid"], old)
        for kind in (self.claims, self.volumes):
            self.api.call("DELETE", f"{kind}?labelSelector={LABEL}")
        self.gone(*paths)

    def test_status(self):
        of_volume, of_claim = self.made("told")
        self.assertIn("told", self.names(f"{self.volumes}?labelSelector={LABEL}"))
        self.assertIn("told", self.names(self.claims))
        for path in (of_volume, of_claim):
            self.assertIn(self.api.call("GET", f"{path}/status")["status"]["phase"], PHASES)
        condition = lambda kind: {"type": kind, "status": "True", "reason": "Tested", "message": f"by a {kind}"}
        ways = {
            "patch": lambda path, status: self.api.call("PATCH", f"{path}/status", {"status": status}, STRATEGIC),
            "update": lambda path, status: self.cluster.replace_raw(f"{path}/status", lambda found: found["status"].update(status)),
        }
        for way, write in ways.items():
            write(of_claim, {"conditions": [condition(way)]})
            found = self.api.call("GET", of_claim)["status"]
            self.assertIn(condition(way), [{key: c[key] for key in condition(way)} for c in found["conditions"]])
            write(of_volume, {"reason": f"Tested-{way}", "message": f"by {way}"})
            found = self.api.call("GET", of_volume)["status"]
            self.assertEqual((found["reason"], found["message"]), (f"Tested-{way}", f"by {way}"))
            self.assertIn(found["phase"], PHASES)

    def test_volumes_of_a_driver_in_pods(self):
        driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "inline.example.com"},
                  "spec": {"volumeLifecycleModes": ["Ephemeral"]}}
        source = {"driver": "inline.example.com", "readOnly": True, "fsType": "ext4", "volumeAttributes": {"size": "1"}}
        self.make(driver)
        self.addCleanup(self.cluster.kubectl, "delete", "csidriver", "inline.example.com")
        container = sleeper(volumeMounts=[{"name": "v", "mountPath": "/v"}])
        pods = self.path("pods")
        made = self.api.call("POST", pods, pod("inline", container, labels={"of": "inline"}, volumes=[{"name": "v", "csi": source}]))
        csi = lambda found: next(v["csi"] for v in found["spec"]["volumes"] if v["name"] == "v")
        self.assertEqual(csi(made), source)
        self.assertEqual(csi(self.api.call("GET", f"{pods}/inline")), source)
        listed = self.api.call("GET", f"{pods}?labelSelector=of%3Dinline")["items"]
        self.assertEqual([csi(found) for found in listed], [source])
        patched = self.api.call("PATCH", f"{pods}/inline", {"metadata": {"labels": {"patched": "yes"}}}, MERGE)
        self.assertEqual((csi(patched), patched["metadata"]["labels"]["patched"]), (source, "yes"))
        refused = self.api.request("PATCH", f"{pods}/inline", {"spec": {"volumes": [{"name": "v", "csi": {"driver": "other"}}]}}, STRATEGIC)
        self.assertEqual(refused.status, 422, "volumes of a pod do not change")
        self.api.call("DELETE", f"{pods}/inline")
        self.gone(f"{pods}/inline")

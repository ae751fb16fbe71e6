"""Files of volumes follow what they are made of, while their pods run.

All is made at once and then changed at once; each test waits for files of its own."""

from .space import Space, pod, sleeper

KINDS = {"configmap": ("ConfigMap", "configMap", "name"), "secret": ("Secret", "secret", "secretName")}
FORMS = [(kind, projected) for kind in KINDS for projected in (False, True)]
# What becomes of a ConfigMap or Secret of this name.
COMES, CHANGES, GOES = "comes", "changes", "goes"
FATES = (COMES, CHANGES, GOES)
RESOURCES = {"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}}
AMOUNTS = {"limits.cpu": "2", "requests.cpu": "1", "limits.memory": "67108864", "requests.memory": "33554432"}


def named(what, projected):
    return f"{'projected-' if projected else ''}{what}"


def volume(kind, name, projected):
    """Of one ConfigMap or Secret, which need not be there."""
    _, member, key = KINDS[kind]
    if projected:
        return {"projected": {"sources": [{member: {"name": name, "optional": True}}]}}
    return {member: {key: name, "optional": True}}


def data(kind, name, value):
    member = "data" if kind == "configmap" else "stringData"
    return {"apiVersion": "v1", "kind": KINDS[kind][0], "metadata": {"name": name}, member: {"key": value}}


def dependents():
    """A pod for each form, with a container for each fate."""
    for kind, projected in FORMS:
        containers = [sleeper(fate, volumeMounts=[{"name": fate, "mountPath": f"/etc/{fate}"}]) for fate in FATES]
        volumes = [{"name": fate, **volume(kind, fate, projected)} for fate in FATES]
        yield pod(named(kind, projected), *containers, volumes=volumes)
    for projected in (False, True):
        items = [{"path": field, "fieldRef": {"fieldPath": f"metadata.{field}"}} for field in ("name", "labels", "annotations")]
        items += [{"path": of, "resourceFieldRef": {"containerName": "c", "resource": of}} for of in AMOUNTS]
        downward = {"downwardAPI": {"items": items}}
        volumes = [{"name": "v", **({"projected": {"sources": [downward]}} if projected else downward)}]
        container = sleeper(resources=RESOURCES, volumeMounts=[{"name": "v", "mountPath": "/v"}])
        yield pod(named("metadata", projected), container, volumes=volumes, labels={"a": "one"}, annotations={"a": "one"})


class Refresh(Space):
    NS = "refresh"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make(*(data(kind, fate, "value-1") for kind in KINDS for fate in (CHANGES, GOES)), *dependents())
        cls.cluster.wait("pods", "condition=Ready", "--all", "-n", cls.NS)
        cls.before = {form: [cls.read(named(*form), fate) for fate in FATES] for form in FORMS}
        for projected in (False, True):
            name = named("metadata", projected)
            # kubectl's own annotation comes after.
            cls.before[name] = [cls.read(name, "c", f"/v/{field}").split("\n")[0] for field in ("labels", "annotations")]
            for what in ("label", "annotate"):
                cls.cluster.kubectl(what, "pod", name, "b=two", "-n", cls.NS)
        cls.make(*(data(kind, fate, "value-2") for kind in KINDS for fate in (COMES, CHANGES)))
        cls.cluster.kubectl("delete", f"configmap/{GOES}", f"secret/{GOES}", "-n", cls.NS)

    @classmethod
    def read(cls, name, container, path=None):
        """What files hold now, or why they cannot be read."""
        path = path or f"/etc/{container}/key"
        return cls.cluster.kubectl("exec", "-n", cls.NS, name, "-c", container, "--", "sh", "-c", f"cat {path} 2>&1", check=False).stdout

    def becomes(self, name, container, path, wanted):
        """Waits, within the container, until a file holds a line."""
        script = f"until grep -qx '{wanted}' {path} 2>/dev/null; do usleep 50000; done"
        self.exec(name, "sh", "-c", script, container=container)

    def goes(self, name, container, path):
        self.exec(name, "sh", "-c", f"while [ -e {path} ]; do usleep 50000; done", container=container)
        self.assertIn("No such file", self.read(name, container, path))

    def follows(self, kind, projected):
        name = named(kind, projected)
        absent, *present = self.before[kind, projected]
        self.assertIn("No such file", absent)
        self.assertEqual(present, ["value-1", "value-1"])
        for fate in (COMES, CHANGES):
            self.becomes(name, fate, f"/etc/{fate}/key", "value-2")
        self.goes(name, GOES, f"/etc/{GOES}/key")

    def test_config_map(self):
        self.follows("configmap", False)

    def test_secret(self):
        self.follows("secret", False)

    def test_projected_config_map(self):
        self.follows("configmap", True)

    def test_projected_secret(self):
        self.follows("secret", True)

    def metadata(self, projected):
        name = named("metadata", projected)
        self.assertEqual(self.before[name], ['a="one"', 'a="one"'])
        for field in ("labels", "annotations"):
            self.becomes(name, "c", f"/v/{field}", 'b="two"')
            self.assertIn('a="one"\n', self.read(name, "c", f"/v/{field}"))
        self.assertEqual(self.read(name, "c", "/v/name"), name)
        for of, amount in AMOUNTS.items():
            self.assertEqual(self.read(name, "c", f"/v/{of}"), amount)

    def test_metadata(self):
        self.metadata(False)

    def test_projected_metadata(self):
        self.metadata(True)

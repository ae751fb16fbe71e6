"""A namespace of the shared cluster for each class of tests, and what they make and await in it."""

import subprocess
import unittest

from . import server_image, shared
from .api import Api
from .cluster import KUBECTL

DEADLINE_S = 90


def shell(script, name="c", **more):
    """A container that runs a shell script."""
    return {"name": name, "image": shared.BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", script], **more}


def sleeper(name="c", **more):
    return shell("exec sleep 3600", name, **more)


def pod(name, *containers, labels=None, annotations=None, **spec):
    """Goes at once when deleted, unless the spec says otherwise."""
    spec = {"terminationGracePeriodSeconds": 0, "containers": list(containers), **spec}
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def service(name, *ports, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": list(ports), **spec}}


def statuses(found):
    return {s["name"]: s for s in found["status"].get("containerStatuses") or []}


def is_ready(found):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions") or [])


def condition(found, kind):
    """The condition of that type, or an empty one."""
    return next((c for c in found.get("status", {}).get("conditions") or [] if c["type"] == kind), {})


class Space(unittest.TestCase):
    """Its namespace is called as the class says in NS."""

    NS = None
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if cls.NS is None:
            raise unittest.SkipTest("only its subclasses have tests")
        cls.cluster = server_image.provide(shared.cluster())
        cls.cluster.kubectl("create", "namespace", cls.NS)
        cls.addClassCleanup(cls.cluster.kubectl, "delete", "namespace", cls.NS, "--wait=false")
        cls.api = Api(cls.cluster)
        cls.addClassCleanup(cls.api.close)

    @classmethod
    def path(cls, what):
        """The API path of `pods`, `pods/a/resize` and the like in the namespace."""
        return f"/api/v1/namespaces/{cls.NS}/{what}"

    @classmethod
    def make(cls, *objects):
        cls.cluster.apply_all(objects, "-n", cls.NS)

    def kubectl(self, *args, **options):
        return self.cluster.kubectl(*args, "-n", self.NS, **options)

    def out(self, *args, **options):
        return self.kubectl(*args, **options).stdout

    def get(self, *args):
        return self.cluster.get(*args, "-n", self.NS)

    def until(self, predicate, *args, timeout=DEADLINE_S):
        """Watches until an object among those named satisfies the predicate, and returns it."""
        return self.cluster.watch_until(predicate, *args, "-n", self.NS, timeout=timeout)

    def ready(self, *names):
        """The pods of these names, ready."""
        pods = [self.until(is_ready, "pod", name) for name in names]
        return pods[0] if len(pods) == 1 else pods

    def exec(self, name, *command, container=None, check=True):
        chosen = ("-c", container) if container else ()
        return self.cluster.kubectl("exec", "-n", self.NS, name, *chosen, "--", *command, check=check)

    def remove(self, *what):
        self.kubectl("delete", *what, "--ignore-not-found")

    def change(self, path, change):
        """Reads, alters and writes an object of the namespace."""
        return self.cluster.replace_raw(self.path(path), change)

    def until_logged(self, name, wanted, container="c", times=1):
        """Follows a container's log until it has said this line so often."""
        process = subprocess.Popen([KUBECTL, "logs", "-f", "-n", self.NS, name, "-c", container], env=self.cluster.env,
                                   stdout=subprocess.PIPE, text=True)
        try:
            for line in process.stdout:
                times -= line.strip() == wanted
                if times == 0:
                    return
            self.fail(f"{name} ended without saying {wanted}: {self.out('logs', name, '-c', container)}")
        finally:
            process.kill()
            process.communicate()

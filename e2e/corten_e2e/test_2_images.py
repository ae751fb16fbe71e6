"""Step 2: images from archives and registries, and what is wrong with them."""

import io
import json
import os
import tarfile
import unittest

from . import images, shared
from .registry import HTPASSWD, PASSWORD, USER, Registry

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  imagePullSecrets: %(secrets)s
  containers:
  - {name: main, image: "%(image)s", imagePullPolicy: %(policy)s, command: %(command)s}
"""


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        cls.directory = shared.work_dir()
        cls.base = images.busybox_layer()

    def pod(self, name, image, policy="IfNotPresent", command='["true"]', secrets="[]"):
        self.cluster.apply(POD % {"name": name, "image": image, "policy": policy, "command": command, "secrets": secrets})
        self.addCleanup(self.cluster.kubectl, "delete", "pod", name, "--ignore-not-found")

    def state(self, name, reason):
        """The container state once it shows the reason."""
        def found(pod):
            statuses = pod.get("status", {}).get("containerStatuses") or []
            return any(s.get("reason") == reason for c in statuses for s in c["state"].values())
        return self.cluster.watch_until(found, "pod", name)["status"]["containerStatuses"][0]["state"]

    def succeeded(self, name):
        self.cluster.wait(f"pod/{name}", "jsonpath={.status.phase}=Succeeded")

    def path(self, name):
        return os.path.join(self.directory, name)

    def test_import_both_formats(self):
        docker = images.docker_archive(self.path("d.tar"), ["docker.test/a:1"], [self.base], cmd=["true"])
        oci = images.oci_layout(self.path("o.tar"), "oci.test/b:1", [self.base], cmd=["true"])
        for path in (docker, oci):
            self.cluster.import_image(path)
        listed = self.cluster.corten("image", "list").stdout
        self.assertIn("docker.test/a:1", listed)
        self.assertIn("oci.test/b:1", listed)
        self.pod("imported", "oci.test/b:1", policy="Never")
        self.succeeded("imported")

    def test_pull_from_a_registry(self):
        registry = Registry()
        self.addCleanup(registry.close)
        reference = registry.push("plain/busybox", "1", [self.base], cmd=["true"])
        self.pod("pulled", reference, policy="Always")
        self.succeeded("pulled")
        events = self.cluster.out("get", "events", "--field-selector", "involvedObject.name=pulled", "-o", "jsonpath={.items[*].message}")
        self.assertIn(f'Pulling image "{reference}"', events)
        self.assertRegex(events, f'Successfully pulled image "{reference}" in ')

    def refused_then_allowed(self, registry, reference, prefix):
        """Pulls fail without a password and with a wrong one, and succeed with a secret that holds it."""
        for login, password in ((f"{prefix}wrong", "nonsense"), (f"{prefix}login", PASSWORD)):
            self.cluster.kubectl("create", "secret", "docker-registry", login, f"--docker-server={registry.address}",
                                 f"--docker-username={USER}", f"--docker-password={password}")
            self.addCleanup(self.cluster.kubectl, "delete", "secret", login)
        for name, secrets in ((f"{prefix}refused", "[]"), (f"{prefix}mistaken", f"[{{name: {prefix}wrong}}]")):
            self.pod(name, reference, policy="Always", secrets=secrets)
            self.assertIn("waiting", self.state(name, "ErrImagePull"))
        self.pod(f"{prefix}allowed", reference, policy="Always", secrets=f"[{{name: {prefix}login}}]")
        self.succeeded(f"{prefix}allowed")

    def test_pull_with_a_secret(self):
        registry = Registry(HTPASSWD)
        self.addCleanup(registry.close)
        reference = registry.push("private/busybox", "1", [self.base], cmd=["true"])
        self.refused_then_allowed(registry, reference, "basic-")

    def test_pull_with_a_bearer_token(self):
        registry = Registry(bearer=True)
        self.addCleanup(registry.close)
        reference = registry.push("team/private/busybox", "1", [self.base], cmd=["true"])
        self.refused_then_allowed(registry, reference, "bearer-")
        self.assertIn("repository:team/private/busybox:pull", registry.tokens.scopes)

    def test_never_without_the_image(self):
        self.pod("never", "absent.test/nothing:1", policy="Never")
        message = self.state("never", "ErrImageNeverPull")["waiting"]["message"]
        self.assertEqual(message, 'Container image "absent.test/nothing:1" is not present with pull policy of Never')

    def test_missing_binary(self):
        self.pod("nobin", shared.BUSYBOX, command='["no-such-program"]')
        ended = self.state("nobin", "StartError")["terminated"]
        self.assertEqual(ended["exitCode"], 128)
        self.assertIn('exec: "no-such-program": executable file not found in $PATH', ended["message"])

    def refused(self, path, pattern):
        done = self.cluster.corten("image", "import", path, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, pattern)

    def test_truncated_archive(self):
        whole = images.docker_archive(self.path("t.tar"), ["cut.test/a:1"], [self.base], cmd=["true"])
        with open(whole, "rb") as handle:
            data = handle.read()
        cut = self.path("cut.tar")
        with open(cut, "wb") as handle:
            handle.write(data[: len(data) // 2])
        self.refused(cut, r"(?i)ends too early")
        self.assertNotIn("cut.test", self.cluster.corten("image", "list").stdout)

    def test_layer_that_escapes(self):
        layer = images.Layer()
        layer.raw(tarfile.TarInfo("../../../../escaped-by-corten-test"))
        path = images.docker_archive(self.path("e.tar"), ["escape.test/a:1"], [layer.done()], cmd=["true"])
        self.refused(path, r"(?i)escape|outside")
        self.assertFalse(os.path.exists("/escaped-by-corten-test"))

    def test_symlink_that_escapes(self):
        layer = images.Layer()
        layer.link("out", "/tmp")
        info = tarfile.TarInfo("out/escaped-by-corten-test")
        info.size = 1
        layer.raw(info, b"x")
        path = images.docker_archive(self.path("s.tar"), ["escape.test/b:1"], [layer.done()], cmd=["true"])
        self.cluster.corten("image", "import", path, check=False)
        self.assertFalse(os.path.exists("/tmp/escaped-by-corten-test"))

    def test_other_architecture(self):
        path = images.docker_archive(self.path("arch.tar"), ["arch.test/a:1"], [self.base], cmd=["true"], architecture="arm64")
        self.refused(path, r"arm64")

    def test_not_an_archive(self):
        path = self.path("junk.tar")
        with open(path, "wb") as handle:
            handle.write(b"this is not a tar archive at all\n" * 100)
        self.refused(path, r"(?i)not a|neither")
        self.refused(self.path("no-such-file.tar"), r"No such file")

"""A Corten cluster under test: start, kubectl, stop. Every wait is on an event, with a deadline."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

CORTEN = os.environ.get("CORTEN", "corten")
KUBECTL = os.environ.get("KUBECTL", "kubectl")
DEADLINE_S = 60
# A machine that builds and tests may have little left of a large disk: what counts here is what the tests need.
ROOM = ("--eviction-hard=memory.available<100Mi,nodefs.available<1Gi,nodefs.inodesFree<1%", "--image-gc-high-threshold=100")


class Failed(AssertionError):
    """A command that exited with a status other than the one expected."""


def run(args, *, env=None, stdin=None, timeout=DEADLINE_S, check=True):
    done = subprocess.run(args, env=env, input=stdin, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Cluster:
    """One cluster with a data directory and a home of its own."""

    def __init__(self, *flags, name="e2e", room=ROOM):
        self.root = tempfile.mkdtemp(prefix=f"corten-{name}-")
        self.data = os.path.join(self.root, "data")
        self.home = os.path.join(self.root, "home")
        os.mkdir(self.home)
        self.flags = (*room, *flags)
        self.env = {**os.environ, "HOME": self.home, "KUBECONFIG": self.kubeconfig}

    @property
    def kubeconfig(self):
        return os.path.join(self.data, "admin.kubeconfig")

    def corten(self, *args, check=True, timeout=120):
        return run([CORTEN, *args, "--data-dir", self.data], env=self.env, check=check, timeout=timeout)

    def up(self, *more, check=True):
        return self.corten("up", "--detach", *self.flags, *more, check=check)

    def down(self):
        return self.corten("down")

    def close(self):
        """Stops the cluster and removes its files. Keeps them where CORTEN_E2E_KEEP is set."""
        log = os.path.join(self.data, "corten.log")
        try:
            self.corten("down", check=False)
        finally:
            if os.environ.get("CORTEN_E2E_LOG") and os.path.exists(log):
                shutil.copy(log, os.environ["CORTEN_E2E_LOG"])
            if not os.environ.get("CORTEN_E2E_KEEP"):
                shutil.rmtree(self.root, ignore_errors=True)

    def pid(self):
        with open(os.path.join(self.data, "corten.pid"), encoding="ascii") as handle:
            return int(handle.read())

    def stop(self, signum=signal.SIGTERM):
        """Ends the server process and waits for its exit through a pidfd; containers go on."""
        pid = self.pid()
        descriptor = os.pidfd_open(pid)
        try:
            os.kill(pid, signum)
            wait_readable(descriptor)
        finally:
            os.close(descriptor)

    def kubectl(self, *args, stdin=None, check=True, timeout=DEADLINE_S):
        return run([KUBECTL, *args], env=self.env, stdin=stdin, check=check, timeout=timeout)

    def out(self, *args, **options):
        return self.kubectl(*args, **options).stdout

    def get(self, *args):
        return json.loads(self.out("get", *args, "-o", "json"))

    def apply(self, text, *args):
        return self.kubectl("apply", "-f", "-", *args, stdin=text)

    def apply_all(self, objects, *args):
        return self.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}), *args)

    def replace_raw(self, path, change):
        """Reads the object at an API path, lets `change` alter it, and writes it back there: kubectl's own patch knows no
        subresources before 1.24."""
        found = json.loads(self.out("get", "--raw", path))
        change(found)
        return self.kubectl("replace", "--raw", path, "-f", "-", stdin=json.dumps(found))

    def wait(self, what, condition, *args, timeout=DEADLINE_S):
        if condition.startswith("jsonpath="):
            return self.wait_value(what, condition[len("jsonpath="):], *args, timeout=timeout)
        return self.kubectl("wait", what, f"--for={condition}", f"--timeout={timeout}s", *args, timeout=timeout + 5)

    def wait_value(self, what, wanted, *args, timeout=DEADLINE_S):
        """Until `{.field.field}=VALUE` of an object holds; kubectl's own wait knows no paths before 1.23."""
        path, value = wanted.split("=", 1)

        def holds(found):
            for field in path.strip("{.}").split("."):
                found = found.get(field) if isinstance(found, dict) else None
            return found is not None and str(found) == value

        return self.watch_until(holds, what, *args, timeout=timeout)

    def rollout(self, what, *args, timeout=DEADLINE_S):
        return self.out("rollout", "status", what, f"--timeout={timeout}s", *args, timeout=timeout + 5)

    def import_image(self, path):
        return self.corten("image", "import", path)

    def exec(self, pod, *command, check=True):
        return self.kubectl("exec", pod, "--", *command, check=check)

    def watch_until(self, predicate, *args, timeout=DEADLINE_S):
        """Follows `kubectl get ARGS -w -o json` until an object satisfies the predicate, and returns it."""
        process = subprocess.Popen([KUBECTL, "get", *by_selector(args), "-w", "-o", "json"], env=self.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        decoder, text, end = json.JSONDecoder(), "", time.monotonic() + timeout
        try:
            while time.monotonic() < end:
                wait_readable(process.stdout.fileno(), end - time.monotonic())
                chunk = os.read(process.stdout.fileno(), 65536).decode()
                if not chunk:
                    raise Failed(f"watch of {args} ended: {process.stderr.read()}")
                text += chunk
                while text.strip():
                    try:
                        value, index = decoder.raw_decode(text.lstrip())
                    except json.JSONDecodeError:
                        break
                    text = text.lstrip()[index:]
                    if predicate(value):
                        return value
            raise Failed(f"nothing among {args} satisfied the condition within {timeout} s")
        finally:
            process.kill()
            process.communicate()


def by_selector(args):
    """TYPE NAME and TYPE/NAME as a selector: kubectl drops what changes between its get of one object and its watch."""
    kind, _, name = args[0].partition("/")
    rest = list(args[1:])
    if not name and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
    return [kind, *rest] + ([f"--field-selector=metadata.name={name}"] if name else [])


def wait_readable(descriptor, timeout=DEADLINE_S):
    """Blocks until the descriptor is readable (a pidfd: until its process has ended)."""
    import select

    if not select.select([descriptor], [], [], max(timeout, 0))[0]:
        raise Failed(f"nothing happened within {timeout:.0f} s")

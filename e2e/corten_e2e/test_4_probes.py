"""Probes and hooks of containers: what keeps them going, what restarts them, what is told of their start and end.

All pods are made at once; the probes of those that must live on have succeeded several times before they are looked at."""

import datetime

from . import server_image, space
from .space import Space, condition, pod, statuses

TIMES = 3
DELAY_S = 4
FREQUENT = {"periodSeconds": 1, "timeoutSeconds": 5}
NEVER_FAILS = "cat /tmp/health"


def server(*what, probe, **more):
    """Asked whether it lives from when it listens, and killed when it fails once."""
    listens = {"tcpSocket": {"port": int(what[0].split(":")[1])}, "periodSeconds": 1, "failureThreshold": 100}
    probes = {"startupProbe": listens, "livenessProbe": {**FREQUENT, "failureThreshold": 1, **probe}}
    return server_image.container(*what, **{**probes, **more})


def http_get(path="/healthz", port=8080, **more):
    return {"httpGet": {"path": path, "port": port, **more}}


def pods():
    yield pod("http-lives", server("http:8080", probe=http_get()))
    yield pod("grpc-lives", server("grpc:5000", "http:8080", probe={"grpc": {"port": 5000}}))
    yield pod("exec-lives", space.shell("echo ok > /tmp/health; exec sleep 3600",
                                        livenessProbe={**FREQUENT, "failureThreshold": 1, "initialDelaySeconds": 1,
                                                       "exec": {"command": ["sh", "-c", f"{NEVER_FAILS} >> /tmp/probed"]}}))
    # By HTTP it fails from the first request on; the socket is open all the same. Only the liveness probe asks nothing.
    others = {"startupProbe": {**http_get("/"), "periodSeconds": 1, "failureThreshold": 100}, "readinessProbe": http_get("/")}
    yield pod("tcp-lives", server("http:8080", probe={"tcpSocket": {"port": 8080}}, env=[{"name": "HEALTHY_TIMES", "value": "0"}], **others))
    yield pod("http-fails", server("http:8080", probe=http_get(), env=[{"name": "HEALTHY_TIMES", "value": str(TIMES)}]))
    yield pod("grpc-fails", server("grpc:5000", probe={"grpc": {"port": 2333}}))
    late = {"readinessProbe": {**FREQUENT, **http_get("/", 8080), "initialDelaySeconds": DELAY_S}}
    yield pod("late", server_image.container("http:8080", **late))


def parse(stamp):
    """Seconds of a timestamp of the API."""
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


class Probes(Space):
    NS = "probes"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make(*pods())

    def count(self, name):
        return statuses(self.get("pod", name))["c"]["restartCount"]

    def probed(self, name, line):
        """Waits until the server was asked several times."""
        self.ready(name)
        self.until_logged(name, line, times=TIMES)

    def test_http_lives(self):
        self.probed("http-lives", "GET /healthz")
        self.assertEqual(self.count("http-lives"), 0)

    def test_grpc_lives(self):
        self.probed("grpc-lives", "health by gRPC")
        self.assertEqual(self.count("grpc-lives"), 0)

    def test_exec_lives(self):
        self.ready("exec-lives")
        # The shell looks again whenever the probe has written.
        script = f"until [ $(grep -c ok /tmp/probed) -ge {TIMES} ]; do usleep 100000; done; cat /tmp/probed"
        self.assertGreaterEqual(self.exec("exec-lives", "sh", "-c", script).stdout.count("ok"), TIMES)
        self.assertEqual(self.count("exec-lives"), 0)

    def test_tcp_lives(self):
        self.probed("tcp-lives", "nothing asked")
        address = self.get("pod", "tcp-lives")["status"]["podIP"]
        answer = self.exec("tcp-lives", "wget", "-q", "-O", "-", f"http://{address}:8080/healthz", check=False)
        self.assertNotEqual(answer.returncode, 0, "the server must be unhealthy by HTTP")
        self.assertEqual(self.count("tcp-lives"), 0)

    def restarted(self, name, times):
        return self.until(lambda found: statuses(found).get("c", {}).get("restartCount", 0) >= times, "pod", name)

    def complaints(self, name):
        selector = f"involvedObject.name={name},reason=Unhealthy"
        return self.out("get", "events", "--field-selector", selector, "-o", "jsonpath={.items[*].message}")

    def test_http_fails(self):
        self.restarted("http-fails", 1)
        self.assertIn("Liveness probe failed: HTTP probe failed with statuscode: 500", self.complaints("http-fails"))
        self.assertEqual(self.out("logs", "http-fails", "--previous").count("GET /healthz"), TIMES + 1)

    def test_grpc_fails(self):
        self.restarted("grpc-fails", 1)
        self.assertRegex(self.complaints("grpc-fails"), r"Liveness probe failed: .*:2333")

    def test_restarts_are_counted(self):
        """One more each time; crates/kubelet has a transcript of more of them."""
        counts = []

        def twice(found):
            counts.append(statuses(found).get("c", {}).get("restartCount", 0))
            return counts[-1] >= 2

        self.until(twice, "pod", "http-fails")
        steps = [after - before for before, after in zip(counts, counts[1:])]
        self.assertLessEqual(set(steps), {0, 1}, counts)

    def test_readiness_waits(self):
        found = self.ready("late")
        status = statuses(found)["c"]
        ready = parse(condition(found, "Ready")["lastTransitionTime"])
        # Both times are of whole seconds.
        self.assertGreaterEqual(ready - parse(status["state"]["running"]["startedAt"]), DELAY_S - 1)
        self.assertEqual(status["restartCount"], 0)
        self.assertEqual([s["restartCount"] for s in statuses(self.get("pod", "late")).values()], [0])


class Hooks(Space):
    """Hooks that ask another pod by HTTP; so does the container when it is told to end."""

    NS = "hooks"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make(pod("told", server_image.container("http:8080")))

    def hooked(self, name, hook):
        address = self.ready("told")["status"]["podIP"]
        hooks = {hook: {"httpGet": {"host": address, "port": 8080, "path": f"/{name}"}}}
        ends = f"trap '/usr/bin/wget -q -O - http://{address}:8080/ended-{name}; exit' TERM; sleep 3600 & wait"
        self.make(pod(name, space.shell(ends, lifecycle=hooks), terminationGracePeriodSeconds=30))
        self.ready(name)

    def told(self):
        return [line for line in self.out("logs", "told").splitlines() if line.startswith("GET")]

    def test_after_start(self):
        self.hooked("started", "postStart")
        # It is ready only when the hook is through.
        self.assertIn("GET /started", self.told())

    def test_before_stop(self):
        self.hooked("stopped", "preStop")
        self.assertNotIn("GET /stopped", self.told())
        self.kubectl("delete", "pod", "stopped")
        self.assertEqual([line for line in self.told() if "stopped" in line], ["GET /stopped", "GET /ended-stopped"])

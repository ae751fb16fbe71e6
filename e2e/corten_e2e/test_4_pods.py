"""What pods promise their containers: volumes, variables, users, commands, init containers, messages, names.

Each entry of PODS is a pod of its own and becomes a test: it must end as said, and its log must have the lines said.
All are made at once; the tests wait for theirs."""

import json
import os
import unittest

from . import images, shared

NS = "pods"
ENTRY = "registry.test/entry:1"
KEY = {"name": "c", "image": shared.BUSYBOX, "imagePullPolicy": "Never"}
PODS = {}


def pod(name, script, *lines, phase="Succeeded", container=None, **spec):
    """Adds a pod whose one container runs a shell script."""
    container = {**KEY, **({"command": ["sh", "-c", script]} if script else {}), **(container or {})}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    PODS[name] = (spec, lines, phase)


def mounted(volume, path="/v", **mount):
    return {"volumes": [{"name": "v", **volume}],
            "container": {"volumeMounts": [{"name": "v", "mountPath": path, **mount}]}}


def empty_dirs():
    for user, uid in (("root", 0), ("other", 1001)):
        for mode in ("0644", "0666", "0777"):
            for medium in ("", "Memory"):
                kind = "tmpfs" if medium else "default"
                script = f"umask 0; echo text > /v/f; chmod {mode} /v/f; cat /v/f; stat -c '%a %u' /v/f; grep -c ' /v tmpfs' /proc/mounts"
                script += "; true"
                pod(f"empty_dir_{user}_{mode}_{kind}", script, "text", f"{int(mode)} {uid}", "1" if medium else "0",
                    securityContext={"runAsUser": uid}, **mounted({"emptyDir": {"medium": medium}}))
    for medium, kind in (("", "default"), ("Memory", "tmpfs")):
        pod(f"empty_dir_mode_{kind}", "stat -c %a /v", "777", **mounted({"emptyDir": {"medium": medium}}))
    shared_mount = [{"name": "v", "mountPath": "/v"}]
    PODS["volumes_shared_between_containers"] = (
        {"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
         "containers": [{**KEY, "command": ["sh", "-c", "until [ -e /v/f ]; do :; done; cat /v/f"], "volumeMounts": shared_mount},
                        {**KEY, "name": "d", "command": ["sh", "-c", "echo from-d > /v/t; mv /v/t /v/f"], "volumeMounts": shared_mount}]},
        ("from-d",), "Succeeded")


def sources():
    """ConfigMaps and Secrets, alone and projected."""
    item = [{"key": "k", "path": "sub/file"}]
    item_mode = [{"key": "k", "path": "sub/file", "mode": 0o400}]
    for kind, plain, value in (("config_map", lambda o: {"configMap": {"name": "data", **o}}, "config"),
                               ("secret", lambda o: {"secret": {"secretName": "data", **o}}, "hidden")):
        inner = "configMap" if kind == "config_map" else "secret"

        def projected(options, inner=inner):
            mode = {k: options.pop(k) for k in ("defaultMode",) if k in options}
            return {"projected": {"sources": [{inner: {"name": "data", **options}}], **mode}}

        for form, make in (("", plain), ("projected_", projected)):
            name = f"{form}{kind}"
            pod(f"{name}_volume", "cat /v/k; echo; stat -L -c %a /v/k", value, "644", **mounted(make({})))
            pod(f"{name}_volume_other_user", "cat /v/k; echo; id -u", value, "1000", securityContext={"runAsUser": 1000}, **mounted(make({})))
            pod(f"{name}_volume_default_mode", "stat -L -c %a /v/k", "400", **mounted(make({"defaultMode": 0o400})))
            pod(f"{name}_volume_default_mode_group", "cat /v/k; echo; stat -L -c '%a %g' /v/k", value, "440 1001",
                securityContext={"runAsUser": 1000, "fsGroup": 1001}, **mounted(make({"defaultMode": 0o440})))
            pod(f"{name}_volume_mapped", "cat /v/sub/file; echo; ls /v", value, "sub", **mounted(make({"items": item})))
            pod(f"{name}_volume_mapped_mode", "stat -L -c %a /v/sub/file", "400", **mounted(make({"items": item_mode})))
            pod(f"{name}_volume_mapped_other_user", "cat /v/sub/file", value, securityContext={"runAsUser": 1000}, **mounted(make({"items": item})))
            volumes = [{"name": "v", **make({})}, {"name": "w", **make({})}]
            pod(f"{name}_volume_twice", "cat /v/k; echo; cat /w/k", value, volumes=volumes,
                container={"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]})
    pod("config_map_volume_binary", "od -An -tx1 /v/b", " de ca fe ba d0 fe ff", **mounted({"configMap": {"name": "data"}}))
    everything = [{"configMap": {"name": "data", "items": item}}, {"secret": {"name": "data", "items": [{"key": "k", "path": "s"}]}},
                  {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]
    both = [{"name": "v", "configMap": {"name": "data"}}, {"name": "w", "secret": {"secretName": "data"}}]
    pod("config_map_and_secret_together", "cat /v/k; echo; cat /w/k; echo", "config", "hidden", volumes=both,
        container={"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]})
    token = {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "me", "expirationSeconds": 3600}}]}}
    pod("projected_token", "tr . '\\n' < /v/t | wc -l; stat -L -c %a /v/t", "2", "644", **mounted(token))
    pod("projected_token_of_a_user", "stat -L -c '%a %u' /v/t", "600 1000", securityContext={"runAsUser": 1000}, **mounted(token))
    pod("projected_everything", "cat /v/sub/file; echo; cat /v/s; echo; cat /v/n", "config", "hidden", "projected-everything", **mounted({"projected": {"sources": everything}}))


RESOURCES = {"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}}
AMOUNTS = {"limits.cpu": "2", "requests.cpu": "1", "limits.memory": "67108864", "requests.memory": "33554432"}


def downward():
    def file(path, ref, mode=None):
        return {"path": path, **ref, **({"mode": mode} if mode else {})}

    def field(of):
        return {"fieldRef": {"fieldPath": of}}

    for form, wrap in (("", lambda items, **o: {"downwardAPI": {"items": items, **o}}),
                       ("projected_", lambda items, **o: {"projected": {"sources": [{"downwardAPI": {"items": items}}], **o}})):
        name = f"{form}downward"
        pod(f"{name}_name", "cat /v/n", f"{name}-name".replace("_", "-"), **mounted(wrap([file("n", field("metadata.name"))])))
        pod(f"{name}_default_mode", "stat -L -c %a /v/n", "400", **mounted(wrap([file("n", field("metadata.name"))], defaultMode=0o400)))
        pod(f"{name}_item_mode", "stat -L -c %a /v/n", "400", **mounted(wrap([file("n", field("metadata.name"), 0o400)])))
        for resource, value in AMOUNTS.items():
            ref = {"resourceFieldRef": {"containerName": "c", "resource": resource}}
            spec = mounted(wrap([file("n", ref)]))
            spec["container"]["resources"] = RESOURCES
            pod(f"{name}_{resource.replace('.', '_')}", "cat /v/n; echo", value, **spec)
        for resource in ("limits.cpu", "limits.memory"):
            ref = {"resourceFieldRef": {"containerName": "c", "resource": resource}}
            pod(f"{name}_{resource.replace('.', '_')}_of_node", "test $(cat /v/n) -gt 0 && echo more", "more", **mounted(wrap([file("n", ref)])))


def env_of(**fields):
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]


def variables():
    ref = {"configMapKeyRef": {"name": "data", "key": "k"}}
    pod("variable_from_config_map", "echo $A", "config", container={"env": [{"name": "A", "valueFrom": ref}]})
    pod("variables_from_config_map", "env", "k=config", "p_k=config",
        container={"envFrom": [{"configMapRef": {"name": "data"}}, {"prefix": "p_", "configMapRef": {"name": "data"}}]})
    ref = {"secretKeyRef": {"name": "data", "key": "k"}}
    pod("variable_from_secret", "echo $A", "hidden", container={"env": [{"name": "A", "valueFrom": ref}]})
    pod("variables_from_secret", "env", "k=hidden", "p_k=hidden",
        container={"envFrom": [{"secretRef": {"name": "data"}}, {"prefix": "p_", "secretRef": {"name": "data"}}]})
    fields = env_of(N="metadata.name", S="metadata.namespace", I="status.podIP", H="status.hostIP", J="status.hostIPs", U="metadata.uid")
    pod("variables_of_the_pod", "echo $N $S; for a in $I $H $J; do echo $a | grep -c '[0-9]*\\.[0-9]*\\.'; done; echo ${#U}",
        "variables-of-the-pod pods", "1", "36", container={"env": fields})
    amounts = [{"name": f"A{i}", "valueFrom": {"resourceFieldRef": {"resource": r}}} for i, r in enumerate(AMOUNTS)]
    pod("variables_of_resources", "echo $A0 $A1 $A2 $A3", " ".join(AMOUNTS.values()), container={"env": amounts, "resources": RESOURCES})
    pod("variables_of_resources_of_node", "test $A0 -gt 0 && test $A2 -gt 0 && echo more", "more", container={"env": amounts})
    chain = [{"name": "A", "value": "a"}, {"name": "B", "value": "$(A)-b"}, {"name": "C", "value": "$$(A)"}]
    pod("variables_in_variables", "echo $B; env", "a-b", "C=$(A)", container={"env": chain})
    pod("variables_in_commands", "", "value-a", container={"env": chain, "command": ["sh", "-c", "echo value-$(A)"]})
    pod("variables_in_arguments", "", "value-a", container={"env": chain, "command": ["sh", "-c"], "args": ["echo value-$(A)"]})
    pod("variables_of_services", "env", "SVC_SERVICE_PORT=80", "SVC_PORT_80_TCP_PROTO=tcp")
    spec = mounted({"emptyDir": {}}, subPathExpr="dir-$(N)")
    spec["container"]["env"] = env_of(N="metadata.name")
    pod("variables_in_sub_paths", "echo ok > /v/f; cat /v/f", "ok", **spec)


def commands():
    entry = {"image": ENTRY}
    pod("command_of_the_image", None, "entry default", container=entry)
    pod("arguments_replaced", None, "entry mine", container={**entry, "args": ["mine"]})
    pod("command_replaced", None, container={**entry, "command": ["sh", "-c", "echo $0 $#"]})
    PODS["command_replaced"] = (PODS["command_replaced"][0], ("sh 0",), "Succeeded")
    pod("command_and_arguments_replaced", None, "own x", container={**entry, "command": ["echo", "own"], "args": ["x"]})


def users():
    pod("user_of_container", "id -u; id -g", "65534", "2000", container={"securityContext": {"runAsUser": 65534, "runAsGroup": 2000}})
    pod("user_of_pod", "id -u; id -g", "1001", "2002", securityContext={"runAsUser": 1001, "runAsGroup": 2002})
    pod("not_privileged", "ip link add d0 type dummy 2>/dev/null || echo refused", "refused", container={"securityContext": {"privileged": False}})
    pod("read_only_root", "touch /f 2>/dev/null || echo refused", "refused", container={"securityContext": {"readOnlyRootFilesystem": True}})
    pod("writable_root", "touch /f && echo written", "written", container={"securityContext": {"readOnlyRootFilesystem": False}})
    pod("no_more_privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1",
        container={"securityContext": {"runAsUser": 1000, "allowPrivilegeEscalation": False}})
    pod("sysctls", "cat /proc/sys/kernel/shm_rmid_forced", "1", securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]})


def sub_paths():
    mount = {"subPath": "k"}
    pod("sub_path_of_config_map", "cat /etc/one", "config", **mounted({"configMap": {"name": "data"}}, "/etc/one", **mount))
    pod("sub_path_over_a_file", "cat /etc/passwd", "config", **mounted({"configMap": {"name": "data"}}, "/etc/passwd", **mount))
    pod("sub_path_of_secret", "cat /etc/one", "hidden", **mounted({"secret": {"secretName": "data"}}, "/etc/one", **mount))
    item = {"path": "k", "fieldRef": {"fieldPath": "metadata.name"}}
    pod("sub_path_of_downward", "cat /etc/one", "sub-path-of-downward", **mounted({"downwardAPI": {"items": [item]}}, "/etc/one", **mount))
    projected = {"projected": {"sources": [{"configMap": {"name": "data"}}]}}
    pod("sub_path_of_projected", "cat /etc/one", "config", **mounted(projected, "/etc/one", **mount))


def lives():
    init = [{**KEY, "name": f"i{n}", "command": ["sh", "-c", f"echo {n} >> /v/f"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]} for n in (1, 2)]
    pod("init_containers_in_turn", "tr '\\n' ' ' < /v/f; echo", "1 2 ", initContainers=init, **mounted({"emptyDir": {}}))
    failing = [{**KEY, "name": "i", "command": ["false"]}]
    pod("init_failure_for_good", "echo never", phase="Failed", initContainers=failing)
    pod("output_in_the_log", "echo one; echo two >&2", "one", "two")
    pod("host_aliases", "cat /etc/hosts", "123.45.67.89\tfoo\tbar", hostAliases=[{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}])
    pod("hosts_managed", "head -1 /etc/hosts", "# Kubernetes-managed hosts file.")
    pod("own_name_servers", "cat /etc/resolv.conf", "nameserver 1.1.1.1", "search resolv.test",
        dnsPolicy="None", dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["resolv.test"]})
    pod("names_of_the_cluster", "cat /etc/resolv.conf | grep -c svc.cluster.local", "1")
    pod("host_name_and_subdomain", "hostname -f", "me.sub.pods.svc.cluster.local", hostname="me", subdomain="sub")
    pod("token_mounted", "ls /var/run/secrets/kubernetes.io/serviceaccount", "ca.crt", "namespace", "token")
    pod("token_not_mounted", "ls /var/run/secrets 2>/dev/null || echo none", "none", automountServiceAccountToken=False)
    message = {"terminationMessagePath": "/dev/other", "securityContext": {"runAsUser": 1000}}
    pod("message_from_file", "echo -n DONE > /dev/other", container=message)
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    pod("message_from_log", "echo -n DONE; exit 1", phase="Failed", container=fallback)
    pod("message_from_file_first", "echo -n OK > /dev/termination-log; exit 0", container=fallback)
    pod("message_empty", "echo -n DONE", container=fallback)
    pod("exit_codes", "exit 7", phase="Failed")
    pod("ends_at_its_deadline", "sleep 1000", phase="Failed", activeDeadlineSeconds=1)


for add in (empty_dirs, sources, downward, variables, commands, users, sub_paths, lives):
    add()

OBJECTS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "data", "namespace": NS}, "data": {"k": "config"}, "binaryData": {"b": "3sr+utD+/w=="}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "data", "namespace": NS}, "stringData": {"k": "hidden"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "data", "namespace": "default"}, "stringData": {"k": "other"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": NS}, "spec": {"ports": [{"port": 80}]}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sub", "namespace": NS}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
]


class Pods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        entry = images.oci_layout(f"{shared.work_dir()}/entry.tar", ENTRY, [images.busybox_layer()], cmd=["default"], entrypoint=["echo", "entry"])
        cls.cluster.import_image(entry)
        cls.cluster.kubectl("create", "namespace", NS)
        cls.cluster.apply_all(OBJECTS)
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name.replace("_", "-"), "namespace": NS, "labels": {"of": "behaviours"}}, "spec": spec}
                for name, (spec, _, _) in PODS.items()]
        cls.cluster.apply_all(pods)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.kubectl("delete", "namespace", NS, "--wait=false")
        cls.cluster.kubectl("delete", "secret", "data")

    def ended(self, name):
        """The pod after its end, which must be the one expected."""
        _, _, phase = PODS[name]
        name = name.replace("_", "-")
        done = lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed")
        pod = self.cluster.watch_until(done, "pod", name, "-n", NS, timeout=180)
        self.assertEqual(pod["status"]["phase"], phase, json.dumps(pod["status"], indent=1))
        return pod

    def check(self, name):
        self.ended(name)
        _, lines, _ = PODS[name]
        if lines:
            log = self.cluster.out("logs", name.replace("_", "-"), "-n", NS, "-c", "c")
            for line in lines:
                self.assertIn(line, log.split("\n"), log)

    def state(self, name):
        return self.ended(name)["status"]["containerStatuses"][0]["state"]["terminated"]

    def test_message_from_file(self):
        self.assertEqual(self.state("message_from_file")["message"], "DONE")

    def test_message_from_log(self):
        self.assertEqual(self.state("message_from_log")["message"], "DONE")

    def test_message_from_file_first(self):
        self.assertEqual(self.state("message_from_file_first")["message"], "OK")

    def test_message_empty(self):
        self.assertEqual(self.state("message_empty").get("message", ""), "")

    def test_exit_codes(self):
        state = self.state("exit_codes")
        self.assertEqual((state["exitCode"], state["reason"]), (7, "Error"))

    def test_init_failure_for_good(self):
        pod = self.ended("init_failure_for_good")
        self.assertIn("waiting", pod["status"]["containerStatuses"][0]["state"])

    def test_quality_of_service(self):
        self.assertEqual(self.ended("downward_limits_cpu")["status"]["qosClass"], "Burstable")
        self.assertEqual(self.ended("output_in_the_log")["status"]["qosClass"], "BestEffort")

    def test_ephemeral_container(self):
        """A container joins a pod that runs, and stays in its spec."""
        spec = {"terminationGracePeriodSeconds": 0, "containers": [{**KEY, "command": ["sleep", "1000"]}]}
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "joined", "namespace": NS}, "spec": spec}))
        self.cluster.wait("pod/joined", "condition=Ready", "-n", NS)
        guest = {**KEY, "name": "guest", "command": ["sh", "-c", "echo guest; sleep 1000"]}
        self.cluster.replace_raw(f"/api/v1/namespaces/{NS}/pods/joined/ephemeralcontainers",
                                 lambda pod: pod["spec"].update(ephemeralContainers=[guest]))
        runs = lambda pod: "running" in (pod["status"].get("ephemeralContainerStatuses") or [{}])[0].get("state", {})
        pod = self.cluster.watch_until(runs, "pod", "joined", "-n", NS)
        self.assertEqual(pod["spec"]["ephemeralContainers"][0]["name"], "guest")

    def test_generation_follows_the_spec(self):
        spec = {"terminationGracePeriodSeconds": 0, "containers": [{**KEY, "command": ["sleep", "1000"]}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counted", "namespace": NS, "generation": 100}, "spec": spec}
        self.cluster.apply(json.dumps(body))
        self.assertEqual(self.cluster.get("pod", "counted", "-n", NS)["metadata"]["generation"], 1)
        self.cluster.kubectl("patch", "pod", "counted", "-n", NS, "-p", '{"spec":{"activeDeadlineSeconds":500}}')
        seen = lambda pod: pod["metadata"]["generation"] == 2 and pod["status"].get("observedGeneration") == 2
        self.cluster.watch_until(seen, "pod", "counted", "-n", NS)


class Names(unittest.TestCase):
    def test_are_listed(self):
        """docs/conformance.md names tests by this list."""
        with open(os.path.join(os.path.dirname(__file__), "pods.txt"), encoding="ascii") as listed:
            self.assertEqual(listed.read().split(), sorted(name for name in dir(Pods) if name.startswith("test_")))


def test_of(name):
    return lambda self: self.check(name)


for entry in PODS:
    if not hasattr(Pods, f"test_{entry}"):
        setattr(Pods, f"test_{entry}", test_of(entry))

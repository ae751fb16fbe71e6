"""Step 7: manifests nobody here wrote, unchanged: the Kubernetes documentation's and a public project's (hack/documents.sh
fetches them, CORTEN_DOCUMENTS names the folder). Their images are pulled by their own names, from a registry that
mirrors all others, and are made of Debian's programs."""

import os
import unittest

from . import images, shared
from .cluster import Cluster
from .registry import Registry

DOCUMENTS = os.environ.get("CORTEN_DOCUMENTS", "")
GUIDE = "test/fixtures/doc-yaml/user-guide"
ADMIN = "test/fixtures/doc-yaml/admin"
GUESTBOOK = "staging/src/k8s.io/cli-runtime/artifacts/guestbook"
GUESTBOOK_SERVICES = "test/e2e/testing-manifests/guestbook"
EXPORTER = "elasticsearch-exporter/usr/share/doc/prometheus-elasticsearch-exporter/examples/kubernetes/deployment.yml"
EXPORTER_PROGRAM = "elasticsearch-exporter/usr/bin/prometheus-elasticsearch-exporter"

# The guestbook's web application: writes to the master, reads from the replicas.
WEB_APPLICATION = b"""#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
case "$QUERY_STRING" in
set=*) redis-cli -h redis-master set messages "${QUERY_STRING#set=}" ;;
*) redis-cli -h redis-slave get messages ;;
esac
"""
SENTINEL = b"port 26379\nsentinel monitor primary 127.0.0.1 6379 1\n"
REDIS_OR_SENTINEL = "if [ \"$SENTINEL\" = true ]; then exec redis-server /etc/sentinel.conf --sentinel; else exec redis-server --protected-mode no; fi"
HOSTNAME_SERVER = "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 9376 -h /www"


def layer_of(files):
    layer = images.Layer()
    for path, (data, mode) in files.items():
        layer.file(path, data, mode)
    return layer.done()


def perl_layer():
    """Debian's perl with its own modules, and a newer Math::BigInt: 5.36's own cannot do the documentation's Job."""
    layer = images.Layer()
    layer.binary("/usr/bin/perl")
    newer = os.path.join(DOCUMENTS, "perl-modules")
    for root, top in ((newer, "/usr/share/perl5"), ("", "/usr/share/perl"), ("", "/usr/lib/x86_64-linux-gnu/perl-base")):
        for folder, _, names in os.walk(root + top):
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith((".pm", ".pl", ".so")) and not os.path.islink(path):
                    with open(path, "rb") as handle:
                        layer.file(path.removeprefix(root), handle.read())
    version = next(name for name in sorted(os.listdir("/usr/share/perl")) if name.count(".") == 2)
    layer.link(f"/usr/share/perl/{version.rsplit('.', 1)[0]}", version)
    return layer.done()


def push_images(registry):
    base, redis = images.busybox_layer(), images.redis_layer()
    server = ["redis-server", "--protected-mode", "no"]
    application = layer_of({"www/cgi-bin/guestbook": (WEB_APPLICATION, 0o755)})
    sentinel = layer_of({"etc/sentinel.conf": (SENTINEL, 0o644)})
    with open(os.path.join(DOCUMENTS, EXPORTER_PROGRAM), "rb") as handle:
        exporter = layer_of({"bin/elasticsearch_exporter": (handle.read(), 0o755)})
    registry.push("library/nginx", "latest", [base, images.nginx_layer()], cmd=["nginx"])
    registry.push("library/busybox", "latest", [base], cmd=["sh"])
    registry.push("library/perl", "latest", [base, perl_layer()], cmd=["perl"])
    registry.push("library/redis", "5.0.5-alpine", [base, redis], cmd=server)
    registry.push("redis", "e2e", [base, redis], cmd=server)
    registry.push("google_samples/gb-redisslave", "v1", [base, redis], cmd=[*server, "--replicaof", "redis-master", "6379"])
    registry.push("google_samples/gb-frontend", "v4", [base, redis, application], cmd=["httpd", "-f", "-p", "80", "-h", "/www"])
    registry.push("kubernetes-e2e-test-images/redis", "1.0", [base, redis, sentinel], cmd=["sh", "-c", REDIS_OR_SENTINEL])
    registry.push("kubernetes-e2e-test-images/serve-hostname", "1.0", [base], cmd=["sh", "-c", HOSTNAME_SERVER])
    registry.push("serve_hostname", "latest", [base], cmd=["sh", "-c", HOSTNAME_SERVER])
    registry.push("prometheuscommunity/elasticsearch-exporter", "latest", [base, exporter], cmd=["elasticsearch_exporter"])


class Documents(unittest.TestCase):
    """Each test has a namespace of its own; the manifests name none."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(os.path.join(DOCUMENTS, "complete")):
            raise AssertionError("CORTEN_DOCUMENTS names no folder with manifests; `make documents` fetches them")
        cls.registry = Registry()
        cls.addClassCleanup(cls.registry.close)
        push_images(cls.registry)
        cls.cluster = Cluster("--port", "12443", "--registry-mirror", f"*={cls.registry.address}", name="documents")
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.up()

    def setUp(self):
        self.namespace = self._testMethodName.replace("_", "-")
        self.kubectl("create", "namespace", self.namespace)
        self.addCleanup(self.kubectl, "delete", "namespace", self.namespace, "--wait=false")

    def kubectl(self, *args, **options):
        return self.cluster.kubectl("--namespace", self.namespace, *args, **options)

    def apply(self, *paths, check=True):
        return self.kubectl("apply", *(f"--filename={os.path.join(DOCUMENTS, path)}" for path in paths), check=check)

    def until(self, predicate, *args):
        """Watches until the named object satisfies the predicate."""
        return self.cluster.watch_until(predicate, *args, "--namespace", self.namespace)

    def ready(self, *pods):
        self.kubectl("wait", "pod", *pods, "--for=condition=Ready", "--timeout=60s", timeout=65)

    def visit(self, url):
        """What a pod in the namespace gets from the URL."""
        self.kubectl("run", "visitor", "--image=busybox", "--restart=Never", "--", "wget", "-q", "-O", "-", "-T", "10", url)
        self.until(lambda pod: pod["status"]["phase"] == "Succeeded", "pod", "visitor")
        shown = self.kubectl("logs", "visitor").stdout
        self.kubectl("delete", "pod", "visitor", "--grace-period=0", "--force")
        return shown

    def test_deployment(self):
        self.apply(f"{GUIDE}/deployment.yaml")
        self.kubectl("rollout", "status", "deployment/nginx-deployment", "--timeout=60s")
        self.kubectl("expose", "deployment", "nginx-deployment")
        self.assertIn("Welcome to nginx!", self.visit("http://nginx-deployment/"))

    def test_pod_and_replication_controller(self):
        self.apply(f"{GUIDE}/replication.yaml")
        self.until(lambda controller: controller["status"].get("readyReplicas") == 3, "replicationcontroller", "nginx")
        # The controller takes in a pod that its selector fits, has one too many, and ends the youngest.
        self.apply(f"{GUIDE}/pod.yaml")
        # kubectl 1.20 calls it an error when the pod has gone already.
        self.kubectl("wait", "pod/nginx", "--for=delete", "--timeout=60s", timeout=65, check=False)
        self.assertEqual(self.kubectl("get", "pod", "nginx", "--ignore-not-found", "-o", "name").stdout, "")
        self.until(lambda controller: controller["status"]["readyReplicas"] == 3, "replicationcontroller", "nginx")

    def test_configmap_and_secret(self):
        self.apply(f"{GUIDE}/configmap/configmap.yaml", f"{GUIDE}/secrets/secret.yaml", f"{GUIDE}/secrets/secret-env-pod.yaml")
        self.assertEqual(self.kubectl("get", "configmap", "test-configmap", "-o", "jsonpath={.data.data-2}").stdout, "value-2")
        self.until(lambda pod: pod["status"]["phase"] == "Succeeded", "pod", "secret-env-pod")
        self.assertIn("MY_SECRET_DATA=value-1", self.kubectl("logs", "secret-env-pod").stdout)

    def test_job(self):
        self.apply(f"{GUIDE}/job.yaml")
        self.kubectl("wait", "job/pi", "--for=condition=Complete", "--timeout=60s", timeout=65)
        self.assertTrue(self.kubectl("logs", "job/pi").stdout.startswith("3.14159265358979323846264338327950288419716939937510"))

    def test_several_containers(self):
        self.apply(f"{GUIDE}/multi-pod.yaml")
        self.ready("redis-master", "valid-pod")
        primary = self.kubectl("exec", "redis-master", "-c", "sentinel", "--", "redis-cli", "-p", "26379", "sentinel", "masters")
        self.assertIn("primary", primary.stdout)

    def test_replica_set(self):
        self.apply(f"{GUESTBOOK}/redis-master-controller.yaml", f"{GUESTBOOK}/redis-master-service.yaml", f"{GUIDE}/replicaset/redis-slave.yaml")
        self.until(lambda replicas: replicas["status"].get("readyReplicas") == 2, "replicaset", "redis-slave")

    def test_guestbook(self):
        self.apply(GUESTBOOK, f"{GUESTBOOK_SERVICES}/redis-slave-service.yaml", f"{GUESTBOOK_SERVICES}/frontend-service.yaml")
        for controller, wanted in (("redis-master", 1), ("redis-slave", 2), ("frontend", 3)):
            self.until(lambda found: found["status"].get("readyReplicas") == wanted, "replicationcontroller", controller)
        self.assertEqual(self.visit("http://frontend/cgi-bin/guestbook?set=hello"), "OK\n")
        master = self.kubectl("get", "pods", "-l", "role=master", "-o", "name").stdout.strip()
        self.kubectl("exec", master, "--", "redis-cli", "wait", "2", "20000")
        self.assertEqual(self.visit("http://frontend/cgi-bin/guestbook"), "hello\n")

    def test_limit_range(self):
        self.apply(f"{ADMIN}/limitrange/limits.yaml", f"{ADMIN}/limitrange/valid-pod.yaml")
        self.ready("valid-pod")
        refused = self.apply(f"{ADMIN}/limitrange/invalid-pod.yaml", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("maximum cpu usage per Container is 2, but limit is 3", refused.stderr)

    def test_quota(self):
        self.apply(f"{ADMIN}/resourcequota/quota.yaml", f"{ADMIN}/resourcequota/limits.yaml", f"{GUIDE}/pod.yaml")
        self.until(lambda quota: quota.get("status", {}).get("used", {}).get("pods") == "1", "resourcequota", "quota")
        self.apply(f"{GUIDE}/deployment.yaml")
        # 1 GiB of memory is for four pods of 256 MiB.
        self.until(lambda quota: quota["status"]["used"]["memory"] == "1Gi", "resourcequota", "quota")

    def test_public_project(self):
        """The Prometheus exporter of Elasticsearch, without an Elasticsearch: as another user, on a read-only root."""
        self.apply(EXPORTER)
        self.kubectl("rollout", "status", "deployment/elastic-exporter", "--timeout=60s", timeout=65)
        self.kubectl("expose", "deployment", "elastic-exporter", "--port=9114")
        metrics = self.visit("http://elastic-exporter:9114/metrics")
        self.assertIn("elasticsearch_exporter_build_info", metrics)
        self.assertIn("elasticsearch_cluster_health_up 0", metrics)

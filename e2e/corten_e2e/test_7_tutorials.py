"""Step 7: the shapes of the Kubernetes documentation's basic tutorials in our own words (test_7_documents runs the
documents themselves)."""

import unittest

from . import images, shared

GUESTBOOK = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis-leader, labels: {app: redis, role: leader, tier: backend}}
spec:
  replicas: 1
  selector: {matchLabels: {app: redis, role: leader}}
  template:
    metadata: {labels: {app: redis, role: leader, tier: backend}}
    spec:
      containers:
      - name: leader
        image: docker.io/redis:6.0.5
        args: [--protected-mode, "no"]
        resources: {requests: {cpu: 100m, memory: 100Mi}}
        ports: [{containerPort: 6379}]
---
apiVersion: v1
kind: Service
metadata: {name: redis-leader, labels: {app: redis, role: leader, tier: backend}}
spec: {ports: [{port: 6379, targetPort: 6379}], selector: {app: redis, role: leader, tier: backend}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis-follower}
spec:
  replicas: 2
  selector: {matchLabels: {app: redis, role: follower}}
  template:
    metadata: {labels: {app: redis, role: follower, tier: backend}}
    spec:
      containers:
      - name: follower
        image: docker.io/redis:6.0.5
        args: [--protected-mode, "no", --replicaof, redis-leader, "6379"]
        readinessProbe: {exec: {command: [sh, -c, "redis-cli info replication | grep -q master_link_status:up"]}, periodSeconds: 1}
        ports: [{containerPort: 6379}]
---
apiVersion: v1
kind: Service
metadata: {name: redis-follower}
spec: {ports: [{port: 6379}], selector: {app: redis, role: follower, tier: backend}}
"""

NGINX = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx-deployment, labels: {app: nginx}}
spec:
  replicas: 3
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      containers: [{name: nginx, image: "nginx:1.14.2", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: my-nginx, labels: {run: my-nginx}}
spec: {ports: [{port: 80, protocol: TCP}], selector: {app: nginx}}
"""

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: game-demo}
data:
  player_initial_lives: "3"
  game.properties: |
    enemy.types=aliens,monsters
    player.maximum-lives=5
---
apiVersion: v1
kind: Pod
metadata: {name: configmap-demo-pod}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: demo
    image: registry.test/busybox:1.35
    command: [sleep, "3600"]
    env: [{name: PLAYER_INITIAL_LIVES, valueFrom: {configMapKeyRef: {name: game-demo, key: player_initial_lives}}}]
    volumeMounts: [{name: config, mountPath: /config, readOnly: true}]
  volumes:
  - name: config
    configMap: {name: game-demo, items: [{key: game.properties, path: game.properties}]}
"""


class Tutorials(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        directory, base = shared.work_dir(), images.busybox_layer()
        nginx = ["nginx:1.14.2", "nginx:1.16.1", "nginx:latest"]
        cls.cluster.import_image(images.docker_archive(f"{directory}/nginx.tar", nginx, [base, images.nginx_layer()], cmd=["nginx"]))
        redis = ["docker.io/redis:6.0.5", "redis:latest"]
        cls.cluster.import_image(images.docker_archive(f"{directory}/redis.tar", redis, [base, images.redis_layer()], entrypoint=["redis-server"], cmd=[]))

    def start(self, manifest):
        self.cluster.apply(manifest)
        self.addCleanup(self.cluster.kubectl, "delete", "-f", "-", "--ignore-not-found", "--grace-period=1", stdin=manifest)

    def test_deployment_and_service(self):
        self.start(NGINX)
        self.cluster.rollout("deployment/nginx-deployment")
        self.cluster.kubectl("run", "curl", f"--image={shared.BUSYBOX}", "--", "sleep", "3600")
        self.addCleanup(self.cluster.kubectl, "delete", "pod", "curl", "--grace-period=0", "--force")
        self.cluster.wait("pod/curl", "condition=Ready")
        self.assertIn("Welcome to nginx!", self.cluster.exec("curl", "wget", "-q", "-O", "-", "http://my-nginx/").stdout)
        self.cluster.kubectl("set", "image", "deployment/nginx-deployment", "nginx=nginx:1.16.1")
        self.cluster.rollout("deployment/nginx-deployment")

    def test_configmap(self):
        self.start(CONFIG)
        self.cluster.wait("pod/configmap-demo-pod", "condition=Ready")
        self.assertEqual(self.cluster.exec("configmap-demo-pod", "sh", "-c", "echo $PLAYER_INITIAL_LIVES").stdout, "3\n")
        self.assertIn("player.maximum-lives=5", self.cluster.exec("configmap-demo-pod", "cat", "/config/game.properties").stdout)

    def test_guestbook(self):
        self.start(GUESTBOOK)
        for name in ("redis-leader", "redis-follower"):
            self.cluster.rollout(f"deployment/{name}")
        leader = self.cluster.out("get", "pods", "-l", "role=leader", "-o", "name").strip()
        self.assertEqual(self.cluster.exec(leader, "redis-cli", "-h", "redis-leader", "set", "message", "hello").stdout, "OK\n")
        self.cluster.exec(leader, "redis-cli", "wait", "2", "5000")
        self.assertEqual(self.cluster.exec(leader, "redis-cli", "-h", "redis-follower", "get", "message").stdout, "hello\n")

"""Services as their clients see them: several slices, ports and protocols, affinity, and how soon endpoints come.

`client` is a pod that asks; what it asks may take a moment to be in force, so it asks until it is answered as said."""

import concurrent.futures
import http.client
import subprocess
import time

from . import server_image
from .cluster import KUBECTL
from .space import Space, pod, service

# By its path: the shell would take its own.
FETCH = "/usr/bin/wget -q -t 1 -T 2 -O - http://$0/ 2>/dev/null"
ASK = f"{' '.join(server_image.COMMAND)} ask $0 $1 2>/dev/null"
REQUESTS = 15
MANY = 100
# The suite's own, which are set liberally.
MEDIAN_S, NINE_TENTHS_S = 20, 50


def endpoint_slice(called, of, address, **port):
    labels = {"kubernetes.io/service-name": of, "endpointslice.kubernetes.io/managed-by": "tests"}
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": called, "labels": labels},
            "addressType": "IPv4", "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"protocol": "TCP", **port}]}


def two_ports(one, other):
    """Named so that slices can say which is meant."""
    return {"name": "one", "port": 80, **one}, {"name": "other", "port": 81, **other}


class Services(Space):
    NS = "services"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make(pod("client", server_image.container("http:8080")),
                 *(pod(name, server_image.container("http:8090", "http:9090", "udp:8090"), labels={"app": name})
                   for name in ("first", "second")),
                 *(pod(f"alike-{n}", server_image.container("http:8090"), labels={"app": "alike"}) for n in range(3)))
        cls.cluster.wait("pods", "condition=Ready", "--all", "-n", cls.NS)
        cls.address = {item["metadata"]["name"]: item["status"]["podIP"] for item in cls.cluster.get("pods", "-n", cls.NS)["items"]}

    def served(self, ask, *target):
        """The name of the pod and the port that answer the client, once any do."""
        answer = self.exec("client", "sh", "-c", f"until {ask}; do usleep 50000; done", *map(str, target)).stdout
        return answer.split()[:2]

    def not_served(self, ask, *target):
        """Waits until nobody answers, and sees that it stays so."""
        self.exec("client", "sh", "-c", f"while {ask}; do usleep 50000; done", *map(str, target))
        again = self.exec("client", "sh", "-c", ask, *map(str, target), check=False)
        self.assertNotEqual(again.returncode, 0)

    def cluster_ip(self, name):
        return self.get("service", name)["spec"]["clusterIP"]

    def test_several_addresses_in_slices(self):
        self.make(service("addresses", *two_ports({}, {})),
                  endpoint_slice("addresses-1", "addresses", self.address["first"], name="one", port=8090),
                  endpoint_slice("addresses-2", "addresses", self.address["second"], name="other", port=8090))
        ip = self.cluster_ip("addresses")
        self.assertEqual(self.served(FETCH, f"{ip}:80"), ["first", "8090"])
        self.assertEqual(self.served(FETCH, f"{ip}:81"), ["second", "8090"])

    def test_several_ports_in_slices(self):
        self.make(service("ports", *two_ports({}, {})),
                  endpoint_slice("ports-1", "ports", self.address["first"], name="one", port=8090),
                  endpoint_slice("ports-2", "ports", self.address["first"], name="other", port=9090))
        ip = self.cluster_ip("ports")
        self.assertEqual(self.served(FETCH, f"{ip}:80"), ["first", "8090"])
        self.assertEqual(self.served(FETCH, f"{ip}:81"), ["first", "9090"])

    def endpoints(self, name):
        """What all slices of a service say: (port's name, pod, port)."""
        pods = {address: name for name, address in self.address.items()}
        slices = self.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
        return {(port["name"], pods.get(address, address), port["port"]) for found in slices for port in found["ports"] or []
                for endpoint in found["endpoints"] or [] for address in endpoint["addresses"]}

    def until_endpoints(self, name, *wanted):
        of = ("endpointslices", "-l", f"kubernetes.io/service-name={name}")
        self.until(lambda _: self.endpoints(name) == set(wanted), *of)

    def test_endpoints_of_several_ports(self):
        self.make(service("named", *two_ports({"targetPort": "p1"}, {"targetPort": "p2"}), selector={"of": "named"}))
        self.until_endpoints("named")
        for name, port, number in (("named-1", "p1", 8100), ("named-2", "p2", 8101)):
            ports = [{"name": port, "containerPort": number}]
            self.make(pod(name, server_image.container(f"http:{number}", ports=ports), labels={"of": "named"}))
            self.address[name] = self.ready(name)["status"]["podIP"]
            self.until_endpoints("named", *[("one", "named-1", 8100), ("other", "named-2", 8101)][:int(name[-1])])
        ip = self.cluster_ip("named")
        self.assertEqual(self.served(FETCH, f"{ip}:80"), ["named-1", "8100"])
        self.assertEqual(self.served(FETCH, f"{ip}:81"), ["named-2", "8101"])
        self.remove("pod", "named-1")
        self.until_endpoints("named", ("other", "named-2", 8101))
        self.remove("pod", "named-2")
        self.until_endpoints("named")

    def test_one_port_in_two_protocols(self):
        tcp, udp = ({"name": name.lower(), "port": 80, "targetPort": 8090, "protocol": name} for name in ("TCP", "UDP"))
        self.make(service("both", tcp, udp, selector={"app": "first"}))
        ip = self.cluster_ip("both")
        self.assertEqual(self.served(FETCH, f"{ip}:80"), ["first", "8090"])
        self.assertEqual(self.served(ASK, ip, 80), ["first", "8090"])
        for kept, lost, port in (((FETCH, f"{ip}:80"), (ASK, ip, 80), tcp), ((ASK, ip, 80), (FETCH, f"{ip}:80"), udp)):
            self.change("services/both", lambda found: found["spec"].update(ports=[port]))
            self.not_served(*lost)
            self.assertEqual(self.served(*kept), ["first", "8090"])

    def test_affinity_of_a_node_port(self):
        self.make(service("faithful", {"port": 80, "targetPort": 8090}, type="NodePort", selector={"app": "alike"}))
        found = self.get("service", "faithful")
        node = next(a["address"] for a in self.cluster.get("nodes")["items"][0]["status"]["addresses"] if a["type"] == "InternalIP")
        places = [f"{node}:{found['spec']['ports'][0]['nodePort']}", f"{found['spec']['clusterIP']}:80", "faithful:80"]
        self.until_endpoints("faithful", *(("", f"alike-{n}", 8090) for n in range(3)))
        script = f"until {FETCH} >/dev/null; do usleep 50000; done; for i in $(seq {REQUESTS}); do {FETCH}; echo; done"
        ask = lambda place: [line.split()[0] for line in self.exec("client", "sh", "-c", script, place).stdout.splitlines()]
        self.assertGreater(len(set(ask(places[0]))), 1, "without affinity there is more than one")
        self.change("services/faithful", lambda found: found["spec"].update(sessionAffinity="ClientIP"))
        for place in places:
            # The change is in force from one request on.
            self.exec("client", "sh", "-c", f"a=1; until [ $(for i in $(seq {REQUESTS}); do {FETCH}; echo; done | cut -d' ' -f1 | sort -u | wc -l) = 1 ]; do :; done", place)
            names = ask(place)
            self.assertEqual((len(names), len(set(names))), (REQUESTS, 1), place)

    def test_the_api_server_s_own(self):
        subsets = self.cluster.get("endpoints", "kubernetes", "-n", "default")["subsets"]
        by_endpoints = {(a["ip"], p["port"]) for s in subsets for a in s["addresses"] for p in s["ports"]}
        slices = self.cluster.get("endpointslices", "-l", "kubernetes.io/service-name=kubernetes", "-n", "default")["items"]
        by_slices = {(a, p["port"]) for s in slices for e in s["endpoints"] for a in e["addresses"] for p in s["ports"]}
        self.assertEqual(by_endpoints, by_slices)
        self.assertEqual(len(by_slices), 1, "one server")
        # The certificate must be good for the address too.
        connection = http.client.HTTPSConnection(*by_slices.pop(), context=self.api.context, timeout=10)
        self.addCleanup(connection.close)
        connection.request("GET", "/version")
        self.assertIn(b"v1.36", connection.getresponse().read())

    def test_endpoints_come_soon(self):
        made, seen = {}, {}

        def make_all():
            for index in range(MANY):
                name = f"soon-{index}"
                made[name] = time.monotonic()
                self.api.call("POST", self.path("services"), service(name, {"port": 80}, selector={"app": "first"}))

        line = '{.metadata.labels.kubernetes\\.io/service-name} {.endpoints[0].addresses[0]}{"\\n"}'
        watch = subprocess.Popen([KUBECTL, "get", "endpointslices", "-w", "-n", self.NS, "-o", f"jsonpath={line}"],
                                 env=self.cluster.env, stdout=subprocess.PIPE, text=True)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            making = pool.submit(make_all)
            for told in watch.stdout:
                name, *addresses = told.split()
                if name.startswith("soon-") and addresses == [self.address["first"]]:
                    seen.setdefault(name, time.monotonic())
                if len(seen) == MANY:
                    break
            watch.kill()
            watch.communicate()
            making.result()
        taken = sorted(seen[name] - made[name] for name in made)
        self.assertLess(taken[MANY // 2], MEDIAN_S)
        self.assertLess(taken[MANY * 9 // 10], NINE_TENTHS_S)

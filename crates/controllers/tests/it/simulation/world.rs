//! The world of the simulation: a server, one or two processes of controllers, a kubelet, and what goes wrong.

use std::env;
use std::time::Duration;

use corten_client::CancellationToken;
use corten_client::fake::{Door, Fake, TokioClock};
use corten_controllers::{Config, run_all};
use corten_stdx::SharedClock;
use serde_json::{Value, json};

use crate::cluster::text;

const KINDS: [&str; 13] = [
    "pods",
    "replicasets",
    "deployments",
    "replicationcontrollers",
    "statefulsets",
    "controllerrevisions",
    "daemonsets",
    "jobs",
    "cronjobs",
    "endpointslices",
    "services",
    "nodes",
    "namespaces",
];

/// xorshift64*: the same numbers for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

struct Process {
    door: Door,
    stop: CancellationToken,
}

pub struct World {
    pub fake: Fake,
    pub random: Random,
    clock: SharedClock,
    processes: Vec<Process>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.iter().for_each(|p| p.stop.cancel());
    }
}

impl World {
    pub fn new(seed: u64, processes: usize) -> Self {
        let mut world = Self {
            fake: Fake::default(),
            random: Random::new(seed),
            clock: TokioClock::shared(),
            processes: Vec::new(),
        };
        for _ in 0..processes {
            let process = world.start();
            world.processes.push(process);
        }
        world
    }

    fn start(&self) -> Process {
        let (door, stop) = (self.fake.door(), CancellationToken::new());
        let config = Config {
            root_ca: "PEM".into(),
            load_balancer: true,
            migrates: true,
            ..Config::new(self.clock.clone())
        };
        let factory = corten_client::Factory::new(door.client(), stop.child_token());
        tokio::spawn(run_all(factory, config, stop.child_token()));
        Process { door, stop }
    }

    /// One thing that goes wrong, or nothing.
    pub fn fault(&mut self) {
        let (n, which) = (
            self.random.below(12),
            self.random.below(self.processes.len() as u64),
        );
        let (count, kind) = (self.random.below(4), self.random.below(KINDS.len() as u64));
        let (kind, door) = (KINDS[kind as usize], &self.processes[which as usize].door);
        if env::var_os("SIMULATION_TRACE").is_some() {
            eprintln!("fault {n} {kind} {count} of process {which}");
        }
        match n {
            0 => self.fake.break_watches(),
            1 => self.fake.expire_watches(),
            2 => self.fake.fail_writes(count as u32),
            3 => self.fake.lose_answers(count as u32),
            4 => self.fake.hold_events(),
            5 | 6 => self.fake.hold_events_of(kind),
            7 => door.hold_events(Some(kind)),
            8 => door.hold_events(None),
            9 | 10 if !door.is_dead() => door.die_after(1 + self.random.below(25) as u32),
            _ => {}
        }
    }

    /// Replaces what has died, mends what was broken.
    pub fn mend(&mut self) {
        for i in 0..self.processes.len() {
            if self.processes[i].door.is_dead() {
                self.processes[i].stop.cancel();
                self.processes[i] = self.start();
            }
        }
        self.fake.release_events();
        self.fake.fail_writes(0);
        self.fake.lose_answers(0);
    }

    /// Nothing goes wrong any more.
    pub fn calm(&mut self) {
        self.mend();
        for process in &self.processes {
            process.door.die_after(u32::MAX);
        }
    }

    /// What scheduler and kubelets would do about every pod.
    pub fn kubelet(&mut self) {
        let nodes: Vec<String> = self
            .fake
            .list("nodes")
            .iter()
            .filter(|n| n["spec"]["taints"].as_array().is_none_or(Vec::is_empty))
            .map(|n| text(&n["metadata"]["name"]))
            .collect();
        for (address, pod) in self.fake.list("pods").into_iter().enumerate() {
            let (ns, name) = (
                text(&pod["metadata"]["namespace"]),
                text(&pod["metadata"]["name"]),
            );
            let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                if !ended {
                    self.end(&ns, &name, "Failed");
                }
                let pod = self.fake.get("pods", &ns, &name).unwrap_or_default();
                if pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
                    self.fake.remove("pods", &ns, &name);
                }
            } else if pod["status"]["phase"].is_null() {
                let node = pinned(&pod)
                    .unwrap_or_else(|| nodes[self.random.below(nodes.len() as u64) as usize].clone());
                self.run(&ns, &name, &node, address);
            } else if !ended
                && pod["metadata"]["ownerReferences"][0]["kind"] == "Job"
                && self.random.below(3) == 0
            {
                let phase = if self.random.below(5) == 0 {
                    "Failed"
                } else {
                    "Succeeded"
                };
                self.end(&ns, &name, phase);
            }
        }
    }

    fn run(&self, ns: &str, name: &str, node: &str, address: usize) {
        let ip = format!("10.0.{}.{}", address / 200, address % 200 + 1);
        self.fake.edit("pods", ns, name, |pod| {
            pod["spec"]["nodeName"] = json!(node);
            pod["status"] = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        });
    }

    fn end(&self, ns: &str, name: &str, phase: &str) {
        let code = i32::from(phase != "Succeeded");
        self.fake.edit("pods", ns, name, |pod| {
            pod["status"]["phase"] = json!(phase);
            pod["status"]["conditions"] = json!([]);
            pod["status"]["containerStatuses"] = json!([{"name": "c", "image": "i", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]);
        });
    }

    /// The nodes' sign of life.
    pub fn heartbeat(&self) {
        let now = jiff::Timestamp::try_from(self.clock.now()).unwrap();
        for node in self.fake.list("nodes") {
            let name = text(&node["metadata"]["name"]);
            self.fake.put(
                "leases",
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"namespace": "kube-node-lease", "name": name},
                    "spec": {"renewTime": format!("{now:.6}")}}),
            );
        }
    }

    pub async fn pass(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// The node a DaemonSet made the pod for.
fn pinned(pod: &Value) -> Option<String> {
    let affinity = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let field = &affinity["nodeSelectorTerms"][0]["matchFields"][0];
    field["values"][0].as_str().map(str::to_owned)
}

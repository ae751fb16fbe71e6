//! A cluster without nodes' work: pods run when the test's kubelet says so.

use std::sync::Arc;
use std::time::Duration;

use corten_client::CancellationToken;
use corten_client::fake::Fake;
use corten_client::fake::TokioClock;
use corten_controllers::keys::{CertificateSigner, Keys};
use corten_controllers::{Config, run_all};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Signs by saying what it would have signed.
struct Pen;

impl CertificateSigner for Pen {
    fn sign(&self, _: &[u8], usages: &[String], life: Duration, _: Timestamp) -> Result<String, String> {
        Ok(format!("{} for {} h", usages.join(", "), life.as_secs() / 3600))
    }
}

pub struct Cluster {
    pub fake: Fake,
    pub stop: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn start() -> Cluster {
    let cluster = Cluster {
        fake: Fake::default(),
        stop: CancellationToken::new(),
    };
    cluster.run();
    cluster
}

impl Cluster {
    /// Starts the controllers (again).
    pub fn run(&self) {
        let config = Config {
            root_ca: "PEM".into(),
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
            migrates: true,
            keys: Keys {
                certificates: Some(Arc::new(Pen)),
                tokens: None,
            },
            load_balancer: true,
            ..Config::new(TokioClock::shared())
        };
        tokio::spawn(run_all(
            corten_client::Factory::new(self.fake.client(), self.stop.child_token()),
            config,
            self.stop.child_token(),
        ));
    }

    pub fn restart(&mut self) {
        self.stop.cancel();
        self.stop = CancellationToken::new();
        self.run();
    }

    /// Does what a kubelet and scheduler would: starts new pods, ends deleted ones.
    pub fn kubelet(&self) {
        for (address, pod) in self.fake.list("pods").into_iter().enumerate() {
            let address = address + 1;
            let (ns, name) = (
                text(&pod["metadata"]["namespace"]),
                text(&pod["metadata"]["name"]),
            );
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let finalizers = pod["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
                if finalizers == 0 {
                    self.fake.remove("pods", &ns, &name);
                }
            } else if pod["status"]["phase"].is_null() || pod["status"]["phase"] == "Pending" {
                self.fake.edit("pods", &ns, &name, |pod| {
                    // A daemon set's pods say where they belong.
                    let place = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
                    let node = pod.pointer(place).or(pod["spec"].get("nodeName")).cloned();
                    pod["spec"]["nodeName"] = node.unwrap_or(json!("n1"));
                    pod["status"] = json!({"phase": "Running", "podIP": format!("10.0.0.{address}"),
                        "podIPs": [{"ip": format!("10.0.0.{address}")}],
                        "conditions": [{"type": "Ready", "status": "True",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
                });
            }
        }
    }

    /// Lets the cluster run until `ready` holds.
    pub async fn until(&self, what: &str, ready: impl Fn(&Fake) -> bool) {
        for _ in 0..3000 {
            if ready(&self.fake) {
                return;
            }
            self.kubelet();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let kinds = [
            "deployments",
            "replicasets",
            "pods",
            "jobs",
            "statefulsets",
            "events",
        ];
        let state: Vec<_> = kinds
            .iter()
            .flat_map(|k| self.fake.list(k))
            .map(|o| brief(&o))
            .collect();
        panic!("not reached: {what}\n{}", state.join("\n"));
    }

    /// Events as lines, sorted, with generated parts of names cut.
    pub fn events(&self) -> String {
        let mut lines: Vec<_> = self
            .fake
            .list("events")
            .iter()
            .map(|e| {
                let (kind, reason) = (text(&e["involvedObject"]["kind"]), text(&e["reason"]));
                format!(
                    "{kind} {} {reason}: {}",
                    text(&e["type"]),
                    cut(&text(&e["message"]))
                )
            })
            .collect();
        lines.sort();
        lines.dedup();
        lines.join("\n")
    }
}

fn brief(object: &Value) -> String {
    format!(
        "{} {} {} {}",
        object["kind"], object["metadata"]["name"], object["message"], object["status"]
    )
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Replaces hashes and generated suffixes by `*`.
pub fn cut(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let parts: Vec<&str> = word.split('-').collect();
        let made = |p: &&str| p.len() >= 5 && p.chars().any(|c| c.is_ascii_digit());
        parts
            .iter()
            .map(|p| if made(p) { "*" } else { p })
            .collect::<Vec<_>>()
            .join("-")
    });
    words.collect::<Vec<_>>().join(" ")
}

pub fn workload(kind: &str, name: &str, spec: Value) -> Value {
    let mut full = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    });
    if let (Value::Object(full), Value::Object(spec)) = (&mut full, spec) {
        full.extend(spec);
    }
    let group = if kind == "Job" || kind == "CronJob" {
        "batch/v1"
    } else {
        "apps/v1"
    };
    json!({"apiVersion": group, "kind": kind, "metadata": {"namespace": "a", "name": name}, "spec": full})
}

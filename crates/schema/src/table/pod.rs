//! Pods: READY, STATUS and RESTARTS out of what the containers are doing.

use serde_json::{Value, json};

use super::Cells;
use super::view::{View, or};

/// What the containers add up to.
struct Tally<'a> {
    reason: String,
    ready: usize,
    restarts: i64,
    /// When the latest restart ended (RFC 3339, UTC: the order of the texts is the order of the times).
    last_restart: &'a str,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// An init container that keeps running: a sidecar.
fn is_sidecar(pod: &View<'_>, name: &str) -> bool {
    pod.list("/spec/initContainers")
        .iter()
        .any(|c| text(c, "name") == name && c["restartPolicy"] == "Always")
}

/// Why a container ended, as `Reason`, `Signal:9` or `ExitCode:1`.
fn ending(terminated: &Value) -> String {
    match (
        text(terminated, "reason"),
        terminated["signal"].as_i64().unwrap_or(0),
    ) {
        ("", 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn finished(status: &Value) -> &str {
    status
        .pointer("/lastState/terminated/finishedAt")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl<'a> Tally<'a> {
    fn count_restarts(&mut self, status: &'a Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        self.last_restart = self.last_restart.max(finished(status));
    }
}

/// The pod's own word for its state, before its containers are looked at.
fn phase(pod: &View<'_>) -> String {
    let gated = pod
        .condition("PodScheduled")
        .is_some_and(|c| c["reason"] == "SchedulingGated");
    if gated {
        return "SchedulingGated".to_owned();
    }
    or(pod.text("/status/reason"), pod.text("/status/phase")).to_owned()
}

/// Goes through the init containers up to the first that is not done. Answers the tally, the tally of sidecars alone, and
/// whether the pod is still initializing.
fn init_containers<'a>(pod: &View<'a>) -> (Tally<'a>, Tally<'a>, bool) {
    let tally = || Tally {
        reason: phase(pod),
        ready: 0,
        restarts: 0,
        last_restart: "",
    };
    let (mut all, mut sidecars) = (tally(), tally());
    let total = pod.list("/spec/initContainers").len();
    for (i, status) in pod.list("/status/initContainerStatuses").iter().enumerate() {
        all.count_restarts(status);
        let sidecar = is_sidecar(pod, text(status, "name"));
        if sidecar {
            sidecars.count_restarts(status);
        }
        let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        if !terminated.is_null() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            all.ready += usize::from(status["ready"] == true);
            continue;
        }
        let waits_for = text(waiting, "reason");
        all.reason = if !terminated.is_null() {
            format!("Init:{}", ending(terminated))
        } else if !matches!(waits_for, "" | "PodInitializing") {
            format!("Init:{waits_for}")
        } else {
            format!("Init:{i}/{total}")
        };
        return (all, sidecars, true);
    }
    (all, sidecars, false)
}

/// Adds the main containers, last to first.
fn main_containers<'a>(pod: &View<'a>, tally: &mut Tally<'a>) {
    let (mut has_running, mut error) = (false, String::new());
    for status in pod.list("/status/containerStatuses").iter().rev() {
        tally.count_restarts(status);
        let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        if !text(waiting, "reason").is_empty() {
            tally.reason = text(waiting, "reason").to_owned();
        } else if !terminated.is_null() {
            tally.reason = ending(terminated);
            if terminated["exitCode"].as_i64().unwrap_or(0) != 0 {
                error.clone_from(&tally.reason);
            }
        } else if status["ready"] == true && !status["state"]["running"].is_null() {
            has_running = true;
            tally.ready += 1;
        }
    }
    if tally.reason == "Completed" {
        // One container that is done does not make the pod done.
        if has_running && pod.has_condition("Ready") {
            tally.reason = "Running".to_owned();
        } else if !error.is_empty() {
            tally.reason = error;
        } else if has_running {
            tally.reason = "NotReady".to_owned();
        }
    }
}

fn tally<'a>(pod: &View<'a>) -> Tally<'a> {
    let (mut all, sidecars, initializing) = init_containers(pod);
    if !initializing || pod.has_condition("Initialized") {
        all.restarts = sidecars.restarts;
        all.last_restart = sidecars.last_restart;
        main_containers(pod, &mut all);
    }
    if pod.is_deleted() {
        if pod.text("/status/reason") == "NodeLost" {
            all.reason = "Unknown".to_owned();
        } else if !matches!(pod.text("/status/phase"), "Succeeded" | "Failed") {
            all.reason = "Terminating".to_owned();
        }
    }
    all
}

fn readiness_gates(pod: &View<'_>) -> Value {
    let gates = pod.list("/spec/readinessGates");
    if gates.is_empty() {
        return Value::from("<none>");
    }
    let open = gates
        .iter()
        .filter(|g| pod.has_condition(text(g, "conditionType")))
        .count();
    Value::from(format!("{open}/{}", gates.len()))
}

pub(super) fn pod(pod: &View<'_>) -> Cells {
    let tally = tally(pod);
    let sidecars = pod
        .list("/spec/initContainers")
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .count();
    let total = pod.list("/spec/containers").len() + sidecars;
    let restarts = match (tally.restarts, tally.last_restart) {
        (0, _) | (_, "") => tally.restarts.to_string(),
        (n, last) => format!("{n} ({} ago)", pod.since(&json!(last))),
    };
    vec![
        pod.name(),
        Value::from(format!("{}/{total}", tally.ready)),
        Value::from(tally.reason),
        Value::from(restarts),
        pod.age(),
        pod.text_or("/status/podIPs/0/ip", "<none>"),
        pod.text_or("/spec/nodeName", "<none>"),
        pod.text_or("/status/nominatedNodeName", "<none>"),
        readiness_gates(pod),
    ]
}

//! Metrics in Prometheus' text format.

use super::stats::usage;
use super::{Answer, Server, answer, full};
use crate::machine::view::{ContainerView, State};
use crate::node::{KUBELET_VERSION, meminfo};
use crate::pod::PodExt;
use crate::worker::Snapshot;
use corten_runtime::cri;
use http::StatusCode;
use std::fmt::Write;

type Used = std::collections::HashMap<String, cri::ContainerStats>;

/// Families in the order they are written: name, type, help, samples.
#[derive(Default)]
struct Page(Vec<(&'static str, &'static str, &'static str, String)>);

impl Page {
    fn add(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        labels: &str,
        value: f64,
        at: i64,
    ) {
        let index = self.0.iter().position(|f| f.0 == name).unwrap_or_else(|| {
            self.0.push((name, kind, help, String::new()));
            self.0.len() - 1
        });
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        let at = if at > 0 {
            format!(" {}", at / 1_000_000)
        } else {
            String::new()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0[index].3, "{name}{labels} {value}{at}");
    }

    fn answer(self) -> Answer {
        let mut out = String::new();
        for (name, kind, help, samples) in self.0 {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        }
        answer(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            full(out),
        )
    }
}

fn seconds(cpu: &cri::CpuUsage) -> f64 {
    cpu.usage_core_nano_seconds
        .as_ref()
        .map_or(0.0, |v| v.value as f64 / 1e9)
}

fn bytes(v: Option<&cri::UInt64Value>) -> f64 {
    v.map_or(0.0, |v| v.value as f64)
}

fn labels(s: &Snapshot, v: &ContainerView) -> String {
    format!(
        "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
        v.name,
        s.pod.namespace(),
        s.pod.name()
    )
}

pub(super) fn own(server: &Server) -> Answer {
    let mut page = Page::default();
    let snapshots = server.pods.snapshots();
    let running = snapshots
        .iter()
        .filter(|s| s.view.ready_sandbox().is_some())
        .count();
    let help = "[ALPHA] Number of pods that have a running pod sandbox";
    page.add("kubelet_running_pods", "gauge", help, "", running as f64, 0);
    for (state, name) in [
        (State::Created, "created"),
        (State::Exited, "exited"),
        (State::Running, "running"),
    ] {
        let count = snapshots
            .iter()
            .flat_map(|s| &s.view.containers)
            .filter(|v| v.state == state)
            .count();
        let label = format!("container_state=\"{name}\"");
        let help = "[ALPHA] Number of containers currently running";
        page.add(
            "kubelet_running_containers",
            "gauge",
            help,
            &label,
            count as f64,
            0,
        );
    }
    let label = format!("node=\"{}\"", server.cx.node_name);
    page.add(
        "kubelet_node_name",
        "gauge",
        "[ALPHA] The node's name. The count is always 1.",
        &label,
        1.0,
        0,
    );
    let label = format!("git_version=\"{KUBELET_VERSION}\",major=\"1\",minor=\"36\",platform=\"linux\"");
    let help = "[ALPHA] A metric with a constant '1' value labeled by the version it was built from.";
    page.add("kubernetes_build_info", "gauge", help, &label, 1.0, 0);
    page.answer()
}

pub(super) async fn resource(server: &Server) -> Answer {
    let mut page = Page::default();
    let used = usage(server).await;
    let now = i64::try_from(server.cx.clock.unix_nanos()).unwrap_or(0);
    for s in server.pods.snapshots() {
        pod_resources(&mut page, server, &s, &used, now);
    }
    let cpu = server.cx.cgroups.usage_of_pods().unwrap_or_default().cpu_ns as f64 / 1e9;
    let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
    page.add("node_cpu_usage_seconds_total", "counter", help, "", cpu, now);
    let memory = (meminfo("MemTotal").unwrap_or(0) - meminfo("MemAvailable").unwrap_or(0)) as f64;
    let help = "[STABLE] Current working set of the node in bytes";
    page.add("node_memory_working_set_bytes", "gauge", help, "", memory, now);
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    page.add("resource_scrape_error", "gauge", help, "", 0.0, 0);
    page.answer()
}

fn pod_resources(page: &mut Page, server: &Server, s: &Snapshot, used: &Used, now: i64) {
    for v in s.view.running() {
        let Some(stats) = used.get(&v.id) else { continue };
        let labels = labels(s, v);
        if let Some(cpu) = &stats.cpu {
            let help = "[STABLE] Cumulative cpu time consumed by the container in core-seconds";
            let name = "container_cpu_usage_seconds_total";
            page.add(name, "counter", help, &labels, seconds(cpu), cpu.timestamp);
        }
        if let Some(m) = &stats.memory {
            let help = "[STABLE] Current working set of the container in bytes";
            let (name, value) = (
                "container_memory_working_set_bytes",
                bytes(m.working_set_bytes.as_ref()),
            );
            page.add(name, "gauge", help, &labels, value, m.timestamp);
        }
        let help = "[STABLE] Start time of the container since unix epoch in seconds";
        let (name, value) = ("container_start_time_seconds", v.started_at as f64 / 1e9);
        page.add(name, "gauge", help, &labels, value, 0);
    }
    let Some(u) = server.cx.cgroups.usage(&s.pod) else {
        return;
    };
    let labels = format!("namespace=\"{}\",pod=\"{}\"", s.pod.namespace(), s.pod.name());
    let help = "[STABLE] Cumulative cpu time consumed by the pod in core-seconds";
    let (name, value) = ("pod_cpu_usage_seconds_total", u.cpu_ns as f64 / 1e9);
    page.add(name, "counter", help, &labels, value, now);
    let help = "[STABLE] Current working set of the pod in bytes";
    let (name, value) = ("pod_memory_working_set_bytes", u.working_set_bytes as f64);
    page.add(name, "gauge", help, &labels, value, now);
}

pub(super) async fn cadvisor(server: &Server) -> Answer {
    let mut page = Page::default();
    let used = usage(server).await;
    for s in server.pods.snapshots() {
        for v in s.view.running() {
            let Some(stats) = used.get(&v.id) else { continue };
            let id = format!(
                "id=\"{}/{}\",image=\"{}\",name=\"{}\"",
                server.cx.cgroups.of(&s.pod),
                v.id,
                v.image,
                v.id
            );
            let labels = format!("{},{id}", labels(&s, v));
            if let Some(cpu) = &stats.cpu {
                let labels = format!("{labels},cpu=\"total\"");
                let help = "Cumulative cpu time consumed in seconds.";
                let name = "container_cpu_usage_seconds_total";
                page.add(name, "counter", help, &labels, seconds(cpu), cpu.timestamp);
            }
            if let Some(m) = &stats.memory {
                let mut gauge =
                    |name, help, value| page.add(name, "gauge", help, &labels, value, m.timestamp);
                gauge(
                    "container_memory_working_set_bytes",
                    "Current working set in bytes.",
                    bytes(m.working_set_bytes.as_ref()),
                );
                gauge(
                    "container_memory_usage_bytes",
                    "Current memory usage in bytes, including all memory regardless of when it was accessed.",
                    bytes(m.usage_bytes.as_ref()),
                );
                gauge(
                    "container_memory_rss",
                    "Size of RSS in bytes.",
                    bytes(m.rss_bytes.as_ref()),
                );
            }
        }
    }
    page.answer()
}

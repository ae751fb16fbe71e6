//! What runs here and what it uses: `/pods`, `/runningpods`, `/stats/summary`, `/configz`.

use super::{Answer, Server, json};
use crate::context::Context;
use crate::machine::view::State;
use crate::node::{Disk, disk, meminfo};
use crate::pod::PodExt;
use crate::pods::Pods;
use crate::worker::Snapshot;
use corten_runtime::cri;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json as value};
use std::collections::HashMap;
use std::path::Path;

fn list(items: Vec<Pod>) -> Answer {
    let mut list = value!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    for item in list["items"].as_array_mut().into_iter().flatten() {
        if let Value::Object(map) = item {
            map.remove("apiVersion");
            map.remove("kind");
        }
    }
    json(&list)
}

/// Every pod of this node with the status it has here.
pub(super) fn pods(pods: &Pods) -> Answer {
    let one = |s: Snapshot| Pod {
        status: Some((*s.status).clone()),
        ..(*s.pod).clone()
    };
    list(pods.snapshots().into_iter().map(one).collect())
}

/// Pods with a running container, as far as the runtime knows them.
pub(super) fn running_pods(pods: &Pods) -> Answer {
    let mut running = pods.snapshots();
    running.retain(|s| s.view.running().next().is_some());
    list(
        running
            .into_iter()
            .map(|s| Pod {
                status: None,
                ..(*s.pod).clone()
            })
            .collect(),
    )
}

/// The settings that clients look for.
pub(super) fn configz(cx: &Context) -> Answer {
    json(&value!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "clusterDomain": cx.cluster_domain,
        "clusterDNS": cx.cluster_dns,
        "podLogsDir": cx.logs,
        "cgroupDriver": "cgroupfs",
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 5,
        "serializeImagePulls": false,
    }}))
}

/// What containers use, by id.
pub(super) async fn usage(server: &Server) -> HashMap<String, cri::ContainerStats> {
    let all = server
        .cx
        .runtime
        .list_container_stats(None)
        .await
        .unwrap_or_default();
    let keyed = all
        .into_iter()
        .filter_map(|s| Some((s.attributes.as_ref()?.id.clone(), s)));
    keyed.collect()
}

fn number(v: Option<&cri::UInt64Value>) -> Option<u64> {
    v.map(|v| v.value)
}

fn stamp(nanos: i64) -> String {
    let at = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn cpu(c: &cri::CpuUsage) -> Value {
    value!({
        "time": stamp(c.timestamp),
        "usageNanoCores": number(c.usage_nano_cores.as_ref()).unwrap_or(0),
        "usageCoreNanoSeconds": number(c.usage_core_nano_seconds.as_ref()).unwrap_or(0),
    })
}

fn memory(m: &cri::MemoryUsage) -> Value {
    let mut out = value!({
        "time": stamp(m.timestamp),
        "usageBytes": number(m.usage_bytes.as_ref()).unwrap_or(0),
        "workingSetBytes": number(m.working_set_bytes.as_ref()).unwrap_or(0),
        "rssBytes": number(m.rss_bytes.as_ref()).unwrap_or(0),
        "pageFaults": number(m.page_faults.as_ref()).unwrap_or(0),
        "majorPageFaults": number(m.major_page_faults.as_ref()).unwrap_or(0),
    });
    if let Some(available) = number(m.available_bytes.as_ref()) {
        out["availableBytes"] = value!(available);
    }
    out
}

fn file_system(now: &str, path: &Path) -> Value {
    let Disk {
        total,
        free,
        inodes,
        inodes_free,
    } = disk(path).unwrap_or_default();
    value!({
        "time": now, "capacityBytes": total, "availableBytes": free, "usedBytes": total - free,
        "inodes": inodes, "inodesFree": inodes_free, "inodesUsed": inodes - inodes_free,
    })
}

pub(super) async fn summary(server: &Server) -> Answer {
    let cx = &server.cx;
    let used = usage(server).await;
    let now = stamp(i64::try_from(cx.clock.unix_nanos()).unwrap_or(0));
    let pods: Vec<Value> = server
        .pods
        .snapshots()
        .iter()
        .map(|s| pod(server, s, &used, &now))
        .collect();
    let (total, available) = (
        meminfo("MemTotal").unwrap_or(0),
        meminfo("MemAvailable").unwrap_or(0),
    );
    let all = cx.cgroups.usage_of_pods().unwrap_or_default();
    json(&value!({
        "node": {
            "nodeName": cx.node_name,
            "startTime": now,
            "cpu": {"time": now, "usageNanoCores": 0, "usageCoreNanoSeconds": all.cpu_ns},
            "memory": {
                "time": now, "availableBytes": available, "usageBytes": total - available,
                "workingSetBytes": total - available, "rssBytes": all.rss_bytes,
            },
            "fs": file_system(&now, &cx.logs),
            "runtime": {"imageFs": file_system(&now, &cx.logs)},
        },
        "pods": pods,
    }))
}

fn pod(server: &Server, s: &Snapshot, used: &HashMap<String, cri::ContainerStats>, now: &str) -> Value {
    let containers: Vec<Value> = s
        .view
        .containers
        .iter()
        .filter(|v| v.state == State::Running)
        .filter_map(|v| {
            let stats = used.get(&v.id)?;
            let mut out = value!({"name": v.name, "startTime": stamp(v.started_at)});
            if let Some(c) = &stats.cpu {
                out["cpu"] = cpu(c);
            }
            if let Some(m) = &stats.memory {
                out["memory"] = memory(m);
            }
            if let Some(w) = &stats.writable_layer {
                let bytes = number(w.used_bytes.as_ref()).unwrap_or(0);
                out["rootfs"] = value!({"time": stamp(w.timestamp), "usedBytes": bytes});
            }
            Some(out)
        })
        .collect();
    let mut out = value!({
        "podRef": {"name": s.pod.name(), "namespace": s.pod.namespace(), "uid": s.pod.uid()},
        "startTime": s.status.start_time,
        "containers": containers,
    });
    if let Some(u) = server.cx.cgroups.usage(&s.pod) {
        out["cpu"] = value!({"time": now, "usageCoreNanoSeconds": u.cpu_ns});
        out["memory"] = value!({
            "time": now, "usageBytes": u.memory_bytes, "workingSetBytes": u.working_set_bytes,
            "rssBytes": u.rss_bytes, "pageFaults": u.page_faults, "majorPageFaults": u.major_page_faults,
        });
        out["process_stats"] = value!({"process_count": u.processes});
    }
    out
}

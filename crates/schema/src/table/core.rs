//! core/v1 other than pods and nodes, and events.

use std::fmt::Write;

use serde_json::Value;

use super::view::{View, or, strings};
use super::{Cells, Printer, networking, node, pod, storage};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "Pod" => pod::pod,
        "Node" => node::node,
        "Service" => networking::service,
        "Endpoints" => networking::endpoints,
        "Namespace" => |v| vec![v.name(), v.text_or("/status/phase", ""), v.age()],
        "Secret" => |v| vec![v.name(), v.text_or("/type", ""), v.count("/data").into(), v.age()],
        "ConfigMap" => |v| {
            vec![
                v.name(),
                (v.count("/data") + v.count("/binaryData")).into(),
                v.age(),
            ]
        },
        "ServiceAccount" => |v| vec![v.name(), v.age()],
        "Event" => event,
        "PersistentVolume" => storage::volume,
        "PersistentVolumeClaim" => storage::claim,
        "PodTemplate" => pod_template,
        "ReplicationController" => replication_controller,
        "ResourceQuota" => resource_quota,
        "ComponentStatus" => component_status,
        _ => return None,
    })
}

fn pod_template(v: &View<'_>) -> Cells {
    let [names, images] = v.containers("/template/spec/containers");
    vec![v.name(), names, images, v.labels("/template/metadata/labels")]
}

fn replication_controller(v: &View<'_>) -> Cells {
    let [names, images] = v.containers("/spec/template/spec/containers");
    let replicas = ["/spec/replicas", "/status/replicas", "/status/readyReplicas"].map(|p| v.int(p));
    let [desired, current, ready] = replicas;
    vec![
        v.name(),
        desired,
        current,
        ready,
        v.age(),
        names,
        images,
        v.labels("/spec/selector"),
    ]
}

fn resource_quota(v: &View<'_>) -> Cells {
    let (mut requests, mut limits) = (String::new(), String::new());
    for (name, hard) in v.at("/status/hard").as_object().into_iter().flatten() {
        let used = v
            .at("/status/used")
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("0");
        let column = if name.starts_with("limits.") {
            &mut limits
        } else {
            &mut requests
        };
        let comma = if column.is_empty() { "" } else { ", " };
        let _ = write!(
            column,
            "{comma}{name}: {used}/{}",
            hard.as_str().unwrap_or_default()
        );
    }
    vec![v.name(), requests.into(), limits.into(), v.age()]
}

fn component_status(v: &View<'_>) -> Cells {
    let healthy = v.list("/conditions").iter().find(|c| c["type"] == "Healthy");
    let text = |key: &str| healthy.and_then(|c| c[key].as_str()).unwrap_or_default();
    let status = match healthy {
        Some(c) if c["status"] == "True" => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    };
    vec![
        v.name(),
        status.into(),
        text("message").into(),
        text("error").into(),
    ]
}

/// Where the two event groups keep the same facts.
struct Names {
    object: &'static str,
    message: &'static str,
    source: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    instance: [&'static str; 2],
}

const CORE: Names = Names {
    object: "/involvedObject",
    message: "/message",
    source: "/source",
    first: "/firstTimestamp",
    last: "/lastTimestamp",
    count: "/count",
    instance: ["/reportingComponent", "/reportingInstance"],
};

const SERIES: Names = Names {
    object: "/regarding",
    message: "/note",
    source: "/deprecatedSource",
    first: "/deprecatedFirstTimestamp",
    last: "/deprecatedLastTimestamp",
    count: "/deprecatedCount",
    instance: ["/reportingController", "/reportingInstance"],
};

fn event(v: &View<'_>) -> Cells {
    event_cells(v, &CORE)
}

/// events.k8s.io/v1: the same event under other names.
pub(super) fn event_series(v: &View<'_>) -> Cells {
    event_cells(v, &SERIES)
}

fn event_cells(v: &View<'_>, names: &Names) -> Cells {
    let first = if v.at(names.first).is_null() {
        v.at("/eventTime")
    } else {
        v.at(names.first)
    };
    let mut last = if v.at(names.last).is_null() {
        first
    } else {
        v.at(names.last)
    };
    let mut count = v.number(names.count).max(1);
    if !v.at("/series").is_null() {
        last = v.at("/series/lastObservedTime");
        count = v.number("/series/count");
    }
    let object = |member: &str| v.text(&format!("{}/{member}", names.object));
    let kind = object("kind").to_lowercase();
    let target = if object("name").is_empty() {
        kind
    } else {
        format!("{kind}/{}", object("name"))
    };
    let source = |member: &str| v.text(&format!("{}/{member}", names.source));
    let component = or(source("component"), v.text(names.instance[0]));
    let host = or(source("host"), v.text(names.instance[1]));
    let source = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    vec![
        v.since(last).into(),
        v.text("/type").into(),
        v.text("/reason").into(),
        target.into(),
        object("fieldPath").into(),
        source.into(),
        v.text(names.message).trim().into(),
        v.since(first).into(),
        count.into(),
        v.name(),
    ]
}

/// Access modes in their short forms, without repeats, in upstream's order.
pub(super) fn access_modes(modes: &[Value]) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = strings(modes);
    let short = SHORT
        .iter()
        .filter(|(long, _)| modes.contains(long))
        .map(|(_, short)| *short);
    short.collect::<Vec<_>>().join(",")
}

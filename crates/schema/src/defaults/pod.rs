//! Pods, pod templates and what they hold.

use serde_json::{Map, Value, json};

use super::core::mirror_first;
use super::{Entry, Members, child, image, int, items, pod_resources, set, set_absent, set_zero, text};

const CORE: &str = "api/core/v1";

pub(super) const HOOKS: &[Entry] = &[
    (CORE, "Pod", pod),
    (CORE, "PodSpec", pod_spec),
    (CORE, "Container", container),
    (CORE, "EphemeralContainer", container),
    (CORE, "Volume", volume),
    (CORE, "Probe", probe),
    (CORE, "HTTPGetAction", http_get),
    (CORE, "SecretVolumeSource", file_mode),
    (CORE, "ConfigMapVolumeSource", file_mode),
    (CORE, "DownwardAPIVolumeSource", file_mode),
    (CORE, "ProjectedVolumeSource", file_mode),
    (CORE, "ServiceAccountTokenProjection", token_projection),
    (CORE, "ObjectFieldSelector", field_selector),
    (CORE, "HostPathVolumeSource", host_path),
];

pub(super) const CANONICAL: &[Entry] = &[
    (CORE, "Pod", grace_period),
    (CORE, "PodSpec", service_account),
    (CORE, "PodStatus", pod_ips),
];

fn pod(obj: &mut Members) {
    let spec = child(obj, "spec");
    for list in ["containers", "initContainers"] {
        items(spec, list).for_each(requests_from_limits);
    }
    pod_resources::default(spec);
    set_absent(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        for list in ["containers", "initContainers"] {
            items(spec, list).for_each(host_ports);
        }
    }
}

/// What a container is limited to, it also asks for.
fn requests_from_limits(container: &mut Members) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else {
        return;
    };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    let requests = child(resources, "requests");
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

fn host_ports(container: &mut Members) {
    for port in items(container, "ports") {
        let number = int(port, "containerPort");
        set_zero(port, "hostPort", number);
    }
}

fn pod_spec(spec: &mut Members) {
    set_absent(spec, "dnsPolicy", "ClusterFirst");
    set_absent(spec, "restartPolicy", "Always");
    set_absent(spec, "securityContext", Value::Object(Map::new()));
    set_absent(spec, "terminationGracePeriodSeconds", 30);
    set_absent(spec, "schedulerName", "default-scheduler");
}

fn container(container: &mut Members) {
    if text(container, "imagePullPolicy").is_empty() {
        let policy = pull_policy(text(container, "image"));
        set(container, "imagePullPolicy", policy);
    }
    set_absent(container, "terminationMessagePath", "/dev/termination-log");
    set_absent(container, "terminationMessagePolicy", "File");
}

fn pull_policy(reference: &str) -> &'static str {
    if image::tag(reference) == "latest" {
        "Always"
    } else {
        "IfNotPresent"
    }
}

fn volume(volume: &mut Members) {
    if volume.keys().all(|key| key == "name") {
        set(volume, "emptyDir", Value::Object(Map::new()));
    }
    if let Some(Value::Object(image)) = volume.get_mut("image") {
        let policy = pull_policy(text(image, "reference"));
        set_absent(image, "pullPolicy", policy);
    }
}

fn probe(probe: &mut Members) {
    set_zero(probe, "timeoutSeconds", 1);
    set_zero(probe, "periodSeconds", 10);
    set_zero(probe, "successThreshold", 1);
    set_zero(probe, "failureThreshold", 3);
}

fn http_get(action: &mut Members) {
    set_absent(action, "path", "/");
    set_absent(action, "scheme", "HTTP");
}

fn file_mode(source: &mut Members) {
    set_absent(source, "defaultMode", 0o644);
}

fn token_projection(projection: &mut Members) {
    set_absent(projection, "expirationSeconds", 3600);
}

fn field_selector(selector: &mut Members) {
    set_absent(selector, "apiVersion", "v1");
}

fn host_path(source: &mut Members) {
    set_absent(source, "type", "");
}

/// Pods, unlike templates, have no negative grace period.
fn grace_period(obj: &mut Members) {
    let spec = child(obj, "spec");
    if int(spec, "terminationGracePeriodSeconds") < 0 {
        set(spec, "terminationGracePeriodSeconds", 1);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`: both are written, the new one wins.
fn service_account(spec: &mut Members) {
    let (new, old) = (
        text(spec, "serviceAccountName").to_owned(),
        text(spec, "serviceAccount").to_owned(),
    );
    let name = if new.is_empty() { old } else { new };
    if !name.is_empty() {
        set(spec, "serviceAccountName", name.as_str());
        set(spec, "serviceAccount", name);
    }
}

fn pod_ips(status: &mut Members) {
    mirror_first(
        status,
        "podIP",
        "podIPs",
        |v| Some(v["ip"].as_str()?.to_owned()),
        |ip| json!({"ip": ip}),
    );
}

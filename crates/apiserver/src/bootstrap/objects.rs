//! The objects themselves. Facts: oracle of upstream's v1.36.2 (what a fresh server holds).

use std::sync::LazyLock;

use corten_meta::{Result, object};
use corten_registry::Subresource;
use corten_schema::resources::Selection;
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{Config, Writer, local_services};

const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

static OBJECTS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("objects.json")).unwrap_or_default());

fn objects(plural: &str) -> &'static [Value] {
    OBJECTS[plural].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Namespaces of every cluster.
pub fn namespaces() -> impl Iterator<Item = Value> {
    ["default", "kube-system", "kube-public", "kube-node-lease"]
        .into_iter()
        .map(|name| json!({"metadata": {"name": name}}))
}

pub(crate) fn now() -> String {
    corten_meta::time::format(jiff::Timestamp::now())
}

/// The range object that cluster IPs are taken from.
fn service_cidr(config: &Config) -> Value {
    json!({
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": config.service_cidrs},
    })
}

fn set_condition(of: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    let same = |c: &Value| c["type"] == kind && c["status"] == status && c["message"] == message;
    if of["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(same))
    {
        return;
    }
    of["status"]["conditions"] = json!([{
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now(),
    }]);
}

/// The ranges cluster IPs come from. A second one may come later, of the other family; nothing else changes.
pub async fn service_range(writer: &Writer<'_>, config: &Config) -> Result<()> {
    const NAME: &str = "kubernetes";
    let (group, plural) = ("networking.k8s.io", "servicecidrs");
    writer.ensure(group, plural, "", service_cidr(config)).await?;
    if let [first, _second] = config.service_cidrs.as_slice() {
        let both = |cidr: &mut Value| {
            if cidr["spec"]["cidrs"] == json!([first]) {
                cidr["spec"]["cidrs"] = json!(config.service_cidrs);
            }
        };
        writer
            .update(group, plural, "", NAME, Subresource::MAIN, both)
            .await?;
    }
    let controller = writer.named("service-cidr-controller");
    controller
        .apply_status(group, plural, NAME, service_cidr_status)
        .await
}

/// The range is usable at once: its allocator is in this process.
fn service_cidr_status(cidr: &mut Value) {
    set_condition(cidr, "Ready", "True", "", "Kubernetes Service CIDR is ready");
}

/// `default/kubernetes` with its endpoints, which follow the advertised address.
pub async fn kubernetes_service(writer: &Writer<'_>, config: &Config) -> Result<()> {
    let ip = config.service_ip.to_string();
    let port = config.advertise_port;
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    writer.ensure("", "services", "default", service).await?;
    let ports = move |service: &mut Value| service["spec"]["ports"][0]["targetPort"] = json!(port);
    writer
        .update("", "services", "default", "kubernetes", Subresource::MAIN, ports)
        .await?;
    if config.advertise_ip.is_loopback() || config.advertise_ip.is_unspecified() {
        return Ok(());
    }
    endpoints(writer, config).await
}

async fn endpoints(writer: &Writer<'_>, config: &Config) -> Result<()> {
    let (ip, port) = (config.advertise_ip.to_string(), config.advertise_port);
    let subsets = json!([{
        "addresses": [{"ip": ip}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }]);
    let legacy = json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": subsets,
    });
    writer.ensure("", "endpoints", "default", legacy).await?;
    let set = |e: &mut Value| e["subsets"] = subsets.clone();
    writer
        .update("", "endpoints", "default", "kubernetes", Subresource::MAIN, set)
        .await?;
    let group = "discovery.k8s.io";
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let addresses = json!([{"addresses": [ip], "conditions": {"ready": true}}]);
    let slice = json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if config.advertise_ip.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": addresses,
        "ports": ports,
    });
    writer.ensure(group, "endpointslices", "default", slice).await?;
    let set = |e: &mut Value| {
        e["endpoints"] = addresses.clone();
        e["ports"] = ports.clone();
    };
    writer
        .update(
            group,
            "endpointslices",
            "default",
            "kubernetes",
            Subresource::MAIN,
            set,
        )
        .await
}

/// Priority levels, then flow schemas, which refer to them. Those that still carry `autoupdate-spec: true` are put back.
pub async fn flow_control(writer: &Writer<'_>) -> Result<()> {
    let producer = writer.named("api-priority-and-fairness-config-producer-v1");
    let consumer = writer.named("api-priority-and-fairness-config-consumer-v1");
    let writers = (&producer, &consumer);
    for plural in ["prioritylevelconfigurations", "flowschemas"] {
        try_join_all(
            objects(plural)
                .iter()
                .map(|wanted| flow_object(writers, plural, wanted)),
        )
        .await?;
    }
    Ok(())
}

/// True where one of the default objects is missing, or is kept up to date by the server and has been changed.
pub fn flow_control_is_touched(levels: &[Value], schemas: &[Value]) -> bool {
    let touched = |plural: &str, all: &[Value]| {
        objects(plural).iter().any(|wanted| {
            let name = object::name(wanted);
            match all.iter().find(|o| object::name(o) == name) {
                Some(o) => object::annotation(o, AUTO_UPDATE) == Some("true") && o["spec"] != wanted["spec"],
                None => true,
            }
        })
    };
    touched("prioritylevelconfigurations", levels) || touched("flowschemas", schemas)
}

async fn flow_object(
    (writer, consumer): (&Writer<'_>, &Writer<'_>),
    plural: &'static str,
    wanted: &Value,
) -> Result<()> {
    let name = object::name(wanted);
    match writer.get(FLOW, plural, "", name).await? {
        None => writer.ensure(FLOW, plural, "", wanted.clone()).await?,
        Some(stored) if object::annotation(&stored, AUTO_UPDATE) == Some("true") => {
            let set = |o: &mut Value| o["spec"] = wanted["spec"].clone();
            writer
                .update(FLOW, plural, "", name, Subresource::MAIN, set)
                .await?;
        }
        Some(_) => {}
    }
    if plural == "flowschemas" {
        consumer
            .apply_status(FLOW, plural, name, flow_schema_status)
            .await?;
    }
    Ok(())
}

fn flow_schema_status(schema: &mut Value) {
    let level = object::str_at(schema, &["spec", "priorityLevelConfiguration", "name"]);
    let text = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
    );
    set_condition(schema, "Dangling", "False", "Found", &text);
}

/// `system-cluster-critical` and `system-node-critical`.
pub async fn priority_classes(writer: &Writer<'_>) -> Result<()> {
    let all = objects("priorityclasses").iter();
    let writes = all.map(|o| writer.ensure("scheduling.k8s.io", "priorityclasses", "", o.clone()));
    try_join_all(writes).await.map(drop)
}

/// Group, version, group priority, version priority: the order in which upstream's aggregator lists what it serves itself.
const API_SERVICES: [(&str, &str, u32, u32); 21] = [
    ("", "v1", 18000, 1),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("apps", "v1", 17800, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("networking.k8s.io", "v1", 17200, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("storage.k8s.io", "v1", 16800, 15),
];

/// The same of those that can be switched on.
const OPTIONAL_API_SERVICES: [(&str, &str, u32, u32); 1] = [("storagemigration.k8s.io", "v1beta1", 15800, 9)];

/// Priorities of a group and of its version, as upstream gives them; CustomResourceDefinitions' are lower.
pub fn priorities(group: &str, version: &str) -> (u64, u64) {
    if group == "apiregistration.k8s.io" {
        return (20_000, 0);
    }
    let mut all = API_SERVICES.iter().chain(&OPTIONAL_API_SERVICES);
    all.find(|(g, v, ..)| (*g, *v) == (group, version))
        .map_or((1000, 100), |row| (u64::from(row.2), u64::from(row.3)))
}

/// An APIService per group and version served here. What is not switched on any more loses its own.
pub async fn api_services(writer: &Writer<'_>, selection: &Selection) -> Result<()> {
    let group = "apiregistration.k8s.io";
    let (on, off): (Vec<&_>, Vec<&_>) = OPTIONAL_API_SERVICES
        .iter()
        .partition(|row| selection.serves(row.0, row.1));
    for (of, version, ..) in off {
        local_services::remove(writer, &format!("{version}.{of}")).await?;
    }
    let writes = API_SERVICES.iter().chain(on).map(|&(of, version, group_priority, version_priority)| async move {
        let name = format!("{version}.{of}");
        let mut spec = json!({
            "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
        });
        if !of.is_empty() {
            spec["group"] = json!(of);
        }
        let labels = json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"});
        let wanted = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
        writer.ensure(group, "apiservices", "", wanted).await?;
        writer.status(group, "apiservices", &name, api_service_status).await
    });
    try_join_all(writes).await.map(drop)
}

pub fn api_service_status(service: &mut Value) {
    set_condition(
        service,
        "Available",
        "True",
        "Local",
        "Local APIServices are always available",
    );
}

/// `extension-apiserver-authentication`, by which extension servers know whom to trust.
pub async fn config_maps(writer: &Writer<'_>, config: &Config) -> Result<()> {
    let data = json!({
        "client-ca-file": config.client_ca_pem,
        "requestheader-allowed-names": json!([super::FRONT_PROXY_NAME]).to_string(),
        "requestheader-client-ca-file": config.front_proxy_ca_pem,
        "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
        "requestheader-group-headers": "[\"X-Remote-Group\"]",
        "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
        "requestheader-username-headers": "[\"X-Remote-User\"]",
    });
    let name = "extension-apiserver-authentication";
    let wanted = json!({"metadata": {"name": name}, "data": data});
    writer.ensure("", "configmaps", "kube-system", wanted).await?;
    let set = |map: &mut Value| map["data"] = data.clone();
    writer
        .update("", "configmaps", "kube-system", name, Subresource::MAIN, set)
        .await
}

//! `exec`, `attach` and `portforward`: finding the kubelet and its path, then passing the request on.
//! Rules and texts: upstream's pkg/registry/core/pod/strategy.go and rest/.

use corten_auth::authz::Attributes;
use corten_meta::number::parse_uint;
use corten_meta::object::str_at;
use corten_meta::{GroupResource, Status};
use corten_registry::Operation;
use http::Uri;
use serde_json::{Value, json};

use super::backend::{Outgoing, Security, Target, Unreachable, wants_upgrade};
use crate::body::empty_body;
use crate::call::Call;
use crate::query::{Query, escape};
use crate::respond::Answer;

/// `exec`, `attach` and `portforward`, by GET (WebSocket) or POST (SPDY).
///
/// # Errors
/// 400 without upgrade headers or for a bad container, 404 without pod, 500 where the kubelet cannot be reached.
pub async fn stream(mut call: Call) -> Result<Answer, Status> {
    let what = call.info.subresource.clone();
    let mut options = options(&call.query, &what)?;
    connected(&call, &mut options).await?;
    may_create(&call)?;
    let pod = pod_of(&call).await?;
    let (ns, name) = (&call.info.namespace, &call.info.name);
    let path = if what == "portforward" {
        format!("/portForward/{ns}/{name}{}", ports(&options))
    } else {
        let phase = str_at(&pod, &["status", "phase"]);
        if what == "exec" && matches!(phase, "Succeeded" | "Failed") {
            let text = format!("cannot exec into a container in a completed pod; current phase is {phase}");
            return Err(Status::bad_request(text));
        }
        let container = container_of(&pod, str_at(&options, &["container"]))?;
        format!("/{what}/{ns}/{name}/{container}{}", stream_query(&options))
    };
    if str_at(&pod, &["spec", "nodeName"]).is_empty() {
        return Err(Status::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    let target = kubelet_of(&call, &pod).await?;
    if !wants_upgrade(&call.headers) || call.upgrade.is_none() {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let outgoing = Outgoing {
        target,
        security: Security::Kubelet,
        method: call.method.clone(),
        path: uri(&path)?,
        headers: call.headers.clone(),
        body: empty_body(),
        upgrade: call.upgrade.take(),
    };
    let answer = call.server.backends()?.send(outgoing).await;
    answer.map_err(Unreachable::dialing)
}

/// WebSocket clients come with GET; what they do there is what SPDY clients need `create` for.
fn may_create(call: &Call) -> Result<(), Status> {
    let info = &call.info;
    if info.verb == "create" {
        return Ok(());
    }
    let question = Attributes {
        version: &info.version,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        ..Attributes::resource(&call.user, "create", &info.group, &info.resource)
    };
    let decision = call.server.authorizer.authorize(&question);
    if decision.is_allowed() {
        return Ok(());
    }
    Err(Status::forbidden(
        &GroupResource::new("", "pods"),
        &info.name,
        decision.reason(),
    ))
}

pub(super) async fn pod_of(call: &Call) -> Result<Value, Status> {
    call.server
        .fetch("", "pods", &call.info.namespace, &call.info.name)
        .await
}

pub(super) async fn kubelet_of(call: &Call, pod: &Value) -> Result<Target, Status> {
    let name = str_at(pod, &["spec", "nodeName"]);
    let node = call.server.fetch("", "nodes", "", name).await?;
    kubelet_address(&node)
}

/// A node's kubelet: the first of its addresses in upstream's order of preference and its declared port.
///
/// # Errors
/// 500 where the node has no address.
pub fn kubelet_address(node: &Value) -> Result<Target, Status> {
    let name = corten_meta::object::name(node);
    let addresses = node["status"]["addresses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let of_type = |t: &str| {
        addresses
            .iter()
            .find(|a| a["type"] == t)
            .and_then(|a| a["address"].as_str())
    };
    let host = [
        "InternalIP",
        "ExternalIP",
        "InternalDNS",
        "ExternalDNS",
        "Hostname",
    ]
    .into_iter()
    .find_map(of_type);
    let Some(host) = host else {
        let text = format!(
            "no preferred addresses found; known addresses: {:?}",
            Vec::<String>::new()
        );
        return Err(Status::new(500, "", text));
    };
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        .as_u64()
        .unwrap_or(0);
    let port = u16::try_from(port).ok().filter(|p| *p != 0).unwrap_or(10250);
    Ok(Target {
        node: name.to_owned(),
        host: host.to_owned(),
        port,
    })
}

pub(super) fn uri(path: &str) -> Result<Uri, Status> {
    path.parse()
        .map_err(|e| Status::bad_request(format!("invalid path {path:?}: {e}")))
}

fn containers(pod: &Value) -> impl Iterator<Item = &str> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter_map(|c| c["name"].as_str())
}

/// The container asked for, or the only one.
pub(super) fn container_of<'a>(pod: &'a Value, wanted: &str) -> Result<&'a str, Status> {
    let pod_name = corten_meta::object::name(pod);
    if !wanted.is_empty() {
        let text = || Status::bad_request(format!("container {wanted} is not valid for pod {pod_name}"));
        return containers(pod).find(|c| *c == wanted).ok_or_else(text);
    }
    let main = pod["spec"]["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    match main {
        [one] => Ok(one["name"].as_str().unwrap_or_default()),
        [] => Err(Status::bad_request(format!(
            "a container name must be specified for pod {pod_name}"
        ))),
        _ => {
            // VisitContainers goes through init containers first.
            let init = pod["spec"]["initContainers"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let names: Vec<&str> = init
                .iter()
                .chain(main)
                .filter_map(|c| c["name"].as_str())
                .collect();
            let all = names.join(" ");
            let text =
                format!("a container name must be specified for pod {pod_name}, choose one of: [{all}]");
            Err(Status::bad_request(text))
        }
    }
}

/// What the client asks for: `PodExecOptions`, `PodAttachOptions` or `PodPortForwardOptions`.
fn options(query: &Query, what: &str) -> Result<Value, Status> {
    let kind = match what {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    if what == "portforward" {
        let ports = query.all("ports").flat_map(|ports| ports.split(','));
        let ports: Result<Vec<u16>, String> = ports.map(parse_uint).collect();
        let ports = ports.map_err(|why| Status::bad_request(format!("cannot convert to []int32: {why}")))?;
        if !ports.is_empty() {
            options["ports"] = json!(ports);
        }
    } else {
        for flag in ["stdin", "stdout", "stderr", "tty"] {
            if query.flag(flag).unwrap_or(false) {
                options[flag] = json!(true);
            }
        }
        let container = query.text("container");
        if !container.is_empty() {
            options["container"] = json!(container);
        }
        if what == "exec" {
            options["command"] = json!(query.all("command").collect::<Vec<_>>());
        }
    }
    Ok(options)
}

/// Admission of a connection.
pub(super) async fn connected(call: &Call, options: &mut Value) -> Result<(), Status> {
    let Some(resource) = call
        .server
        .registry
        .resource(&call.info.group, &call.info.resource)
    else {
        return Err(Status::unknown_path());
    };
    let ctx = call.write_context(false, "");
    call.admit(&ctx, Operation::Connect, &resource, options).await?;
    call.take_notes(&ctx);
    Ok(())
}

/// The kubelet's names for the stream options.
fn stream_query(options: &Value) -> String {
    let mut out = String::new();
    for (ours, kubelets) in [
        ("stdin", "input"),
        ("stdout", "output"),
        ("stderr", "error"),
        ("tty", "tty"),
    ] {
        if options[ours] == true {
            push(&mut out, kubelets, "1");
        }
    }
    let words = options["command"].as_array().into_iter().flatten();
    for word in words.filter_map(Value::as_str) {
        push(&mut out, "command", word);
    }
    out
}

fn ports(options: &Value) -> String {
    let mut out = String::new();
    let ports = options["ports"].as_array().into_iter().flatten();
    let all: Vec<String> = ports
        .filter_map(Value::as_u64)
        .map(|port| port.to_string())
        .collect();
    if !all.is_empty() {
        push(&mut out, "port", &all.join(","));
    }
    out
}

pub(super) fn push(out: &mut String, key: &str, value: &str) {
    out.push(if out.is_empty() { '?' } else { '&' });
    out.push_str(key);
    out.push('=');
    out.push_str(&escape(value));
}

//! `pods/NAME/binding` (and the old `bindings` collection): the scheduler's word on where a pod runs.

use corten_meta::field::{Error, Path};
use corten_meta::object::{self, child_mut, metadata_mut, object_mut, str_at};
use corten_meta::{GroupResource, GroupVersionKind, Status};
use corten_registry::{Operation, Subresource, UpdateOptions};
use serde_json::{Value, json};

use crate::call::Call;
use crate::codec;
use crate::options::{For, WriteOptions};
use crate::respond::Answer;
use crate::subresources::created;

/// Assigns a pod to a node.
///
/// # Errors
/// 409 where the pod has a node, is being deleted or is gated; 500 for a target that is no node, as upstream.
pub async fn bind(mut call: Call) -> Result<Answer, Status> {
    let accepted = call.plain_answer()?;
    let format = call.body_format()?;
    let body = call.read_body().await?;
    let options = WriteOptions::read(&call.query, For::Create)?;
    let gvk = GroupVersionKind::new("", "v1", "Binding");
    let mut binding = codec::decode(&call, &gvk, &body, format, options.validation)?;
    crate::verbs::check_namespace(&mut binding, &call.info.namespace)?;
    let name = object::name(&binding).to_owned();
    if call.info.subresource == "binding" && call.info.name != name {
        return Err(Status::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    validate(&binding)?;
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let ctx = call
        .write_context(options.dry_run, &options.field_manager)
        .as_nested();
    let pods = call.server.stored("", "pods")?;
    call.admit(&ctx, Operation::Create, &pods, &mut binding).await?;
    validate(&binding)?;
    let uid = Some(object::uid(&binding))
        .filter(|u| !u.is_empty())
        .map(str::to_owned);
    let update = UpdateOptions {
        uid,
        ..UpdateOptions::default()
    };
    let now = corten_meta::time::format(jiff::Timestamp::now());
    let change = |pod: &Value| assigned(pod, &binding, &now);
    let ns = &call.info.namespace;
    let registry = &call.server.registry;
    registry
        .update(&ctx, &pods, ns, &name, Subresource::BINDING, change, &update)
        .await?;
    call.take_notes(&ctx);
    created(accepted)
}

/// Upstream returns the bare list of errors here, which its server turns into a 500.
fn validate(binding: &Value) -> Result<(), Status> {
    let kind = str_at(binding, &["target", "kind"]);
    let path = Path::new("target");
    let mut errors = Vec::new();
    if !matches!(kind, "" | "Node") {
        errors.push(Error::not_supported(
            &path.child("kind"),
            kind,
            &["Node", "<empty>"],
        ));
    }
    if str_at(binding, &["target", "name"]).is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.len() {
        0 => Ok(()),
        1 => Err(Status::new(500, "", texts.concat())),
        _ => Err(Status::new(500, "", format!("[{}]", texts.join(", ")))),
    }
}

fn assigned(pod: &Value, binding: &Value, now: &str) -> Result<Value, Status> {
    let name = object::name(pod);
    let conflict = |text: String| {
        Err(Status::conflict(
            &GroupResource::new("", "pods/binding"),
            name,
            text,
        ))
    };
    if object::deletion_timestamp(pod).is_some() {
        return conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let node = str_at(pod, &["spec", "nodeName"]);
    if !node.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {node:?}"));
    }
    if pod["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|g| !g.is_empty())
    {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let wanted = object::resource_version(binding);
    if !wanted.is_empty() && wanted != object::resource_version(pod) {
        return Err(Status::conflict(
            &GroupResource::new("", "pods"),
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        ));
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = binding["target"]["name"].clone();
    for part in ["labels", "annotations"] {
        if let Some(added) = binding["metadata"][part].as_object() {
            let own = child_mut(metadata_mut(&mut pod), part);
            own.extend(added.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
    }
    let status = child_mut(object_mut(&mut pod), "status");
    status.remove("nominatedNodeName");
    scheduled(status.entry("conditions").or_insert_with(|| json!([])), now);
    Ok(pod)
}

/// Sets the condition `PodScheduled` to True.
fn scheduled(conditions: &mut Value, now: &str) {
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    let old = list
        .iter()
        .position(|c| c["type"] == "PodScheduled")
        .map(|i| list.remove(i));
    let since = match old {
        Some(c) if c["status"] == "True" => c["lastTransitionTime"].clone(),
        _ => json!(now),
    };
    list.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": since,
    }));
}

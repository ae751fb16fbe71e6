//! `pods/NAME/eviction`: deletion that respects PodDisruptionBudgets (`kubectl drain`).
//! Rules and texts: upstream's pkg/registry/core/pod/storage/eviction.go.

use bytes::Bytes;
use corten_meta::object::{self, child_mut, object_mut, str_at};
use corten_meta::status::{Cause, Details};
use corten_meta::{GroupResource, GroupVersionKind, Status, labels};
use corten_registry::{Operation, Subresource, UpdateOptions, WriteContext};
use corten_schema::apply::{self, Write, reset_fields};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::codec;
use crate::negotiate::Format;
use crate::options::{Deletion, For, WriteOptions};
use crate::respond::Answer;
use crate::subresources::created;
use corten_registry::SERVER;

/// Disruptions a budget may have open; over it evictions are refused.
const MAX_DISRUPTED_PODS: usize = 2000;
/// How often a pod that changes meanwhile is looked at, as upstream.
const ATTEMPTS: usize = 20;

/// Evicts a pod.
///
/// # Errors
/// 429 where a budget does not allow it, 500 where several budgets match, 404 without pod.
pub async fn evict(mut call: Call) -> Result<Answer, Status> {
    let accepted = call.plain_answer()?;
    let format = call.body_format()?;
    let body = in_v1(call.read_body().await?, format);
    let options = WriteOptions::read(&call.query, For::Create)?;
    let gvk = GroupVersionKind::new("policy", "v1", "Eviction");
    let mut eviction = codec::decode(&call, &gvk, &body, format, options.validation)?;
    crate::verbs::check_namespace(&mut eviction, &call.info.namespace)?;
    if object::name(&eviction) != call.info.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    same_dry_run(&call, &eviction)?;
    let ctx = call
        .write_context(options.dry_run, &options.field_manager)
        .as_nested();
    let pods = call.server.stored("", "pods")?;
    call.admit(&ctx, Operation::Create, &pods, &mut eviction).await?;
    let mut deletion = match &eviction["deleteOptions"] {
        Value::Null => Deletion::default(),
        given => Deletion::from_body(given)?,
    };
    deletion.dry_run |= options.dry_run;
    let ctx = ctx.with_dry_run(deletion.dry_run);
    let pod = match without_budget(&call, &ctx, &deletion).await? {
        Some(pod) => pod,
        None => return created(accepted),
    };
    let unready_of = take_from_budget(&call, &ctx, &pod).await?;
    let pinned = unready_of.filter(|_| deletion.options.preconditions.resource_version.is_none());
    if pinned.is_some() {
        deletion.options.preconditions.resource_version = Some(object::resource_version(&pod).to_owned());
    }
    match (remove(&call, &ctx, deletion).await, pinned) {
        (Err(status), Some(budget)) if status.is_conflict() => Err(too_many(&budget, 10, None)),
        (Err(status), _) => Err(status),
        (Ok(()), _) => created(accepted),
    }
}

/// Evicts a pod that no budget counts; gives back one that a budget may. What changes meanwhile is looked at again, unless
/// the client asks for a version.
async fn without_budget(
    call: &Call,
    ctx: &WriteContext,
    deletion: &Deletion,
) -> Result<Option<Value>, Status> {
    let unset = deletion.options.preconditions.resource_version.is_none();
    let mut attempts = ATTEMPTS;
    loop {
        let (ns, name) = (&call.info.namespace, &call.info.name);
        let pod = call.server.fetch("", "pods", ns, name).await?;
        if budget_matters(&pod) {
            return Ok(Some(pod));
        }
        let mut deletion = deletion.clone();
        if unset && running_guard(&pod) {
            let seen = object::resource_version(&pod).to_owned();
            deletion.options.preconditions.resource_version = Some(seen);
        }
        attempts -= 1;
        match remove(call, ctx, deletion).await {
            Err(status) if status.is_conflict() && unset && attempts > 0 => {}
            done => return done.map(|()| None),
        }
    }
}

/// A body of version v1beta1 is still taken; its fields are the same.
fn in_v1(body: Bytes, format: Format) -> Bytes {
    if format != Format::Json {
        return body;
    }
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut eviction) if eviction["apiVersion"] == "policy/v1beta1" => {
            eviction["apiVersion"] = json!("policy/v1");
            Bytes::from(eviction.to_string())
        }
        _ => body,
    }
}

/// Query and body may both ask for a dry run, if it is the same (upstream's `propagateDryRun`).
fn same_dry_run(call: &Call, eviction: &Value) -> Result<(), Status> {
    let content = eviction["deleteOptions"]["dryRun"].as_array();
    let content: Vec<&str> = content.into_iter().flatten().filter_map(Value::as_str).collect();
    let request: Vec<&str> = call.query.all("dryRun").collect();
    if request.is_empty() || content.is_empty() || request == content {
        return Ok(());
    }
    let (request, content) = (request.join(" "), content.join(" "));
    let text = format!("Non-matching dry-run options in request and content: [{request}] and [{content}]");
    Err(Status::new(500, "", text))
}

/// Pods that have not started, have ended or are going do not count against a budget.
fn budget_matters(pod: &Value) -> bool {
    let phase = str_at(pod, &["status", "phase"]);
    !matches!(phase, "Succeeded" | "Failed" | "Pending") && object::deletion_timestamp(pod).is_none()
}

/// True where the pod must still be as it was seen when it is deleted.
fn running_guard(pod: &Value) -> bool {
    let phase = str_at(pod, &["status", "phase"]);
    !matches!(phase, "Succeeded" | "Failed") && object::deletion_timestamp(pod).is_none()
}

/// Finds the pod's budget and takes one disruption from it. The budget's name where the pod was unready and needed none.
async fn take_from_budget(call: &Call, ctx: &WriteContext, pod: &Value) -> Result<Option<String>, Status> {
    let all = call
        .server
        .fetch_all("policy", "poddisruptionbudgets", &call.info.namespace, "")
        .await?;
    let own = object::labels(pod);
    let covers = |pdb: &&Value| {
        labels::Selector::from_label_selector(&pdb["spec"]["selector"]).is_ok_and(|s| s.matches(&own))
    };
    let mut covering = all.iter().filter(covers);
    let Some(pdb) = covering.next() else {
        return Ok(None);
    };
    if covering.next().is_some() {
        let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::new(500, "", text));
    }
    if !is_ready(pod) {
        let count = |key: &str| pdb["status"][key].as_i64().unwrap_or(0);
        let healthy = count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0;
        if pdb["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || healthy {
            return Ok(Some(object::name(pdb).to_owned()));
        }
    }
    let budgets = call.server.stored("policy", "poddisruptionbudgets")?;
    let now = corten_meta::time::format(jiff::Timestamp::now());
    let gvk = GroupVersionKind::new("policy", "v1", "PodDisruptionBudget");
    let write = Write {
        gvk: &gvk,
        manager: SERVER,
        subresource: "status",
        now: &now,
        reset: reset_fields(&gvk, "status", true),
    };
    let change = |pdb: &Value| {
        let mut taken = decrement(pdb, &call.info.name, &now)?;
        apply::update(&write, Some(pdb), &mut taken);
        Ok(taken)
    };
    let (ns, name) = (&call.info.namespace, object::name(pdb));
    let update = UpdateOptions::default();
    call.server
        .registry
        .update(ctx, &budgets, ns, name, Subresource::STATUS, change, &update)
        .await?;
    Ok(None)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn too_many(budget: &str, retry_seconds: u32, text: Option<String>) -> Status {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let text = text
        .unwrap_or_else(|| format!("The disruption budget {budget} is still being processed by the server."));
    let cause = Cause {
        reason: "DisruptionBudget".to_owned(),
        message: text,
        field: String::new(),
    };
    let details = Details {
        causes: vec![cause],
        retry_after_seconds: retry_seconds,
        ..Details::default()
    };
    Status::new(429, "TooManyRequests", message).with_details(details)
}

/// One disruption less, and the pod noted as going.
fn decrement(pdb: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = object::name(pdb);
    let status = &pdb["status"];
    if status["observedGeneration"].as_i64().unwrap_or(0) < object::generation(pdb) {
        return Err(too_many(name, 10, None));
    }
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    let forbidden =
        |text: &str| Status::forbidden(&GroupResource::new("policy", "poddisruptionbudget"), name, text);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if status["disruptedPods"]
        .as_object()
        .is_some_and(|m| m.len() > MAX_DISRUPTED_PODS)
    {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(too_many(name, 0, Some(why_not(pdb))));
    }
    let mut pdb = pdb.clone();
    let status = child_mut(object_mut(&mut pdb), "status");
    status.insert("disruptionsAllowed".into(), json!(allowed - 1));
    child_mut(status, "disruptedPods").insert(pod.to_owned(), json!(now));
    if allowed == 1 {
        no_more_allowed(status, now);
    }
    Ok(pdb)
}

/// The condition that the controller would set, at once.
fn no_more_allowed(status: &mut Map<String, Value>, now: &str) {
    let observed = status.get("observedGeneration").cloned();
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    let at = list.iter().position(|c| c["type"] == "DisruptionAllowed");
    let before = at.map(|at| list.remove(at));
    let known = before.as_ref().filter(|condition| condition["status"] == "False");
    let since = known.map_or_else(|| json!(now), |condition| condition["lastTransitionTime"].clone());
    let mut condition = json!({
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "lastTransitionTime": since,
    });
    if let Some(observed) = observed {
        condition["observedGeneration"] = observed;
    }
    list.insert(at.unwrap_or(list.len()), condition);
}

fn why_not(pdb: &Value) -> String {
    let name = object::name(pdb);
    let status = &pdb["status"];
    let conditions = status["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let refused = conditions
        .iter()
        .find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False");
    let (reason, text) = refused.map_or(("", ""), |c| (str_at(c, &["reason"]), str_at(c, &["message"])));
    let count = |key: &str| status[key].as_i64().unwrap_or(0);
    let head = format!("The disruption budget {name}");
    if reason == "SyncFailed" && !text.is_empty() {
        format!("{head} does not allow evicting pods currently because it failed sync: {text}")
    } else if count("currentHealthy") <= count("desiredHealthy") {
        let (wanted, have) = (count("desiredHealthy"), count("currentHealthy"));
        format!("{head} needs {wanted} healthy pods and has {have} currently")
    } else if !text.is_empty() {
        format!("{head} does not allow evicting pods currently ({reason}): {text}")
    } else {
        format!("{head} does not allow evicting pods currently")
    }
}

/// Notes why on the pod, then deletes it.
async fn remove(call: &Call, ctx: &WriteContext, mut deletion: Deletion) -> Result<(), Status> {
    let pods = call.server.stored("", "pods")?;
    let (ns, name) = (&call.info.namespace, &call.info.name);
    let registry = &call.server.registry;
    if !deletion.dry_run {
        let wanted = deletion.options.preconditions.clone();
        let now = corten_meta::time::format(jiff::Timestamp::now());
        let change = |pod: &Value| {
            matches_preconditions(pod, &wanted)?;
            Ok(with_condition(pod, &now))
        };
        let update = UpdateOptions::default();
        let updated = registry
            .update(ctx, &pods, ns, name, Subresource::STATUS, change, &update)
            .await?;
        if let Some(version) = &mut deletion.options.preconditions.resource_version {
            *version = updated.object.revision().to_string();
        }
    }
    registry.delete(ctx, &pods, ns, name, &deletion.options).await?;
    Ok(())
}

fn matches_preconditions(pod: &Value, wanted: &corten_registry::Preconditions) -> Result<(), Status> {
    let conflict = |text: String| {
        Err(Status::conflict(
            &GroupResource::new("", "Pod"),
            object::name(pod),
            text,
        ))
    };
    let (uid, version) = (object::uid(pod), object::resource_version(pod));
    if let Some(w) = wanted.uid.as_deref().filter(|w| !w.is_empty() && *w != uid) {
        return conflict(format!(
            "the UID in the precondition ({w}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        ));
    }
    if let Some(w) = wanted
        .resource_version
        .as_deref()
        .filter(|w| !w.is_empty() && *w != version)
    {
        return conflict(format!(
            "the ResourceVersion in the precondition ({w}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        ));
    }
    Ok(())
}

fn with_condition(pod: &Value, now: &str) -> Value {
    let mut pod = pod.clone();
    let status = child_mut(object_mut(&mut pod), "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|c| c["type"] != "DisruptionTarget");
        list.push(json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastProbeTime": null,
            "lastTransitionTime": now,
        }));
    }
    pod
}

//! `scale` (autoscaling/v1 Scale) of Deployments, ReplicaSets, StatefulSets and ReplicationControllers.

use std::sync::Arc;

use corten_crd::resource::UNSET_REPLICAS;
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{GroupKind, GroupVersionKind, Status, labels, object};
use corten_registry::admission::View;
use corten_registry::{Object, Subresource, UpdateOptions};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::apply::Ownership;
use crate::call::Call;
use crate::catalog::Served;
use crate::negotiate::{Accepted, Shape};
use crate::options::{For, WriteOptions};
use crate::respond::{self, Answer};
use crate::verbs::patch::{Patch, PatchType};
use crate::{codec, shape};

/// GET, PUT and PATCH.
///
/// # Errors
/// 404 without object, 422 for a negative count, 409 for a stale resourceVersion.
pub async fn dispatch(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    match call.method {
        Method::GET => get(&call, &served).await,
        Method::PUT => put(call, &served).await,
        _ => patch(call, &served).await,
    }
}

pub(crate) fn gvk() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

/// The Scale of an object; a custom kind says where its counts are.
fn scale_in(served: &Served, of: &Value) -> Result<Value, Status> {
    match served
        .custom
        .as_ref()
        .and_then(|kind| kind.version.scale.as_ref())
    {
        Some(paths) => paths.get(of),
        None => Ok(scale_of(of)),
    }
}

/// The Scale that a change starts from: an object without a count has one all the same.
fn scale_before(served: &Served, of: &Value) -> Result<Value, Status> {
    match served
        .custom
        .as_ref()
        .and_then(|kind| kind.version.scale.as_ref())
    {
        Some(paths) => {
            let (mut scale, counted) = paths.scale(of).map_err(Status::bad_request)?;
            if !counted {
                scale["spec"]["replicas"] = json!(UNSET_REPLICAS);
            }
            Ok(scale)
        }
        None => Ok(scale_of(of)),
    }
}

/// The Scale of a built-in object.
fn scale_of(of: &Value) -> Value {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(v) = of["metadata"].get(key) {
            metadata.insert(key.to_owned(), v.clone());
        }
    }
    let replicas = of["spec"]["replicas"].as_i64().unwrap_or(0);
    let spec = if replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    let mut status = json!({"replicas": of["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = selector_text(&of["spec"]["selector"]);
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// A selector as text: a plain map (ReplicationController) or a LabelSelector.
fn selector_text(selector: &Value) -> String {
    if let Some(map) = selector.as_object()
        && !map.is_empty()
        && map.values().all(Value::is_string)
    {
        let terms: Vec<String> = map
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        return terms.join(",");
    }
    labels::Selector::from_label_selector(selector)
        .map(|s| s.to_string())
        .unwrap_or_default()
}

/// A Scale, or what was asked for of it.
fn answer(call: &Call, served: &Served, object: &Object, accepted: Accepted) -> Result<Answer, Status> {
    let scale = scale_in(served, &object.value()?)?;
    let go_type = if served.custom.is_some() {
        "v1.Scale"
    } else {
        "autoscaling.Scale"
    };
    let scale = match accepted.shape {
        Shape::Table => shape::scale_table(call, served, scale, accepted)?,
        _ => shape::of_another_kind(scale, accepted, go_type)?,
    };
    respond::object(StatusCode::OK, &scale, accepted)
}

async fn get(call: &Call, served: &Served) -> Result<Answer, Status> {
    let accepted = call.object_answer()?;
    let (ns, name) = (served.namespace_of(call), &call.info.name);
    let object = call.server.registry.get(served.stored()?, ns, name, "").await?;
    answer(call, served, &object, accepted)
}

async fn put(mut call: Call, served: &Served) -> Result<Answer, Status> {
    let format = call.body_format()?;
    let body = call.read_body().await?;
    let options = WriteOptions::read(&call.query, For::Update)?;
    let mut scale = codec::decode(&call, &gvk(), &body, format, options.validation)?;
    crate::verbs::check_namespace(&mut scale, served.namespace_of(&call))?;
    crate::verbs::check_name(&scale, &call.info.name)?;
    let uid = Some(object::uid(&scale).to_owned()).filter(|uid| !uid.is_empty());
    let given = |_: &Value, _, _: &Ownership| Ok(scale.clone());
    change(&call, served, &options, uid, Owners::Changed, given).await
}

async fn patch(mut call: Call, served: &Served) -> Result<Answer, Status> {
    let kind = PatchType::read_for(&call, served)?;
    let body = call.read_body().await?;
    let purpose = if kind == PatchType::Apply {
        For::Apply
    } else {
        For::Patch
    };
    let options = WriteOptions::read(&call.query, purpose)?;
    let patch = Patch::parse(kind, &body, options.validation)?;
    let owners = match kind {
        PatchType::Apply => Owners::Applied,
        _ => Owners::Changed,
    };
    let call = &call;
    let wanted = |current: &Value, before, ownership: &Ownership| {
        let mut scale = match owners {
            Owners::Applied => {
                ownership.apply_scale(call, current, before, patch.document(), options.force)?
            }
            Owners::Changed => patch.apply(call, &gvk(), None, &before)?,
        };
        crate::verbs::check_namespace(&mut scale, served.namespace_of(call))?;
        crate::verbs::check_name(&scale, &call.info.name)?;
        Ok(scale)
    };
    change(call, served, &options, None, owners, wanted).await
}

/// Who owns the count after a write.
#[derive(Clone, Copy)]
enum Owners {
    /// Who changes it.
    Changed,
    /// Those that the Scale names.
    Applied,
}

/// Writes the count that `wanted` makes of the current object and its Scale; the object must have the uid, if one is given.
async fn change(
    call: &Call,
    served: &Served,
    options: &WriteOptions,
    uid: Option<String>,
    owners: Owners,
    wanted: impl Fn(&Value, Value, &Ownership) -> Result<Value, Status> + Send + Sync,
) -> Result<Answer, Status> {
    let accepted = call.object_answer()?;
    let ownership = Ownership::new(call, served, options);
    let ctx = call.write_context(options.dry_run, ownership.manager());
    let (ns, name) = (served.namespace_of(call), &call.info.name);
    let apply = |current: &Value| {
        let scale = wanted(current, scale_before(served, current)?, &ownership)?;
        validate(&scale, name)?;
        same_object(served, &scale, current)?;
        let mut out = current.clone();
        match served
            .custom
            .as_ref()
            .and_then(|kind| kind.version.scale.as_ref())
        {
            Some(paths) => paths.set(&mut out, &scale)?,
            None => out["spec"]["replicas"] = json!(scale["spec"]["replicas"].as_i64().unwrap_or(0)),
        }
        let version = object::resource_version(&scale);
        if !version.is_empty() {
            object::set_resource_version(&mut out, version);
        }
        match owners {
            Owners::Changed => ownership.record("scale", current, &mut out),
            Owners::Applied => ownership.record_scale(&scale, &mut out),
        }
        Ok(out)
    };
    let update = UpdateOptions {
        view: Some(Arc::new(ScaleView)),
        uid,
        ..UpdateOptions::default()
    };
    let registry = &call.server.registry;
    let updated = registry
        .update(
            &ctx,
            served.stored()?,
            ns,
            name,
            Subresource::SCALE,
            apply,
            &update,
        )
        .await;
    call.take_notes(&ctx);
    let object: Object = updated?.object;
    answer(call, served, &object, accepted)
}

/// Webhooks and policies see the Scale.
struct ScaleView;

impl View for ScaleView {
    fn of(&self, object: &Value) -> Value {
        scale_of(object)
    }

    fn put(&self, view: &Value, object: &mut Value) {
        object["spec"]["replicas"] = json!(view["spec"]["replicas"].as_i64().unwrap_or(0));
    }
}

/// A Scale with a uid is of the object with that uid; upstream does not ask of custom kinds.
fn same_object(served: &Served, scale: &Value, of: &Value) -> Result<(), Status> {
    let (wanted, found) = (object::uid(scale), object::uid(of));
    if wanted.is_empty() || wanted == found || served.custom.is_some() {
        return Ok(());
    }
    let mut resource = served.schema.group_resource();
    resource.resource = format!("{}/scale", resource.resource).into();
    let text = corten_registry::precondition_detail("UID", wanted, found);
    Err(Status::conflict(&resource, object::name(of), text))
}

fn validate(scale: &Value, name: &str) -> Result<(), Status> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas >= 0 {
        return Ok(());
    }
    let path = Path::new("spec").child("replicas");
    let error = Error::invalid(&path, replicas, "must be greater than or equal to 0");
    Err(Status::invalid(
        &GroupKind::new("autoscaling", "Scale"),
        name,
        ErrorList::from(vec![error]),
    ))
}

//! PersistentVolumeClaims.

use corten_meta::names;
use corten_meta::object;
use serde_json::{Value, json};

use super::super::StrategyContext;
use super::super::generic::copy_field;
use super::super::pod::resources::{is_native, resource_value};
use super::super::pod::storage::claim_spec;
use super::super::pod::warnings::{annotation, claim_spec as warned_spec};
use super::super::rules::{At, ErrorList, nanos, quantity_of};
use super::difference::{pretty_struct, unified};
use super::references::same_at;
use super::{PLAIN, Rules};
use crate::resource::Subresource;

pub(super) const RULES: Rules = Rules {
    prepare,
    prepare_update,
    body: |at, errors| claim_spec(&at.get("spec"), errors),
    change,
    status,
    warnings: |claim, _| warnings(claim),
    ..PLAIN
};

/// The class of a claim or volume before it had a field.
pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
pub(super) const CLASS_DETAIL: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";

fn warnings(claim: &Value) -> Vec<String> {
    let at = At::root(claim);
    let metadata = at.get("metadata");
    let noted = annotation(&metadata.get("annotations"), CLASS_ANNOTATION, CLASS_DETAIL);
    noted.into_iter().chain(warned_spec(&at.get("spec"))).collect()
}

fn prepare(_: &StrategyContext<'_>, claim: &mut Value) {
    claim["status"] = json!({"phase": "Pending"});
    no_other_namespaces(&mut claim["spec"]);
    only_known_sources(&mut claim["spec"]);
    both_sources(&mut claim["spec"]);
}

fn prepare_update(ctx: &StrategyContext<'_>, claim: &mut Value, old: &Value) {
    if ctx.subresource == Subresource::MAIN {
        if old["spec"]["dataSource"].is_null() && old["spec"]["dataSourceRef"].is_null() {
            no_other_namespaces(&mut claim["spec"]);
            only_known_sources(&mut claim["spec"]);
        }
        both_sources(&mut claim["spec"]);
    }
}

/// Sources in other namespaces are an alpha feature: off.
fn no_other_namespaces(spec: &mut Value) {
    if !spec["dataSourceRef"]["namespace"].is_null()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("dataSourceRef");
    }
}

/// `dataSource` once was ignored unless it was a claim or a snapshot.
fn only_known_sources(spec: &mut Value) {
    let source = &spec["dataSource"];
    let (group, kind) = (
        source["apiGroup"].as_str().unwrap_or_default(),
        source["kind"].as_str(),
    );
    let known = matches!(
        (group, kind),
        ("", Some("PersistentVolumeClaim")) | ("snapshot.storage.k8s.io", Some("VolumeSnapshot"))
    );
    if spec["dataSourceRef"].is_null()
        && !known
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("dataSource");
    }
}

/// Either of the two fields fills in the other.
fn both_sources(spec: &mut Value) {
    let (source, reference) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if source.is_object() && reference.is_null() {
        spec["dataSourceRef"] = source;
    } else if source.is_null()
        && reference.is_object()
        && reference["namespace"].as_str().is_none_or(str::is_empty)
    {
        let mut local = reference;
        local.as_object_mut().map(|fields| fields.remove("namespace"));
        spec["dataSource"] = local;
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|key, value| !key.starts_with("dataSource") || !value.is_null());
    }
}

const SPEC_FIELDS: [(&str, &str); 9] = [
    ("AccessModes", "accessModes"),
    ("Selector", "selector"),
    ("Resources", "resources"),
    ("VolumeName", "volumeName"),
    ("StorageClassName", "storageClassName"),
    ("VolumeMode", "volumeMode"),
    ("DataSource", "dataSource"),
    ("DataSourceRef", "dataSourceRef"),
    ("VolumeAttributesClassName", "volumeAttributesClassName"),
];

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let before = &old["spec"];
    let (new, kept) = compared(at, old, errors);
    if new != kept {
        let show = |spec: &Value| {
            let mut spec = spec.clone();
            if spec["volumeName"].is_null() {
                spec["volumeName"] = json!("");
            }
            spec["resources"] = go_resources(&spec["resources"]);
            pretty_struct(&spec, &SPEC_FIELDS)
        };
        let shown = unified(&show(&kept), &show(&new));
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{shown}"
        );
        spec.forbidden(errors, &detail);
    }
    size(&spec, old, errors);
    same_at(
        "volumeMode",
        &spec.get("volumeMode"),
        &before["volumeMode"],
        errors,
    );
    let attributes = spec.get("volumeAttributesClassName");
    let current = !old["status"]["currentVolumeAttributesClassName"].is_null();
    if current && *attributes.value != before["volumeAttributesClassName"] && attributes.is_empty() {
        let what = if attributes.is_set() {
            "empty string"
        } else {
            "nil"
        };
        let detail =
            format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        attributes.forbidden(errors, &detail);
    }
}

fn go_resources(resources: &Value) -> Value {
    let mut shown = serde_json::Map::new();
    shown.insert("Limits".to_owned(), resources["limits"].clone());
    shown.insert("Requests".to_owned(), resources["requests"].clone());
    Value::Object(shown)
}

/// Both specs without what may differ.
fn compared(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) -> (Value, Value) {
    let (mut new, mut kept) = (at.get("spec").value.clone(), old["spec"].clone());
    if kept["volumeName"].as_str().is_none_or(str::is_empty) {
        copy_field(&mut kept, &new, "volumeName");
    }
    class(at, old, &mut new, errors);
    if at.get("status").get("phase").str() == "Bound" {
        if new["resources"]["requests"].is_object() {
            new["resources"]["requests"]["storage"] = kept["resources"]["requests"]["storage"].clone();
        }
        copy_field(&mut new, &kept, "volumeAttributesClassName");
    }
    (new, kept)
}

/// A claim without a class may get one: the annotation's, where there is one.
fn class(at: &At<'_, '_>, old: &Value, new: &mut Value, errors: &mut ErrorList) {
    let noted = object::annotation(old, CLASS_ANNOTATION);
    let metadata = at.get("metadata");
    let annotations = metadata.get("annotations");
    let annotation = annotations.get(CLASS_ANNOTATION);
    let (unset, given) = (
        old["spec"]["storageClassName"].is_null(),
        new["storageClassName"].as_str(),
    );
    let fits = given.is_some() && noted.is_none_or(|noted| Some(noted) == given);
    let moved = noted.is_some() && unset && fits && (!annotation.is_set() || Some(annotation.str()) == noted);
    if !moved && annotation.str() != noted.unwrap_or_default() {
        annotation.invalid_as(errors, annotation.str(), "field is immutable");
    }
    if unset && fits {
        copy_field(new, &old["spec"], "storageClassName");
    }
}

fn size(spec: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let resources = spec.get("resources");
    let requests = resources.get("requests");
    let storage = requests.get("storage");
    let smaller = nanos(storage.value) < nanos(&old["spec"]["resources"]["requests"]["storage"]);
    if smaller && nanos(storage.value) <= nanos(&old["status"]["capacity"]["storage"]) {
        storage.forbidden(errors, "field can not be less than status.capacity");
    }
}

const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn status(at: &At<'_, '_>, _: &Value, errors: &mut ErrorList) {
    let status = at.get("status");
    let capacity = status.get("capacity");
    for (name, _) in capacity.entries() {
        not_negative(&capacity.key(name), errors);
    }
    let states = status.get("allocatedResourceStatuses");
    for (name, state) in states.entries() {
        resource_key(&states, name, errors);
        if !RESIZE_STATES.contains(&state.as_str().unwrap_or_default()) {
            let mut sorted = RESIZE_STATES.to_vec();
            sorted.sort_unstable();
            states.with(&Value::from(name)).not_supported(errors, &sorted);
        }
    }
    let allocated = status.get("allocatedResources");
    for (name, _) in allocated.entries() {
        let before = errors.len();
        resource_key(&allocated, name, errors);
        if errors.len() == before {
            not_negative(&allocated.key(name), errors);
        }
        if errors.len() == before {
            resource_value(&allocated.key(name), "storage", errors);
        }
    }
}

fn not_negative(at: &At<'_, '_>, errors: &mut ErrorList) {
    let value = quantity_of(at.value).value();
    if value < 0 {
        at.invalid_as(errors, value, "must be a valid resource quantity");
    }
}

fn resource_key(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    let messages = names::is_qualified_name(name);
    if messages.is_empty() && is_native(name) && name != "storage" {
        errors.push(corten_meta::field::Error::not_supported(
            &at.path(),
            name,
            &["storage"],
        ));
    }
    for message in messages {
        at.invalid_as(errors, name, &message);
    }
}

//! The `CustomResourceDefinition` itself (v1 JSON, normalized and defaulted): what is stored of it and the conditions that
//! follow from what it says. Its rules are in `validate.rs`.

mod columns;
mod conversion;
mod defaults;
mod field_path;
mod go_form;
mod keywords;
mod listing;
mod spec;
mod structure;
mod validate;
mod walk;

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{object, quote};
use serde_json::{Value, json};

pub use validate::{name_problem, validate, validate_status_update, validate_update};

pub(crate) use field_path::follow as follow_field_path;
pub(crate) use go_form::shown_rule;
pub(crate) use keywords::has_unknown_type;

use crate::structural::Structural;

const APPROVED: &str = "api-approved.kubernetes.io";
const PROPOSAL: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// A version by its name.
pub fn version<'d>(definition: &'d Value, name: &str) -> Option<&'d Value> {
    versions(definition)
        .iter()
        .find(|version| version["name"] == name)
}

fn versions(definition: &Value) -> &[Value] {
    let list = definition["spec"]["versions"].as_array();
    list.map(Vec::as_slice).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The schema is structural as a whole.
pub(crate) fn is_structural(schema: &Value) -> bool {
    structure::validate(schema, &Path::root()).is_empty()
}

/// The version's schema, where it has one.
fn schema_of(version: &Value) -> Option<&Value> {
    version
        .get("schema")?
        .get("openAPIV3Schema")
        .filter(|s| s.is_object())
}

/// The warning that answers of a deprecated version carry.
pub(crate) fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(warning) = version["deprecationWarning"].as_str() {
        return Some(warning.to_owned());
    }
    let (spec, name) = (&definition["spec"], text(version, "name"));
    let (group, kind) = (text(spec, "group"), text(&spec["names"], "kind"));
    let mut out = format!("{group}/{name} {kind} is deprecated");
    let current = versions(definition)
        .iter()
        .filter(|v| v["served"] == true && v["deprecated"] != true)
        .map(|v| text(v, "name"))
        .filter(|other| priority(other) > priority(name))
        .max_by_key(|other| priority(other));
    if let Some(current) = current {
        out.push_str(&format!("; use {group}/{current} {kind}"));
    }
    Some(out)
}

/// What a version name ranks by: (stability, major, minor), then names of no version's form in reverse.
pub type VersionPriority = (u8, u64, u64, std::cmp::Reverse<String>);

/// Ranks versions as discovery orders them: v2 over v1 over v1beta1 over v1alpha1 over anything else.
pub fn priority(name: &str) -> VersionPriority {
    let other = || (0, 0, 0, std::cmp::Reverse(name.to_owned()));
    let parse = || {
        let rest = name.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..end].parse().ok()?;
        let (stability, minor) = match &rest[end..] {
            "" => (3, 0),
            tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
                (Some(minor), _) => (2, minor.parse().ok()?),
                (_, Some(minor)) => (1, minor.parse().ok()?),
                _ => return None,
            },
        };
        Some((stability, major, minor, std::cmp::Reverse(String::new())))
    };
    parse().unwrap_or_else(other)
}

/// A definition starts without a status but for the version its objects will be stored in.
pub fn prepare_for_create(definition: &mut Value) {
    // What the naming controller will fill is there, empty: upstream's status is a struct.
    let names = json!({"kind": "", "plural": ""});
    definition["status"] = json!({"acceptedNames": names, "conditions": null, "storedVersions": null});
    object::set_generation(definition, 1);
    note_stored_version(definition);
}

/// The status stays; the generation rises when the spec changes.
pub fn prepare_for_update(definition: &mut Value, old: &Value) {
    match old.get("status") {
        Some(status) => definition["status"] = status.clone(),
        None => drop(definition.as_object_mut().map(|map| map.remove("status"))),
    }
    let generation = object::generation(old) + i64::from(definition["spec"] != old["spec"]);
    object::set_generation(definition, generation);
    note_stored_version(definition);
}

/// The spec stays. Metadata does not, as on upstream: the end of a definition's instances takes its finalizer away with
/// the status that says so.
pub fn prepare_for_status_update(definition: &mut Value, old: &Value) {
    definition["spec"] = old["spec"].clone();
}

fn note_stored_version(definition: &mut Value) {
    let stored = versions(definition).iter().find(|v| v["storage"] == true);
    let Some(name) = stored.map(|version| version["name"].clone()) else {
        return;
    };
    let Some(status) = definition["status"].as_object_mut() else {
        definition["status"] = json!({ "storedVersions": [name] });
        return;
    };
    let list = status.entry("storedVersions").or_insert(Value::Null);
    match list {
        Value::Array(list) if list.contains(&name) => {}
        Value::Array(list) => list.push(name),
        other => *other = json!([name]),
    }
}

/// Formats that mean nothing here, and did not stand in the definition before.
pub fn warnings(definition: &Value, old: Option<&Value>) -> Vec<String> {
    let formats = |definition: &Value| {
        let mut out = Vec::new();
        // A schema that all versions share counts once.
        let mut schemas: Vec<&Value> = versions(definition).iter().filter_map(schema_of).collect();
        let shared = schemas.len() == versions(definition).len() && schemas.windows(2).all(|w| w[0] == w[1]);
        schemas.truncate(if shared { 1 } else { schemas.len() });
        for schema in schemas {
            walk::any(schema, &mut |node| {
                let (format, kind) = (text(node, "format"), text(node, "type"));
                if !format.is_empty() && kind == "string" && !crate::format::is_known(format, kind) {
                    out.push(format.to_owned());
                }
                false
            });
        }
        out
    };
    let before = old.map(formats).unwrap_or_default();
    formats(definition)
        .into_iter()
        .filter(|format| !before.contains(format))
        .map(|format| format!("unrecognized format {}", quote(&format)))
        .collect()
}

/// The `NonStructuralSchema` condition, without its time; `None` where every schema is structural.
pub fn non_structural(definition: &Value) -> Option<Value> {
    let mut errors = ErrorList::new();
    let spec = Path::new("spec");
    if definition["spec"]["preserveUnknownFields"] == true {
        errors.push(Error::invalid(
            &spec.child("preserveUnknownFields"),
            true,
            "must be false",
        ));
    }
    for (index, version) in versions(definition).iter().enumerate() {
        let Some(schema) = schema_of(version) else {
            continue;
        };
        if let Err(error) = Structural::parse(schema) {
            let name = text(version, "name");
            let message = format!("failed to check validation schema for version {name}: {error}");
            return Some(condition(
                "NonStructuralSchema",
                "Unknown",
                "StructuralError",
                message,
            ));
        }
        let path = spec
            .child("versions")
            .index(index)
            .child("schema")
            .child("openAPIV3Schema");
        errors.extend(structure::validate(schema, &path));
    }
    (!errors.is_empty()).then(|| condition("NonStructuralSchema", "True", "Violations", errors.to_string()))
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

/// How a definition in one of the community's groups came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approval {
    Invalid,
    Approved,
    Bypassed,
    Missing,
}

fn is_protected(definition: &Value) -> bool {
    let group = text(&definition["spec"], "group");
    ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn approval(definition: &Value) -> (Approval, String) {
    let given = object::annotation(definition, APPROVED).unwrap_or_default();
    let absolute = || {
        let rest = given.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
        rest.is_some_and(|(_, rest)| !rest.starts_with(['/', '?']))
            && crate::format::accepts("uri", given) == Some(true)
    };
    let name = quote(APPROVED);
    match given {
        "" => (
            Approval::Missing,
            format!("protected groups must have approval annotation {name}, {PROPOSAL}"),
        ),
        given if given.starts_with("unapproved") => {
            (Approval::Bypassed, format!("not approved: {}", quote(given)))
        }
        given if absolute() => (Approval::Approved, format!("approved in {given}")),
        _ => (
            Approval::Invalid,
            format!(
                "protected groups must have approval annotation {name} with either a URL or a reason starting with \"unapproved\", {PROPOSAL}"
            ),
        ),
    }
}

/// The `KubernetesAPIApprovalPolicyConformant` condition, without its time; `None` outside the community's groups.
pub fn api_approved(definition: &Value) -> Option<Value> {
    if !is_protected(definition) {
        return None;
    }
    let (state, message) = approval(definition);
    let (status, reason) = match state {
        Approval::Invalid => ("False", "InvalidAnnotation"),
        Approval::Missing => ("False", "MissingAnnotation"),
        Approval::Approved => ("True", "ApprovedAnnotation"),
        Approval::Bypassed => ("False", "UnapprovedAnnotation"),
    };
    Some(condition(
        "KubernetesAPIApprovalPolicyConformant",
        status,
        reason,
        message,
    ))
}

/// A map's entries in order; none where it is not one.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A list's items; none where it is not one.
fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

//! What upstream's hand-written conversions into its internal types and back leave of an object where that is not the object
//! itself: annotations that stand for fields of old versions are read, and those of the init containers of old go.

use std::num::IntErrorKind;

use corten_meta::{GroupVersionKind, object, quote};
use serde_json::{Map, Value};

/// Fields that pods had as annotations before they had init containers.
const INIT_CONTAINERS: [&str; 4] = [
    "pod.alpha.kubernetes.io/init-container-statuses",
    "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-container-statuses",
    "pod.beta.kubernetes.io/init-containers",
];
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// Leaves of the object what upstream would.
///
/// # Errors
/// Those of [`converts`].
pub(super) fn settle(gvk: &GroupVersionKind, value: &mut Value) -> Result<(), String> {
    if let Some(pod) = pod_of(gvk, value) {
        drop_init_containers(pod);
    }
    match (&*gvk.group, &*gvk.kind) {
        ("apps", "DaemonSet") => {
            // A field that is always written.
            let generation = template_generation(value)?;
            object::set_annotation(value, TEMPLATE_GENERATION, &generation.to_string());
        }
        ("apps", "Deployment") => set_rollback_to(value)?,
        _ => {}
    }
    Ok(())
}

/// Whether upstream could take the object to its internal type.
///
/// # Errors
/// The conversion's, in its words.
pub fn converts(gvk: &GroupVersionKind, value: &Value) -> Result<(), String> {
    match (&*gvk.group, &*gvk.kind) {
        ("apps", "DaemonSet") => template_generation(value).map(drop),
        ("apps", "Deployment") => rollback_to(value).map(drop),
        _ => Ok(()),
    }
}

/// The pod or the template of pods of an object.
fn pod_of<'a>(gvk: &GroupVersionKind, value: &'a mut Value) -> Option<&'a mut Value> {
    let template = match (&*gvk.group, &*gvk.kind) {
        ("", "Pod") => return Some(value),
        ("", "PodTemplate") => "/template",
        ("", "ReplicationController") | ("batch", "Job") => "/spec/template",
        ("apps", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet") => "/spec/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return None,
    };
    value.pointer_mut(template)
}

fn annotations(of: &mut Value) -> Option<&mut Map<String, Value>> {
    of.pointer_mut("/metadata/annotations")?.as_object_mut()
}

/// An empty map is none in Go's form.
fn without_empty(of: &mut Value) {
    if annotations(of).is_some_and(|all| all.is_empty()) {
        of["metadata"].as_object_mut().map(|of| of.remove("annotations"));
    }
}

fn drop_init_containers(pod: &mut Value) {
    let Some(all) = annotations(pod) else { return };
    let before = all.len();
    INIT_CONTAINERS.iter().for_each(|key| drop(all.remove(*key)));
    if all.len() < before {
        without_empty(pod);
    }
}

fn template_generation(set: &Value) -> Result<i64, String> {
    object::annotation(set, TEMPLATE_GENERATION).map_or(Ok(0), integer)
}

fn rollback_to(deployment: &Value) -> Result<Option<i64>, String> {
    let given = object::annotation(deployment, ROLLBACK_TO).filter(|text| !text.is_empty());
    let revision = given.map(|text| {
        let why = |error| format!("failed to parse annotation[{ROLLBACK_TO}]={text} as int64: {error}");
        integer(text).map_err(why)
    });
    revision.transpose()
}

/// A field that is written where there is one.
fn set_rollback_to(deployment: &mut Value) -> Result<(), String> {
    match rollback_to(deployment)? {
        Some(revision) => object::set_annotation(deployment, ROLLBACK_TO, &revision.to_string()),
        None if object::annotation(deployment, ROLLBACK_TO).is_some() => {
            annotations(deployment).map(|all| all.remove(ROLLBACK_TO));
            without_empty(deployment);
        }
        None => {}
    }
    Ok(())
}

/// Go's `strconv.ParseInt`, and its errors.
fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_number = digits.bytes().all(|b| b.is_ascii_digit());
        let too_large = matches!(
            error.kind(),
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow
        );
        let why = match too_large && is_number {
            true => "value out of range",
            false => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {}: {why}", quote(text))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settled(api_version: &str, kind: &str, mut value: Value) -> Result<Value, String> {
        let gvk = GroupVersionKind::from_api_version(api_version, kind).unwrap();
        settle(&gvk, &mut value).map(|()| value)
    }

    fn annotated(key: &str, value: &str) -> Value {
        json!({"metadata": {"annotations": {key: value}}})
    }

    #[test]
    fn annotations_that_stand_for_fields() {
        let daemons = |text| settled("apps/v1", "DaemonSet", annotated(TEMPLATE_GENERATION, text));
        assert_eq!(daemons("+07"), Ok(annotated(TEMPLATE_GENERATION, "7")));
        let none = settled("apps/v1", "DaemonSet", json!({"metadata": {}}));
        assert_eq!(none, Ok(annotated(TEMPLATE_GENERATION, "0")));
        for (text, why) in [
            ("", "invalid syntax"),
            (" 5", "invalid syntax"),
            ("99999999999999999999x", "invalid syntax"),
            ("9223372036854775808", "value out of range"),
        ] {
            let error = format!("strconv.ParseInt: parsing \"{text}\": {why}");
            assert_eq!(daemons(text), Err(error));
        }
        let deployment = |text| settled("apps/v1", "Deployment", annotated(ROLLBACK_TO, text));
        assert_eq!(deployment(""), Ok(json!({"metadata": {}})));
        assert_eq!(deployment("3"), Ok(annotated(ROLLBACK_TO, "3")));
        assert!(
            deployment("x")
                .unwrap_err()
                .starts_with("failed to parse annotation[deprecated.deployment.rollback.to]=x")
        );
    }

    #[test]
    fn old_init_containers_go() {
        let pod = annotated(INIT_CONTAINERS[1], "[]");
        assert_eq!(settled("v1", "Pod", pod.clone()), Ok(json!({"metadata": {}})));
        let job = json!({"spec": {"jobTemplate": {"spec": {"template": pod}}}});
        let left = settled("batch/v1", "CronJob", job).unwrap();
        assert_eq!(
            left["spec"]["jobTemplate"]["spec"]["template"],
            json!({"metadata": {}})
        );
        assert_eq!(settled("v1", "Secret", pod.clone()), Ok(pod));
    }
}

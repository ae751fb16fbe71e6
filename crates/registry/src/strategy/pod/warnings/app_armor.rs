//! AppArmor profiles in annotations, from before they were fields.

use serde_json::Value;

use super::super::super::rules::At;
use super::super::annotations::APP_ARMOR;
use super::super::containers::each;
use super::{Warnings, annotation};

const DETAIL: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// `applyAppArmorVersionSkew`: Windows has no AppArmor.
pub(super) fn of_pod(pod: &At<'_, '_>) -> Warnings {
    let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
    let annotations = metadata.get("annotations");
    let mut warnings = Warnings::new();
    if spec.get("os").get("name").str() != "windows" {
        each(&spec, &mut |container| {
            warnings.extend(of_container(container, &annotations, &spec));
        });
    }
    warnings
}

/// The annotation is fine beside a field of the container, or if it says what the pod's field says.
pub(super) fn of_container(
    container: &At<'_, '_>,
    annotations: &At<'_, '_>,
    spec: &At<'_, '_>,
) -> Option<String> {
    let key = format!("{APP_ARMOR}{}", container.get("name").str());
    let noted = annotations.value.get(&key)?.as_str().unwrap_or_default();
    let profile = |at: &At<'_, '_>| at.value["securityContext"]["appArmorProfile"].clone();
    if !profile(container).is_null() || says(&profile(spec), noted) {
        return None;
    }
    annotation(annotations, &key, DETAIL)
}

fn says(profile: &Value, annotation: &str) -> bool {
    let (kind, path) = match annotation {
        "unconfined" => ("Unconfined", None),
        "runtime/default" => ("RuntimeDefault", None),
        _ => match annotation.strip_prefix("localhost/") {
            Some(path) if !path.is_empty() => ("Localhost", Some(path)),
            _ => return false,
        },
    };
    profile["type"] == kind && profile["localhostProfile"].as_str() == path
}

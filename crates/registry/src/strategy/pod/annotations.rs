//! Annotations that mean something: mirror pods, deletion cost, seccomp and AppArmor from before they were fields.

use serde_json::{Value, json};

use super::super::rules::{At, ErrorList, descending_path_messages};
use super::{MIRROR, containers};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub(super) const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

pub(super) const APP_ARMOR_DETAIL: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
/// `PATH_MAX` without its end.
const LOCALHOST_PROFILE_BYTES_MAX: usize = 4095;

/// What an annotation still asks for beside the container's field and its pod's, which it may repeat. `Some(None)` is a
/// profile that the field could not be.
#[expect(clippy::option_option, reason = "whether it asks, and for what")]
pub(super) fn app_armor_field(noted: &str, own: &Value, of_pod: &Value) -> Option<Option<Value>> {
    let profile = app_armor_profile(noted);
    (own.is_null() && profile.as_ref() != Some(of_pod)).then_some(profile)
}

/// The field for an annotation's profile; none for one that the field could not be.
fn app_armor_profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => {
            let path = annotation.strip_prefix("localhost/")?;
            let fits = !path.is_empty() && path.trim() == path && path.len() <= LOCALHOST_PROFILE_BYTES_MAX;
            fits.then(|| json!({"type": "Localhost", "localhostProfile": path}))
        }
    }
}

/// `ValidatePodSpecificAnnotations`.
pub(super) fn validate(at: &At<'_, '_>, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let mirror = at.key(MIRROR);
    if mirror.is_set() && spec.get("nodeName").is_empty() {
        mirror.invalid(errors, "must set spec.nodeName if mirror pod annotation is set");
    }
    let cost = at.key(DELETION_COST);
    if cost.is_set() && !is_cost(cost.str()) {
        cost.invalid(errors, "must be a 32bit integer");
    }
    let pod = at.get(SECCOMP_POD);
    if pod.is_set() {
        seccomp(&pod, errors);
    }
    for (key, _) in at.entries().filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER)) {
        seccomp(&at.get(key), errors);
    }
    for (key, value) in at.entries() {
        if let Some(container) = key.strip_prefix(APP_ARMOR) {
            app_armor(
                &at.key(key),
                container,
                value.as_str().unwrap_or_default(),
                spec,
                errors,
            );
        }
    }
}

/// No sign but minus, no leading zeros.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" || !digits.starts_with('0');
    text.parse::<i32>().is_ok() && !text.starts_with('+') && plain
}

fn seccomp(at: &At<'_, '_>, errors: &mut ErrorList) {
    let text = at.str();
    if matches!(text, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match text.strip_prefix("localhost/") {
        Some(path) => {
            for message in descending_path_messages(path) {
                at.invalid_as(errors, path, message);
            }
        }
        None => at.invalid(errors, "must be a valid seccomp profile"),
    }
}

fn app_armor(at: &At<'_, '_>, container: &str, profile: &str, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let mut found = false;
    containers::each(spec, &mut |own| found |= own.get("name").str() == container);
    if !found {
        at.invalid_as(errors, container, "container not found");
    }
    let known = matches!(profile, "" | "runtime/default" | "unconfined") || profile.starts_with("localhost/");
    if !known {
        let detail = format!("invalid AppArmor profile name: {}", corten_meta::quote(profile));
        at.invalid_as(errors, profile, &detail);
    }
}

/// Annotation and field say the same, where both are there.
pub(super) fn match_fields(at: &At<'_, '_>, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let context = spec.get("securityContext");
    let pod = context.get("seccompProfile");
    profiles_match(
        &pod,
        pod.value,
        at.key(SECCOMP_POD).value.as_str(),
        "seccomp",
        errors,
    );
    containers::each(spec, &mut |container| {
        let key = format!("{SECCOMP_CONTAINER}{}", container.get("name").str());
        let context = container.get("securityContext");
        let own = context.get("seccompProfile");
        profiles_match(&own, own.value, at.key(&key).value.as_str(), "seccomp", errors);
    });
    if spec.get("os").get("name").str() == "windows" {
        return;
    }
    let of_pod = context.get("appArmorProfile").value;
    containers::each(spec, &mut |container| {
        let key = format!("{APP_ARMOR}{}", container.get("name").str());
        let context = container.get("securityContext");
        let own = context.get("appArmorProfile");
        let profile = if own.is_set() { own.value } else { of_pod };
        profiles_match(&own, profile, at.key(&key).value.as_str(), "apparmor", errors);
    });
}

fn profiles_match(
    at: &At<'_, '_>,
    profile: &serde_json::Value,
    annotation: Option<&str>,
    what: &str,
    errors: &mut ErrorList,
) {
    let Some(annotation) = annotation.filter(|_| !profile.is_null()) else {
        return;
    };
    let type_matches = match profile["type"].as_str().unwrap_or_default() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => {
            annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default")
        }
        "Localhost" => annotation.starts_with("localhost/"),
        _ => return,
    };
    if !type_matches {
        let detail = format!("{what} type in annotation and field must match");
        return at.get("type").forbidden(errors, &detail);
    }
    if let Some(path) = annotation.strip_prefix("localhost/")
        && profile["localhostProfile"].as_str() != Some(path)
    {
        let detail = format!("{what} profile in annotation and field must match");
        at.get("localhostProfile").forbidden(errors, &detail);
    }
}

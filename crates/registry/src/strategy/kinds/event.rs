//! Events, as the core group judges them. What `events.k8s.io` asks for beyond that needs to know which group was
//! written to.

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{At, ErrorList, qualified};

const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// `legacyValidateEvent`.
pub(in crate::strategy) fn validate(event: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = At::root(event);
    let metadata = at.get("metadata");
    let namespace = metadata.get("namespace").str();
    let involved = at.get("involvedObject");
    let place = involved.get("namespace");
    let timed = at.get("eventTime").is_set();
    let matches = match (place.str(), timed) {
        ("", false) => matches!(namespace, "" | "default"),
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (stated, false) => stated == namespace,
        (_, true) => true,
    };
    if !matches {
        place.invalid_as(&mut errors, place.str(), "does not match event.namespace");
    }
    if timed {
        new_style(&at, &mut errors);
    }
    for message in names::is_dns1123_subdomain(namespace) {
        at.get("namespace").invalid_as(&mut errors, namespace, &message);
    }
    errors
}

/// What events with a time of their own must say.
fn new_style(at: &At<'_, '_>, errors: &mut ErrorList) {
    let reporter = at.get("reportingComponent");
    reporter.nonempty(errors);
    qualified(&reporter.with(&Value::from(reporter.str())), errors);
    for field in ["reportingInstance", "action", "reason"] {
        at.get(field).nonempty(errors);
        too_long(&at.get(field), TEXT_MAX, errors);
    }
    too_long(&at.get("message"), MESSAGE_MAX, errors);
}

fn too_long(at: &At<'_, '_>, max: usize, errors: &mut ErrorList) {
    if at.len() > max {
        at.invalid_as(errors, "", &format!("can have at most {max} characters"));
    }
}

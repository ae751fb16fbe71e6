//! Bodies that cannot be read, against the texts upstream answered.

use corten_schema::decode::{self, Media};
use corten_schema::{Mode, resources};
use serde_json::Value;

use crate::facts;

/// The resource that a recorded path names.
fn resource(path: &str) -> Option<&'static resources::Resource> {
    let path = path.split('?').next()?;
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let plural = match rest {
        ["namespaces", _, plural, ..] => *plural,
        [plural, ..] => *plural,
        [] => return None,
    };
    resources::lookup(group, version, plural)
}

#[test]
fn bodies_are_refused_in_upstreams_words() {
    let (mut failures, mut seen) = (Vec::new(), 0);
    for case in facts::cases() {
        let name = case["name"].as_str().unwrap();
        let request = &case["request"];
        let posted =
            ["wrong/", "request/"].iter().any(|p| name.starts_with(p)) && request["method"] == "POST";
        let media = request["contentType"].as_str().and_then(Media::parse);
        let (true, Some(media), Some(resource)) =
            (posted, media, resource(request["path"].as_str().unwrap()))
        else {
            continue;
        };
        let body = match &request["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let strict = request["path"]
            .as_str()
            .unwrap()
            .contains("fieldValidation=Strict");
        let mode = if strict { Mode::Strict } else { Mode::Warn };
        let decoded = decode::object(body.as_bytes(), media, &resource.gvk(), mode);
        let said = case["response"]["message"].as_str().unwrap_or_default();
        let of_decoding = case["status"] == 400 && !said.starts_with("the namespace of");
        match decoded {
            Err(status) if of_decoding && status.message == said => seen += 1,
            Ok(_) if !of_decoding => {}
            Err(status) => failures.push(format!("{name}: {}\n  against {said}", status.message)),
            Ok(_) => failures.push(format!("{name}: taken, against {said}")),
        }
    }
    assert!(seen > 8, "only {seen} cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn unknown_fields_are_warned_of() {
    let cm = corten_meta::GroupVersionKind::new("", "v1", "ConfigMap");
    let body = br#"{"metadata":{"name":"x"},"spec":{"a":1},"Data":{"b":"c"}}"#;
    let decoded = decode::object(body, Media::Json, &cm, Mode::Warn).unwrap();
    assert_eq!(
        decoded.warnings,
        ["unknown field \"spec\"", "unknown field \"Data\""]
    );
    assert_eq!(
        decoded.value,
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
    );
    assert!(
        decode::object(body, Media::Json, &cm, Mode::Ignore)
            .unwrap()
            .warnings
            .is_empty()
    );
}

//! Bodies that cannot be read, against the texts upstream answered.

use corten_schema::decode::{self, Media};
use corten_schema::{Mode, resources};
use serde_json::{Value, json};

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

/// Posts JSON of a kind and answers the error's end, or what came out.
fn read(group: &'static str, kind: &'static str, body: &Value, mode: Mode) -> Result<Value, String> {
    let gvk = corten_meta::GroupVersionKind::new(group, "v1", kind);
    match decode::object(body.to_string().as_bytes(), Media::Json, &gvk, mode) {
        Ok(decoded) => Ok(decoded.value),
        Err(status) => Err(status
            .message
            .split_once(&format!("handled as a {kind}: "))
            .map_or(status.message.clone(), |(_, error)| error.to_owned())),
    }
}

#[test]
fn wrong_types_are_placed_as_go_places_them() {
    const HEAD: &str = "json: cannot unmarshal";
    for (group, kind, body, error) in [
        (
            "",
            "PersistentVolume",
            json!({"spec": {"csi": []}}),
            "array into Go struct field PersistentVolumeSpec.spec.PersistentVolumeSource.csi of type v1.CSIPersistentVolumeSource",
        ),
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicy",
            json!({"spec": {"matchConstraints": {"resourceRules": [{"apiGroups": {}}]}}}),
            "object into Go struct field NamedRuleWithOperations.spec.matchConstraints.resourceRules.RuleWithOperations.Rule.apiGroups of type []string",
        ),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"targetPort": {}}]}}),
            "object into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"targetPort": 3.5}]}}),
            "number 3.5 into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (
            "",
            "Node",
            json!({"spec": {"taints": [{"timeAdded": 1}]}}),
            "number into Go struct field Taint.spec.taints.timeAdded of type string",
        ),
    ] {
        let said = read(group, kind, &body, Mode::Warn).unwrap_err();
        assert_eq!(said, format!("{HEAD} {error}"));
    }
}

/// Base64 is checked by the decoder itself, which reads on; a type's own reader ends the reading.
#[test]
fn a_types_own_error_wins_over_earlier_ones() {
    let body = json!({"binaryData": {"a": "Bad_Name!"}});
    let said = read("", "ConfigMap", &body, Mode::Warn).unwrap_err();
    assert_eq!(said, "illegal base64 data at input byte 3");
    let body = json!({"metadata": {"name": 1}, "spec": {"ports": [{"targetPort": []}]}});
    let said = read("", "Service", &body, Mode::Warn).unwrap_err();
    assert!(said.ends_with("targetPort of type int32"), "{said}");
}

#[test]
fn schemas_that_decode_themselves_are_not_searched_for_unknown_fields() {
    let definition = |schema: Value| {
        let version = json!({"schema": {"openAPIV3Schema": schema}});
        json!({"spec": {"versions": [version]}})
    };
    let read = |schema: Value| {
        let group = "apiextensions.k8s.io";
        read(
            group,
            "CustomResourceDefinition",
            &definition(schema),
            Mode::Strict,
        )
    };
    for within in ["items", "additionalProperties", "not"] {
        let taken = read(json!({within: {"properties": {"a": {"odd": 1}}}}));
        assert_eq!(taken.is_ok(), within != "not", "{within}: {taken:?}");
    }
    let taken = read(json!({"items": "x"})).unwrap();
    let items = &taken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["items"];
    assert_eq!(items, &json!([]));
    let said = read(json!({"type": 1, "items": {"type": []}})).unwrap_err();
    let place = "JSONSchemaProps.spec.versions.schema.openAPIV3Schema.items.type";
    assert_eq!(
        said,
        format!("json: cannot unmarshal array into Go struct field {place} of type string")
    );
}

#[test]
fn kinds_that_no_scheme_has_are_named_with_the_scheme() {
    for (group, kind, scheme) in [
        ("", "Pod", "pkg/api/legacyscheme/scheme.go:30"),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "pkg/apiserver/apiserver.go:55",
        ),
        (
            "apiregistration.k8s.io",
            "APIService",
            "pkg/apiserver/scheme/scheme.go:28",
        ),
    ] {
        let said = read(
            group,
            kind,
            &json!({"apiVersion": "v9", "kind": kind}),
            Mode::Warn,
        )
        .unwrap_err();
        assert!(said.ends_with(&format!("in scheme {scheme:?}")), "{said}");
    }
}

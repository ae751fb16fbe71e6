//! A Deployment's recorded life, patch by patch: its spec after each, and who owns what at the end.

use corten_meta::{GroupVersionKind, Status, patch};
use corten_schema::apply::{self, Write, reset_fields};
use corten_schema::decode::{self, Media};
use corten_schema::{Mode, default, strategic, type_of};
use serde_json::{Value, json};

use crate::facts;
use crate::golden::differs;

fn gvk() -> GroupVersionKind {
    GroupVersionKind::new("apps", "v1", "Deployment")
}

fn formed(value: Value) -> Result<Value, Status> {
    let mut value = decode::as_kind(value, &gvk(), Mode::Warn)?.value;
    default(type_of(&gvk()).unwrap(), &mut value);
    Ok(value)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The object after one recorded request, `None` for requests that are not about it.
fn step(request: &Value, live: Option<&Value>, second: usize) -> Option<Result<Value, Status>> {
    let gvk = gvk();
    let path = request["path"].as_str()?;
    let named = path
        .split("fieldManager=")
        .nth(1)
        .map_or("", |p| p.split('&').next().unwrap());
    let manager = apply::manager_name(named, "Python-urllib/3.11");
    let now = format!("2026-01-01T00:00:{second:02}Z");
    let write = Write {
        gvk: &gvk,
        manager: &manager,
        subresource: "",
        now: &now,
        reset: reset_fields(&gvk, "", true),
    };
    let body = text(&request["body"]);
    if request["contentType"] == "application/apply-patch+yaml" {
        if named.is_empty() {
            return None;
        }
        let config = decode::yaml_value(body.as_bytes()).unwrap();
        return Some(apply::apply(&write, live, &config, path.contains("force=true")).and_then(formed));
    }
    let id = type_of(&gvk).unwrap();
    let patched = match (
        request["method"].as_str()?,
        request["contentType"].as_str()?,
        live,
    ) {
        ("POST", _, None) => {
            decode::object(body.as_bytes(), Media::Json, &gvk, Mode::Strict).map(|d| d.value)
        }
        ("PATCH", "application/strategic-merge-patch+json", Some(live)) => {
            strategic::merge(id, live, &request["body"])
        }
        ("PATCH", "application/json-patch+json", Some(live)) => {
            let mut out = live.clone();
            patch::json_patch(&mut out, &request["body"]).map(|()| out)
        }
        ("PATCH", "application/merge-patch+json", Some(live)) => {
            let mut out = live.clone();
            patch::merge_patch(&mut out, &request["body"]);
            Ok(out)
        }
        _ => return None,
    };
    Some(patched.and_then(formed).map(|mut new| {
        apply::update(&write, live, &mut new);
        new
    }))
}

#[test]
fn a_deployments_life() {
    let mut live: Option<Value> = None;
    let (mut failures, mut seen) = (Vec::new(), 0);
    for (i, case) in facts::cases().iter().enumerate() {
        let (name, path) = (
            case["name"].as_str().unwrap(),
            case["request"]["path"].as_str().unwrap(),
        );
        let on_it =
            path.contains("/deployments/d?") || path.ends_with("/deployments/d") || name == "life/create";
        if name == "life/managed-fields" {
            break;
        }
        if !name.starts_with("life/") || !on_it || name == "life/immutable-selector" {
            continue;
        }
        let Some(outcome) = step(&case["request"], live.as_ref(), i % 60) else {
            continue;
        };
        seen += 1;
        match outcome {
            Ok(new) if case["response"]["kind"] == "Deployment" => {
                let spec = differs(&new["spec"], &case["response"]["spec"], ".spec");
                failures.extend(spec.map(|d| format!("{name}: {d}")));
                let mut new = new;
                new["metadata"]["uid"] = json!("u");
                live = Some(new);
            }
            Err(status) => {
                let mut got = status.to_json();
                got["metadata"] = json!({});
                failures.extend(differs(&got, &case["response"], "").map(|d| format!("{name}: {d}")));
            }
            Ok(_) => failures.push(format!("{name}: taken")),
        }
    }
    assert!(seen > 12, "only {seen} steps");
    failures.extend(owners(&live.unwrap()));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn owners(object: &Value) -> Vec<String> {
    let cases = facts::cases();
    let recorded = cases.iter().find(|c| c["name"] == "life/managed-fields").unwrap();
    let wanted = recorded["managedFields"].as_array().unwrap();
    let got = object["metadata"]["managedFields"].as_array().unwrap();
    let find = |manager: &str| {
        got.iter()
            .find(|e| e["manager"] == manager)
            .cloned()
            .unwrap_or_default()
    };
    let ours = wanted
        .iter()
        .filter(|e| e["manager"] != "kube-controller-manager");
    ours.filter_map(|want| {
        let manager = want["manager"].as_str().unwrap();
        let got = find(manager);
        let fields = differs(&got["fieldsV1"], &want["fieldsV1"], manager);
        fields.or_else(|| differs(&got["operation"], &want["operation"], manager))
    })
    .collect()
}

//! Requests that upstream's v1.36.2 server answered, sent to ours in their order, and the answers compared
//! (`tests/data/recorded.jsonl`, written by `cargo xtask codegen`).

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Harness, Reply};

const RECORDED: &str = include_str!("../data/recorded.jsonl");

/// Parts of an answer that come from components which do not run here, or that differ each time.
const NOT_COMPARED: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "continue",
    "remainingItemCount",
    "deletionTimestamp",
];
/// Kept for their presence only.
const MADE_UP: [&str; 8] = [
    "clusterIP",
    "clusterIPs",
    "nodePort",
    "lastTransitionTime",
    "lastUpdateTime",
    "renewTime",
    "acquireTime",
    "expirationTimestamp",
];
/// Lists that are sets.
const SETS: [&str; 4] = ["causes", "resourceRules", "nonResourceRules", "nonResourceURLs"];

/// Cases that are answered otherwise, and why.
const OPEN: [(&str, &str); 1] = [(
    "wrong/crd",
    "validation of custom resource definitions is not written yet",
)];

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_as_upstream_answers_them() {
    let h = Harness::start().await;
    h.post("/api/v1/namespaces", json!({"metadata": {"name": "oracle"}}))
        .await
        .ok();
    let accounts = "/api/v1/namespaces/oracle/serviceaccounts";
    h.post(accounts, json!({"metadata": {"name": "default"}}))
        .await
        .ok();
    let root = json!({"metadata": {"name": "kube-root-ca.crt"}});
    h.post("/api/v1/namespaces/oracle/configmaps", root).await.ok();
    let (mut asked, mut report) = (0, String::new());
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        if name.starts_with("list/") && asked_first(&h).await {
            for n in 0..5 {
                let parity = if n % 2 == 0 { "even" } else { "odd" };
                let metadata = json!({"name": format!("l{n}"), "labels": {"i": n.to_string(), "p": parity}});
                h.post(
                    "/api/v1/namespaces/oracle/configmaps",
                    json!({"metadata": metadata}),
                )
                .await
                .ok();
            }
        }
        let reply = send(&h, &case).await;
        if OPEN.iter().any(|(open, _)| *open == name) {
            continue;
        }
        asked += 1;
        let differences = compare(&case, &reply);
        if !differences.is_empty() {
            let _ = writeln!(report, "{name}\n{differences}");
        }
    }
    assert!(asked > 140, "only {asked} cases");
    assert!(report.is_empty(), "{report}");
}

/// Whether the objects that are listed are not there yet.
async fn asked_first(h: &Harness) -> bool {
    h.get("/api/v1/namespaces/oracle/configmaps/l0").await.code == 404
}

async fn send(h: &Harness, case: &Value) -> Reply {
    let (method, path) = (
        case["send"][0].as_str().unwrap(),
        case["send"][1].as_str().unwrap(),
    );
    let mut body = match &case["body"] {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(text.clone()),
        object => Bytes::from(object.to_string()),
    };
    if case["case"] == "life/stale-put" {
        let mut object = h.get(path).await.ok();
        object["metadata"]["resourceVersion"] = json!("1");
        body = Bytes::from(object.to_string());
    }
    let mut request = h
        .request(method, path, ADMIN)
        .header("user-agent", "Python-urllib/3.11")
        .header("accept", case["accept"].as_str().unwrap_or("application/json"));
    if method != "GET" && !body.is_empty() {
        request = request.header(
            "content-type",
            case["type"].as_str().unwrap_or("application/json"),
        );
    }
    h.whole(request.body(Full::new(body)).unwrap()).await
}

fn compare(case: &Value, reply: &Reply) -> String {
    let mut out = String::new();
    if case["code"] != reply.code {
        let _ = writeln!(out, "  code: {} became {}", case["code"], reply.code);
    }
    let warnings: Vec<&str> = reply
        .headers
        .get_all("warning")
        .iter()
        .map(|w| w.to_str().unwrap())
        .collect();
    let wanted: Vec<&str> = case["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|w| w.as_str().unwrap())
        .collect();
    if warnings != wanted {
        let _ = writeln!(out, "  warnings: {wanted:?} became {warnings:?}");
    }
    let got: Value = serde_json::from_slice(&reply.body).unwrap_or_else(|_| json!({"raw": reply.text()}));
    if let Value::Array(names) = &case["names"] {
        let items = got["items"].as_array().into_iter().flatten();
        let got: Vec<&Value> = items.map(|item| &item["metadata"]["name"]).collect();
        if got != names.iter().collect::<Vec<_>>() {
            let _ = writeln!(out, "  names: {names:?} became {got:?}");
        }
    } else if case["managers"].is_array() {
        differ(&case["managers"], &managers(&got), "managers", &mut out);
    } else {
        let (mut wanted, mut got) = (case["answer"].clone(), got);
        settle(&mut wanted, "");
        settle(&mut got, "");
        differ(&wanted, &got, "", &mut out);
    }
    out
}

/// What the named managers own outside subresources, in the order of the record.
fn managers(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array();
    let own = entries.into_iter().flatten().filter(|entry| {
        (entry["manager"] == "one" || entry["manager"] == "two") && entry["subresource"].is_null()
    });
    Value::Array(
        own.map(|e| json!([e["manager"], e["operation"], e["fieldsV1"]]))
            .collect(),
    )
}

/// Takes out what differs each time and puts sets in order.
fn settle(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            let is_deployment = map.get("kind").is_some_and(|kind| kind == "Deployment");
            if is_deployment {
                // The deployment controller's, as the annotation is.
                map.remove("status");
            }
            if map
                .get("annotations")
                .is_some_and(|all| all["deployment.kubernetes.io/revision"].is_string())
            {
                map.remove("annotations");
            }
            // Upstream joins causes and unknown fields in the order of a Go map.
            let has_causes = map
                .get("details")
                .is_some_and(|details| details["causes"].is_array());
            if has_causes {
                map.remove("message");
            }
            if let Some(Value::String(message)) = map.get_mut("message")
                && let Some((head, tail)) = message.split_once("strict decoding error: ")
            {
                let mut parts: Vec<&str> = tail.split(", ").collect();
                parts.sort_unstable();
                *message = format!("{head}{}", parts.join(", "));
            }
            // A role of the recording's distribution.
            if let Some(Value::Array(rules)) = map.get_mut("nonResourceRules") {
                rules.retain(|rule| rule["nonResourceURLs"] != json!(["/.well-known", "/.well-known/*"]));
            }
            if map.get("kind").is_some_and(|kind| kind == "Table") {
                let rows = map.get("rows").and_then(Value::as_array).map_or(0, Vec::len);
                map.insert("rows".to_owned(), json!(rows));
            }
            let is_column = map.contains_key("priority") && map.contains_key("format");
            map.retain(|key, _| {
                !NOT_COMPARED.contains(&key.as_str())
                    && !MADE_UP.contains(&key.as_str())
                    && !(is_column && key == "description")
            });
            map.iter_mut().for_each(|(key, value)| settle(value, key));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| settle(item, ""));
            if SETS.contains(&key) {
                items.sort_by_key(Value::to_string);
            }
        }
        Value::String(text) => *text = anonymous(text),
        _ => {}
    }
}

/// A text without names, ids and times that the server makes up.
fn anonymous(text: &str) -> String {
    if text.starts_with("kube-api-access-") {
        return "kube-api-access-".to_owned();
    }
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "-_:.<>".contains(c))) {
        let core = word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '>'));
        let is_id = core == "<uid>" || (core.len() == 36 && core.matches('-').count() == 4);
        let is_random = core.starts_with("Bad_") && core != "Bad_";
        match () {
            () if is_id => out.push_str("<uid>"),
            () if is_random => out.push_str("Bad_<random>"),
            () => {
                out.push_str(word);
                continue;
            }
        }
        out.push_str(&word[core.len()..]);
    }
    out
}

fn differ(wanted: &Value, got: &Value, path: &str, out: &mut String) {
    if wanted == got {
        return;
    }
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let extra = got.keys().filter(|key| !wanted.contains_key(*key));
            for key in wanted.keys().chain(extra) {
                let (a, b) = (wanted.get(key), got.get(key));
                differ(
                    a.unwrap_or(&Value::Null),
                    b.unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                    out,
                );
            }
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            for (index, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                differ(wanted, got, &format!("{path}[{index}]"), out);
            }
        }
        _ => {
            let _ = writeln!(out, "  {path}: {wanted} became {got}");
        }
    }
}

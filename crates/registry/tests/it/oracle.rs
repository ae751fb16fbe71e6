//! What upstream's server said to whole and to wrong objects, asked of ours (`shared/kubernetes/oracle/cases.jsonl`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use corten_meta::GroupVersionKind;
use corten_registry::CreateOptions;
use corten_schema::decode::{self, Media};
use corten_schema::{Mode, resources};
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// Cases whose answer does not come from the registry: decoding, admission, virtual kinds.
const ELSEWHERE: &[&str] = &[
    "golden/authorization.k8s.io.",
    "golden/authentication.k8s.io.",
    "golden/core.v1.Binding",
    "golden/core.v1.Pod",
    "wrong/namespace-mismatch",
    "wrong/wrong-kind",
    "wrong/wrong-group",
    "wrong/bad-quantity",
    "wrong/int-for-string",
    "wrong/list-for-map",
    "wrong/priority-class-missing",
    "wrong/serviceaccount-missing",
    "wrong/cm-bad-key",
    "wrong/quota-bad",
    "wrong/crd",
];

/// Stands for what is different each time.
const VOLATILE: &str = "<volatile>";
/// Metadata that the registry does not write, or not in a dry run.
const NOT_COMPARED: [&str; 2] = ["managedFields", "resourceVersion"];

/// Kinds whose validation is not written yet.
const TO_DO: &[&str] = &[];

fn cases() -> Vec<Value> {
    let shared = std::env::var_os("CORTEN_SHARED").map(PathBuf::from);
    let shared =
        shared.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let text = std::fs::read_to_string(shared.join("kubernetes/oracle/cases.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn expected(case: &Value) -> Vec<String> {
    causes(&case["response"])
}

fn causes(status: &Value) -> Vec<String> {
    let list = status["details"]["causes"].as_array().into_iter().flatten();
    let mut causes: Vec<String> = list
        .map(|cause| format!("{} {}: {}", cause["reason"], cause["field"], cause["message"]))
        .collect();
    // Upstream's order follows Go maps in places.
    causes.sort();
    causes
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_judged_as_upstream_judges_them() {
    let fixture = Fixture::open().await;
    fixture
        .create("", "namespaces", "", json!({"metadata": {"name": "oracle"}}))
        .await
        .unwrap();
    fixture
        .create(
            "",
            "serviceaccounts",
            "oracle",
            json!({"metadata": {"name": "default"}}),
        )
        .await
        .unwrap();
    let mut report = String::new();
    let (mut asked, mut skipped) = (0, BTreeMap::new());
    for case in cases() {
        let name = case["name"].as_str().unwrap_or_default();
        let group = name.split('/').next().unwrap_or_default();
        let ours = matches!(group, "golden" | "least" | "wrong") && case["request"]["method"] == "POST";
        if !ours || ELSEWHERE.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if TO_DO.iter().any(|kind| name.contains(kind)) {
            *skipped.entry(name.to_owned()).or_insert(0) += 1;
            continue;
        }
        asked += 1;
        let difference = ask(&fixture, &case).await;
        if !difference.is_empty() {
            let _ = writeln!(report, "{name}\n{difference}");
        }
    }
    assert!(
        report.is_empty(),
        "{asked} cases, {} left out\n{report}",
        skipped.len()
    );
}

async fn ask(fixture: &Fixture, case: &Value) -> String {
    let request = &case["request"];
    let path = request["path"]
        .as_str()
        .unwrap_or_default()
        .split('?')
        .next()
        .unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return "path".to_owned(),
    };
    let (namespace, plural) = match rest {
        ["namespaces", namespace, plural] => (*namespace, *plural),
        [plural] => ("", *plural),
        _ => return "path".to_owned(),
    };
    let Some(row) = resources::lookup(group, version, plural) else {
        return "no resource".to_owned();
    };
    let gvk = GroupVersionKind::new(group.to_owned(), version.to_owned(), row.kind);
    let body = request["body"].to_string();
    let decoded = match decode::object(body.as_bytes(), Media::Json, &gvk, Mode::Ignore) {
        Ok(decoded) => decoded,
        Err(status) => return format!("  not decoded: {}\n", status.message),
    };
    let mut value = decoded.value;
    if let Some(id) = corten_schema::type_of(&gvk) {
        corten_schema::default(id, &mut value);
    }
    let storage = row.storage_resource();
    let Some(resource) = fixture.registry.resource(storage.group, storage.plural) else {
        return "  not stored\n".to_owned();
    };
    if (storage.group, storage.version) != (group, version) {
        return String::new();
    }
    let ctx = crate::fixture::context().with_dry_run(true);
    let outcome = fixture
        .registry
        .create(&ctx, &resource, namespace, value, &CreateOptions::default())
        .await;
    let got = match outcome {
        Ok(created) => {
            let (wanted, created) = (&case["response"], created.value().unwrap());
            if wanted["kind"] == created["kind"] {
                return object_difference("", wanted, &created);
            }
            Vec::new()
        }
        Err(status) => {
            let causes = causes(&status.to_json());
            if causes.is_empty() {
                vec![format!("{} {}", status.code, status.message)]
            } else {
                causes
            }
        }
    };
    difference(&expected(case), &got)
}

/// Names and ids that the server makes up.
fn is_random(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let is_uid = text.len() == 36 && text.matches('-').count() == 4;
    is_uid || text.starts_with("kube-api-access-")
}

/// What differs between two objects, except for what is different each time.
fn object_difference(path: &str, wanted: &Value, got: &Value) -> String {
    if wanted == got || wanted == VOLATILE || (is_random(wanted) && is_random(got)) {
        return String::new();
    }
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let keys: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
            let null = Value::Null;
            let of =
                |map: &'_ serde_json::Map<String, Value>, key: &String| map.get(key).unwrap_or(&null).clone();
            keys.into_iter()
                .filter(|key| !(path == ".metadata" && NOT_COMPARED.contains(&key.as_str())))
                .map(|key| object_difference(&format!("{path}.{key}"), &of(wanted, key), &of(got, key)))
                .collect()
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => wanted
            .iter()
            .zip(got)
            .enumerate()
            .map(|(index, (wanted, got))| object_difference(&format!("{path}[{index}]"), wanted, got))
            .collect(),
        _ => format!("  {path}: {wanted} became {got}\n"),
    }
}

fn difference(expected: &[String], got: &[String]) -> String {
    let mut text = String::new();
    for line in expected.iter().filter(|line| !got.contains(line)) {
        let _ = writeln!(text, "  missing {line}");
    }
    for line in got.iter().filter(|line| !expected.contains(line)) {
        let _ = writeln!(text, "  extra   {line}");
    }
    text
}

//! `/api`, `/apis` and below: what is served, in the legacy form and aggregated (apidiscovery.k8s.io v2 and v2beta1).

use bytes::Bytes;
use corten_meta::{Status, api_version};
use corten_schema::resources::{self, Resource, Subresource};
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::aggregator::{Aggregator, merged_aggregated, merged_group, merged_groups};
use crate::body::Body;
use crate::call::Call;
use crate::negotiate;
use crate::respond::{self, Answer};

/// Answers any discovery path (no trailing slash).
///
/// # Errors
/// 405 for anything but GET.
pub fn answer(call: &Call, path: &str) -> Result<Answer, Status> {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let remote = &call.server.aggregator;
    let document = match parts[..] {
        ["api" | "apis"] => return root(call, parts[0] == "api"),
        ["api", version] => resource_list("", version),
        ["apis", group] => merged_group(remote, group, group_document(group)).map(|mut g| {
            g["kind"] = json!("APIGroup");
            g["apiVersion"] = json!("v1");
            g
        }),
        ["apis", group, version] if !group.is_empty() => resource_list(group, version),
        _ => None,
    };
    match document {
        Some(value) => respond::object(StatusCode::OK, &value, call.plain_answer()?),
        None => Ok(respond::not_found_text()),
    }
}

fn root(call: &Call, core: bool) -> Result<Answer, Status> {
    if let Some(version) = wants_aggregated(call.accept()) {
        return Ok(aggregated(call, core, version));
    }
    let value = if core {
        let address = &call.server.options.advertise;
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })
    } else {
        let groups: Vec<Value> = groups()
            .filter(|g| !g.is_empty())
            .filter_map(group_document)
            .collect();
        let groups = merged_groups(&call.server.aggregator, groups);
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    };
    let mut answer = respond::object(StatusCode::OK, &value, call.plain_answer()?)?;
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

/// The version of apidiscovery.k8s.io asked for, where the best clause asks for that at all.
fn wants_aggregated(accept: Option<&str>) -> Option<&'static str> {
    for clause in negotiate::clauses(accept.unwrap_or_default()) {
        let aggregated = clause.param("as") == Some("APIGroupDiscoveryList")
            && clause.param("g") == Some("apidiscovery.k8s.io");
        match clause.param("v") {
            _ if !clause.admits("application/json") => {}
            Some("v2") if aggregated => return Some("v2"),
            Some("v2beta1") if aggregated => return Some("v2beta1"),
            _ if clause.param("as").is_none() => return None,
            _ => {}
        }
    }
    None
}

fn aggregated(call: &Call, core: bool, version: &'static str) -> Answer {
    let text = aggregated_document(&call.server.aggregator, core, version);
    let tag = format!("\"{}\"", hex(&Sha256::digest(&text)));
    let content_type = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    let same = call.header(IF_NONE_MATCH) == Some(&tag);
    let mut answer = if same {
        respond::bytes(StatusCode::NOT_MODIFIED, content_type, Body::Empty)
    } else {
        respond::bytes(StatusCode::OK, content_type, text)
    };
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            let _ = std::fmt::Write::write_fmt(&mut out, format_args!("{b:02X}"));
            out
        })
}

/// The document of `/api` or `/apis` for clients that take it whole.
fn aggregated_document(remote: &Aggregator, core: bool, version: &str) -> Bytes {
    let items: Vec<Value> = groups()
        .filter(|g| g.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = versions_of(group).map(|v| aggregated_version(group, v)).collect();
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let items = if core {
        items
    } else {
        merged_aggregated(remote, items)
    };
    let value = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    Bytes::from(serde_json::to_vec(&value).unwrap_or_default())
}

fn aggregated_version(group: &str, version: &str) -> Value {
    let resources: Vec<Value> = of_version(group, version).map(aggregated_resource).collect();
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn aggregated_resource(r: &Resource) -> Value {
    let mut out = json!({
        "resource": r.plural,
        "responseKind": {"group": "", "version": "", "kind": r.kind},
        "scope": if r.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": r.singular,
        "verbs": r.verbs,
    });
    add_names(&mut out, r);
    if !r.subresources.is_empty() {
        let sub = |s: &Subresource| {
            json!({
                "subresource": s.name,
                "responseKind": {"group": s.group, "version": s.version, "kind": s.kind},
                "verbs": s.verbs,
            })
        };
        out["subresources"] = r.subresources.iter().map(sub).collect();
    }
    out
}

fn add_names(out: &mut Value, r: &Resource) {
    if !r.short_names.is_empty() {
        out["shortNames"] = json!(r.short_names);
    }
    if !r.categories.is_empty() {
        out["categories"] = json!(r.categories);
    }
}

/// Groups in discovery order, each once.
fn groups() -> impl Iterator<Item = &'static str> {
    let all = resources::versions();
    all.iter()
        .enumerate()
        .filter(|(i, v)| all[..*i].iter().all(|w| w.group != v.group))
        .map(|(_, v)| v.group)
}

fn versions_of(group: &str) -> impl Iterator<Item = &'static str> {
    resources::versions()
        .iter()
        .filter(move |v| v.group == group)
        .map(|v| v.version)
}

fn of_version(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    resources::all()
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

fn group_document(group: &str) -> Option<Value> {
    let versions: Vec<Value> = versions_of(group)
        .map(|version| json!({"groupVersion": api_version(group, version), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    if group.is_empty() {
        return None;
    }
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

/// The APIResourceList of a version.
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    resources::versions()
        .iter()
        .find(|v| v.group == group && v.version == version)?;
    let mut list = Vec::new();
    for r in of_version(group, version) {
        let mut out = json!({
            "name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind, "verbs": r.verbs,
        });
        add_names(&mut out, r);
        if !r.storage_version_hash.is_empty() {
            out["storageVersionHash"] = json!(r.storage_version_hash);
        }
        list.push(out);
        list.extend(r.subresources.iter().map(|s| legacy_subresource(r, s)));
    }
    let mut out =
        json!({"kind": "APIResourceList", "groupVersion": api_version(group, version), "resources": list});
    if !group.is_empty() {
        out["apiVersion"] = json!("v1");
    }
    Some(out)
}

fn legacy_subresource(r: &Resource, s: &Subresource) -> Value {
    let mut out = Map::new();
    out.insert("name".into(), json!(format!("{}/{}", r.plural, s.name)));
    out.insert("singularName".into(), json!(""));
    out.insert("namespaced".into(), json!(r.namespaced));
    if !s.version.is_empty() {
        out.insert("group".into(), json!(s.group));
        out.insert("version".into(), json!(s.version));
    }
    out.insert("kind".into(), json!(s.kind));
    out.insert("verbs".into(), json!(s.verbs));
    Value::Object(out)
}

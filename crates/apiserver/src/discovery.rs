//! `/api`, `/apis` and below: what is served, in the legacy form and aggregated (apidiscovery.k8s.io/v2).

use corten_meta::{Status, api_version};
use corten_schema::resources::{Resource, Selection, Subresource};
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::aggregator::{merged_aggregated, merged_group, merged_groups};
use crate::body::Body;
use crate::call::Call;
use crate::catalog::Served;
use crate::custom::Kinds;
use crate::negotiate::{self, Accepted, Format};
use crate::respond::{self, Answer};

/// Answers any discovery path (no trailing slash).
///
/// Built-in versions and `/api` have a router, with what it refuses; the others are answered whatever the method.
///
/// # Errors
/// 404 below what a router has; 405 and 406.
pub fn answer(call: &Call, path: &str) -> Result<Answer, Status> {
    let (kinds, on) = (call.server.catalog.custom(), call.server.catalog.selection());
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let remote = &call.server.aggregator;
    let catalog = &call.server.catalog;
    let routed = match parts[..] {
        ["api", ..] => true,
        ["apis", group, _, ..] => catalog.is_builtin_group(group),
        _ => false,
    };
    let document = match parts[..] {
        ["api" | "apis"] => return root(call, parts[0] == "api"),
        ["api", version] => resource_list(on, &kinds, "", version),
        ["apis", group] => merged_group(remote, group, group_document(on, &kinds, group)).map(|mut g| {
            g["kind"] = json!("APIGroup");
            g["apiVersion"] = json!("v1");
            g
        }),
        ["apis", group, version] if !group.is_empty() => resource_list(on, &kinds, group, version),
        _ => None,
    };
    match document {
        Some(value) => object(call, &value, routed),
        None if routed => Err(Status::unknown_path()),
        None => Ok(respond::not_found_text()),
    }
}

fn object(call: &Call, value: &Value, routed: bool) -> Result<Answer, Status> {
    if routed && call.method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    respond::object(StatusCode::OK, value, call.discovery_answer(routed)?)
}

fn root(call: &Call, core: bool) -> Result<Answer, Status> {
    let other_method = core && call.method != Method::GET;
    if let Some(accepted) = negotiate::accept_aggregated(call.accept()).filter(|_| !other_method) {
        return aggregated(call, core, accepted.indented(call.pretty()));
    }
    let value = if core {
        let address = &call.server.options.advertise;
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })
    } else {
        let (kinds, on) = (call.server.catalog.custom(), call.server.catalog.selection());
        let groups: Vec<Value> = groups(on, &kinds)
            .into_iter()
            .filter(|g| !g.is_empty())
            .filter_map(|group| group_document(on, &kinds, group))
            .collect();
        let groups = merged_groups(&call.server.aggregator, groups);
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    };
    object(call, &value, core)
}

/// The whole of `/api` or `/apis` in one document, with a tag that is of what it says and not of how.
fn aggregated(call: &Call, core: bool, accepted: Accepted) -> Result<Answer, Status> {
    let value = aggregated_document(call, core);
    let text = serde_json::to_vec(&value).map_err(Status::internal)?;
    let tag = format!("\"{}\"", hex(&Sha256::digest(&text)));
    let content_type = match accepted.format {
        Format::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Format::Protobuf => {
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        }
    };
    let mut answer = match call.header(IF_NONE_MATCH) == Some(&tag) {
        true => respond::bytes(StatusCode::NOT_MODIFIED, content_type, Body::Empty),
        false => respond::bytes(StatusCode::OK, content_type, respond::encode(&value, accepted)?),
    };
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(ETAG, HeaderValue::try_from(tag).map_err(Status::internal)?);
    Ok(answer)
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
fn aggregated_document(call: &Call, core: bool) -> Value {
    let (custom, on) = (call.server.catalog.custom(), call.server.catalog.selection());
    let (remote, kinds) = (&call.server.aggregator, custom.as_ref());
    let items: Vec<Value> = groups(on, kinds)
        .into_iter()
        .filter(|g| g.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = versions_of(on, kinds, group)
                .into_iter()
                .map(|v| aggregated_version(on, kinds, group, v))
                .collect();
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
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_version(on: &Selection, kinds: &Kinds, group: &str, version: &str) -> Value {
    let builtin = of_version(on, group, version).map(aggregated_resource);
    let custom = kinds.of_version(group, version);
    let custom = custom.into_iter().map(|served| aggregated_custom(served));
    let resources: Vec<Value> = builtin.chain(custom).collect();
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

/// Custom kinds name group and version where built-in ones leave them to the reader.
fn aggregated_custom(served: &Served) -> Value {
    let row = served.schema;
    let mut out = aggregated_resource(row);
    let own = json!({"group": row.group, "version": row.version, "kind": row.kind});
    out["responseKind"] = own.clone();
    out["verbs"] = json!(verbs(served));
    if let Some(subresources) = out.get_mut("subresources").and_then(Value::as_array_mut) {
        let same_kind = subresources.iter_mut().filter(|s| s["subresource"] == "status");
        same_kind.for_each(|s| s["responseKind"] = own.clone());
    }
    out
}

/// Nothing is created or changed any more while the definition is being deleted.
fn verbs(served: &Served) -> &'static [&'static str] {
    match &served.custom {
        Some(kind) if kind.terminating => &["delete", "deletecollection", "get", "list", "watch"],
        _ => served.schema.verbs,
    }
}

fn add_names(out: &mut Value, r: &Resource) {
    if !r.short_names.is_empty() {
        out["shortNames"] = json!(r.short_names);
    }
    if !r.categories.is_empty() {
        out["categories"] = json!(r.categories);
    }
}

/// Groups in discovery order, each once: the built-in ones, then those of custom kinds.
fn groups<'a>(on: &Selection, kinds: &'a Kinds) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    let builtin = on.versions().map(|v| v.group);
    for group in builtin.chain(kinds.versions().iter().map(|(group, _)| group.as_str())) {
        if !out.contains(&group) {
            out.push(group);
        }
    }
    out
}

fn versions_of<'a>(on: &Selection, kinds: &'a Kinds, group: &str) -> Vec<&'a str> {
    let builtin = on.versions().filter(|v| v.group == group);
    let mut out: Vec<&str> = builtin.map(|v| v.version).collect();
    for (_, version) in kinds.versions().iter().filter(|(g, _)| g == group) {
        if !out.contains(&version.as_str()) {
            out.push(version);
        }
    }
    out
}

fn of_version(on: &Selection, group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    on.resources()
        .filter(move |r| r.group == group && r.version == version)
}

fn group_document(on: &Selection, kinds: &Kinds, group: &str) -> Option<Value> {
    let versions: Vec<Value> = versions_of(on, kinds, group)
        .into_iter()
        .map(|version| json!({"groupVersion": api_version(group, version), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    if group.is_empty() {
        return None;
    }
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

/// The APIResourceList of a version.
pub fn resource_list(on: &Selection, kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    versions_of(on, kinds, group)
        .into_iter()
        .find(|v| *v == version)?;
    let mut list = Vec::new();
    let builtin = of_version(on, group, version).map(|r| (r, r.verbs));
    let custom = kinds.of_version(group, version);
    let custom = custom.into_iter().map(|served| (served.schema, verbs(served)));
    for (r, verbs) in builtin.chain(custom) {
        let mut out = json!({
            "name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind, "verbs": verbs,
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

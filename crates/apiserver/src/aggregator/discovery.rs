//! Discovery documents of remote APIServices: read from their servers, and merged with this server's own.
//! Rules: upstream's `handler_discovery.go`, `handler_apis.go` and the order of `SortedByGroupAndVersion`.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

use corten_meta::api_version;
use corten_meta::object::str_at;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::Aggregator;
use super::document::{self, Version};
use super::service::ApiService;
use crate::bootstrap::priorities;

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                      application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Reads what the server serves of its group and version; where it does not say, the last answer stays, marked stale.
pub async fn read(service: &ApiService) {
    let Ok(transport) = &service.transport else {
        return stale(service);
    };
    let entry = match transport.get("/apis", ACCEPT, None).await {
        Ok(answer) if answer.code == 200 && is_aggregated(answer.headers.get(CONTENT_TYPE)) => {
            document::aggregated(&service.group, &service.version, &answer.body).ok()
        }
        Ok(answer) if answer.code != 503 => legacy(service).await,
        _ => None,
    };
    match entry.map(|entry| json!(entry)) {
        Some(mut entry) => {
            entry["freshness"] = json!("Current");
            service.discovery.store(Some(Arc::new(entry)));
        }
        None => stale(service),
    }
}

fn is_aggregated(content_type: Option<&http::HeaderValue>) -> bool {
    let text = content_type.and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.contains("g=apidiscovery.k8s.io") && text.contains("as=APIGroupDiscoveryList")
}

/// Marks what is known as possibly out of date.
pub fn stale(service: &ApiService) {
    let mut entry = known(service);
    if entry["freshness"] != "Stale" {
        entry["freshness"] = json!("Stale");
        service.discovery.store(Some(Arc::new(entry)));
    }
}

fn known(service: &ApiService) -> Value {
    match service.discovery.load_full() {
        Some(entry) => Value::clone(&entry),
        None => json!({"version": service.version}),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// The same from the older document, an APIResourceList.
async fn legacy(service: &ApiService) -> Option<Version> {
    let transport = service.transport.as_ref().ok()?;
    let path = format!("/apis/{}/{}", service.group, service.version);
    let answer = transport.get(&path, "application/json", None).await.ok()?;
    if answer.code != 200 {
        return None;
    }
    document::legacy(&service.version, &answer.body).ok().flatten()
}

/// Groups and their versions in upstream's order.
#[derive(Default)]
struct Merge(BTreeMap<String, Versions>);

/// Of one group, by name: group and version priority, and the document.
type Versions = BTreeMap<String, ((u64, u64), Value)>;

impl Merge {
    fn add(&mut self, group: &str, version: &str, priorities: (u64, u64), value: Value) {
        let versions = self.0.entry(group.to_owned()).or_default();
        versions.insert(version.to_owned(), (priorities, value));
    }

    fn sorted(self) -> Vec<(String, Vec<Value>)> {
        let mut groups: Vec<_> = self.0.into_iter().collect();
        let first = |versions: &Versions| versions.values().map(|(p, _)| p.0).max().unwrap_or(0);
        groups.sort_by(|a, b| (Reverse(first(&a.1)), &a.0).cmp(&(Reverse(first(&b.1)), &b.0)));
        let in_order = |(group, versions): (String, Versions)| {
            let mut versions: Vec<_> = versions.into_iter().collect();
            versions.sort_by(|(a, (p, _)), (b, (q, _))| q.1.cmp(&p.1).then_with(|| newer_first(a, b)));
            (group, versions.into_iter().map(|(_, (_, value))| value).collect())
        };
        groups.into_iter().map(in_order).collect()
    }
}

/// Kubernetes' order of versions, the newest stable first: v2, v1, v2beta1, v1alpha1, then others by name.
fn newer_first(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major, minor; `None` where it is no version of Kubernetes' kind.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    let (stability, minor) = match &rest[end..] {
        "" => return Some((2, major, 0)),
        tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(minor), _) => (1, minor),
            (_, Some(minor)) => (0, minor),
            _ => return None,
        },
    };
    Some((stability, major, minor.parse().ok()?))
}

/// `items` of the aggregated document with the remote groups among them.
pub fn merged_aggregated(aggregator: &Aggregator, items: Vec<Value>) -> Vec<Value> {
    if aggregator.is_empty() {
        return items;
    }
    let mut merge = Merge::default();
    for item in &items {
        let group = str_at(item, &["metadata", "name"]);
        for version in list(item, "versions") {
            let name = str_at(version, &["version"]);
            merge.add(group, name, priorities(group, name), version.clone());
        }
    }
    for service in aggregator.services() {
        let mut entry = known(&service);
        if entry["freshness"].is_null() {
            entry["freshness"] = json!("Stale");
        }
        merge.add(&service.group, &service.version, service.priorities, entry);
    }
    let item = |(group, versions)| json!({"metadata": {"name": group}, "versions": versions});
    merge.sorted().into_iter().map(item).collect()
}

/// `groups` of the APIGroupList with the remote groups among them.
pub fn merged_groups(aggregator: &Aggregator, groups: Vec<Value>) -> Vec<Value> {
    if aggregator.is_empty() {
        return groups;
    }
    let mut merge = Merge::default();
    for group in &groups {
        add_legacy(&mut merge, group);
    }
    for service in aggregator.services() {
        add_remote(&mut merge, &service);
    }
    merge.sorted().into_iter().map(legacy_group).collect()
}

/// One group with its remote versions; `None` where nobody serves it.
pub fn merged_group(aggregator: &Aggregator, group: &str, own: Option<Value>) -> Option<Value> {
    let mut remote = aggregator.services();
    remote.retain(|service| service.group == group);
    if remote.is_empty() {
        return own;
    }
    let mut merge = Merge::default();
    if let Some(own) = &own {
        add_legacy(&mut merge, own);
    }
    for service in &remote {
        add_remote(&mut merge, service);
    }
    merge.sorted().pop().map(legacy_group)
}

fn add_legacy(merge: &mut Merge, group: &Value) {
    let name = str_at(group, &["name"]);
    for version in list(group, "versions") {
        let of = str_at(version, &["version"]);
        merge.add(name, of, priorities(name, of), version.clone());
    }
}

fn add_remote(merge: &mut Merge, service: &ApiService) {
    let (group, version) = (&service.group, &service.version);
    let value = json!({"groupVersion": api_version(group, version), "version": version});
    merge.add(group, version, service.priorities, value);
}

fn legacy_group((name, versions): (String, Vec<Value>)) -> Value {
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_priority_and_versions_by_age() {
        let mut merge = Merge::default();
        for (group, version, priorities) in [
            ("b.io", "v1beta1", (100, 10)),
            ("b.io", "v1", (100, 10)),
            ("a.io", "v1", (100, 10)),
            ("b.io", "v2alpha1", (100, 20)),
            ("apps", "v1", (17_800, 15)),
        ] {
            merge.add(group, version, priorities, json!(version));
        }
        let got = merge.sorted();
        let names: Vec<_> = got.iter().map(|(group, _)| group.as_str()).collect();
        assert_eq!(names, ["apps", "a.io", "b.io"]);
        assert_eq!(got[2].1, [json!("v2alpha1"), json!("v1"), json!("v1beta1")]);
    }
}

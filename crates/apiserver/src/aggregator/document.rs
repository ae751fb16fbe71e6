//! What extension servers say of a version, as far as upstream's types know it: only this goes on to clients, so that a server
//! that says something odd (null for a list, unknown members) cannot spoil discovery for everybody. Pure.
//! Rules: upstream's `handler_discovery.go` and `ConvertGroupVersionIntoToDiscovery`.

use serde::{Deserialize, Deserializer, Serialize};

/// A version in an APIGroupDiscoveryList.
#[derive(Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    #[serde(deserialize_with = "nullable")]
    version: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource>,
}

#[derive(Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    #[serde(deserialize_with = "nullable")]
    resource: String,
    #[serde(deserialize_with = "nullable")]
    response_kind: Kind,
    #[serde(deserialize_with = "nullable")]
    scope: String,
    #[serde(deserialize_with = "nullable")]
    singular_resource: String,
    #[serde(deserialize_with = "nullable")]
    verbs: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    short_names: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<Subresource>,
}

#[derive(Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Subresource {
    #[serde(deserialize_with = "nullable")]
    subresource: String,
    #[serde(deserialize_with = "nullable")]
    response_kind: Kind,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    accepted_types: Vec<Kind>,
    #[serde(deserialize_with = "nullable")]
    verbs: Vec<String>,
}

/// Always there, and empty where nothing was said: clients of 0.26 take no other.
#[derive(Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default)]
struct Kind {
    #[serde(deserialize_with = "nullable")]
    group: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
    #[serde(deserialize_with = "nullable")]
    kind: String,
}

/// As Go reads JSON: null leaves a member as it was.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Groups {
    #[serde(deserialize_with = "nullable")]
    items: Vec<Group>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Group {
    #[serde(deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(deserialize_with = "nullable")]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    #[serde(deserialize_with = "nullable")]
    name: String,
}

/// A version of an APIGroupDiscoveryList, empty where it has none such.
///
/// # Errors
/// Where the document is of another form.
pub fn aggregated(group: &str, version: &str, document: &[u8]) -> serde_json::Result<Version> {
    let groups: Groups = serde_json::from_slice(document)?;
    let found = groups
        .items
        .into_iter()
        .filter(|g| g.metadata.name == group)
        .flat_map(|g| g.versions)
        .find(|v| v.version == version);
    Ok(found.unwrap_or_else(|| empty(version)))
}

fn empty(version: &str) -> Version {
    Version {
        version: version.to_owned(),
        resources: Vec::new(),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ApiResources {
    #[serde(deserialize_with = "nullable")]
    resources: Vec<ApiResource>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ApiResource {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    singular_name: String,
    #[serde(deserialize_with = "nullable")]
    namespaced: bool,
    #[serde(flatten)]
    kind: Kind,
    #[serde(deserialize_with = "nullable")]
    verbs: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    short_names: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    categories: Vec<String>,
}

impl ApiResource {
    fn scope(&self) -> &'static str {
        if self.namespaced { "Namespaced" } else { "Cluster" }
    }
}

/// The same out of the older document, an APIResourceList; `None` where a subresource has another scope than its resource.
///
/// # Errors
/// Where the document is of another form.
pub fn legacy(version: &str, document: &[u8]) -> serde_json::Result<Option<Version>> {
    let list: ApiResources = serde_json::from_slice(document)?;
    let (subs, whole): (Vec<_>, Vec<_>) = list.resources.into_iter().partition(|r| r.name.contains('/'));
    let mut out = empty(version);
    out.resources = whole.into_iter().map(resource).collect();
    for sub in subs {
        let (of, name) = sub.name.split_once('/').unwrap_or_default();
        let at = out.resources.iter().position(|r| r.resource == of);
        let at = at.unwrap_or_else(|| {
            out.resources.push(Resource {
                resource: of.to_owned(),
                scope: sub.scope().to_owned(),
                ..Resource::default()
            });
            out.resources.len() - 1
        });
        if out.resources[at].scope != sub.scope() {
            return Ok(None);
        }
        out.resources[at].subresources.push(Subresource {
            subresource: name.to_owned(),
            response_kind: sub.kind,
            accepted_types: Vec::new(),
            verbs: sub.verbs,
        });
    }
    Ok(Some(out))
}

fn resource(of: ApiResource) -> Resource {
    Resource {
        scope: of.scope().to_owned(),
        resource: of.name,
        response_kind: of.kind,
        singular_resource: of.singular_name,
        verbs: of.verbs,
        short_names: of.short_names,
        categories: of.categories,
        subresources: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn shown(version: &Version) -> Value {
        serde_json::to_value(version).unwrap()
    }

    #[test]
    fn nothing_but_what_upstream_knows_goes_on() {
        let document = json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "other"}, "versions": [{"version": "v1"}]},
            {"metadata": {"name": "g", "labels": null}, "versions": [{"version": "v1", "freshness": "Current", "odd": 1,
                "resources": [
                    {"resource": "a", "scope": "Cluster", "verbs": null, "subresources": null, "shortNames": null},
                    {"resource": "b", "responseKind": {"kind": "B"}, "verbs": ["get"],
                        "subresources": [{"subresource": "status", "verbs": ["get"]}]},
                ]}]},
        ]});
        let kind = |kind: &str| json!({"group": "", "version": "", "kind": kind});
        assert_eq!(
            shown(&aggregated("g", "v1", document.to_string().as_bytes()).unwrap()),
            json!({"version": "v1", "resources": [
                {"resource": "a", "responseKind": kind(""), "scope": "Cluster", "singularResource": "", "verbs": []},
                {"resource": "b", "responseKind": kind("B"), "scope": "", "singularResource": "", "verbs": ["get"],
                    "subresources": [{"subresource": "status", "responseKind": kind(""), "verbs": ["get"]}]},
            ]})
        );
        let none = aggregated("g", "v2", document.to_string().as_bytes()).unwrap();
        assert_eq!(shown(&none), json!({"version": "v2"}));
        for wrong in [
            r#"{"items": 1}"#,
            r#"{"items": [{"versions": [{"resources": [{"verbs": "get"}]}]}]}"#,
            "x",
        ] {
            assert!(aggregated("g", "v1", wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_older_document_says_the_same() {
        let document = json!({"kind": "APIResourceList", "resources": [
            {"name": "b/status", "namespaced": true, "kind": "B", "verbs": ["get"]},
            {"name": "b", "singularName": "b", "namespaced": true, "kind": "B", "verbs": ["get"], "shortNames": ["bb"]},
            {"name": "c/log", "kind": "", "verbs": null},
        ]});
        let found = legacy("v1", document.to_string().as_bytes()).unwrap().unwrap();
        let kind = |kind: &str| json!({"group": "", "version": "", "kind": kind});
        assert_eq!(
            shown(&found),
            json!({"version": "v1", "resources": [
                {"resource": "b", "responseKind": kind("B"), "scope": "Namespaced", "singularResource": "b",
                    "verbs": ["get"], "shortNames": ["bb"],
                    "subresources": [{"subresource": "status", "responseKind": kind("B"), "verbs": ["get"]}]},
                {"resource": "c", "responseKind": kind(""), "scope": "Cluster", "singularResource": "", "verbs": [],
                    "subresources": [{"subresource": "log", "responseKind": kind(""), "verbs": []}]},
            ]})
        );
        let mixed = json!({"resources": [{"name": "b", "namespaced": true}, {"name": "b/x"}]});
        assert_eq!(legacy("v1", mixed.to_string().as_bytes()).unwrap(), None);
    }
}

//! Paths and their operations: enough for clients to learn which verbs, parameters and kinds a path takes.

use serde_json::{Map, Value, json};

use super::Dialect;
use super::definition::reference;
use crate::resources::{Resource, Subresource};
use crate::types::type_of;
use corten_meta::GroupVersionKind;

/// The definition of a patch body, whose form its media type gives.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const OBJECT_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// `/api/v1` or `/apis/group/version`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

/// How a request on a path is made and answered.
struct Operation<'a> {
    resource: &'a Resource,
    action: &'static str,
    method: &'static str,
    /// The kind in the body of request and answer.
    kind: GroupVersionKind,
    answer: GroupVersionKind,
    /// Path parameters.
    names: &'a [&'static str],
    subresource: &'a str,
}

pub(super) fn paths(resources: &[&'static Resource], dialect: Dialect) -> Map<String, Value> {
    let mut out = Map::new();
    for resource in resources {
        let root = root(resource.group, resource.version);
        let scopes: &[(String, &[&'static str])] = &if resource.namespaced {
            [
                (format!("{root}/namespaces/{{namespace}}"), &["namespace"] as &[_]),
                (root.clone(), &[]),
            ]
        } else {
            [(root.clone(), &[] as &[_]), (String::new(), &[])]
        };
        let (base, names) = (&scopes[0].0, scopes[0].1);
        let collection = format!("{base}/{}", resource.plural);
        put(
            &mut out,
            collection.clone(),
            collection_operations(resource, names),
            dialect,
        );
        if resource.namespaced && resource.has_verb("list") {
            let everywhere = vec![operation(resource, "list", "get", &[], "")];
            put(
                &mut out,
                format!("{root}/{}", resource.plural),
                everywhere,
                dialect,
            );
        }
        let mut item_names: Vec<&'static str> = names.to_vec();
        item_names.push("name");
        let item = format!("{collection}/{{name}}");
        put(
            &mut out,
            item.clone(),
            item_operations(resource, resource.verbs, &item_names, None),
            dialect,
        );
        for sub in resource.subresources {
            let operations = item_operations(resource, sub.verbs, &item_names, Some(sub));
            put(&mut out, format!("{item}/{}", sub.name), operations, dialect);
        }
    }
    out
}

fn operation<'a>(
    resource: &'a Resource,
    action: &'static str,
    method: &'static str,
    names: &'a [&'static str],
    subresource: &'a str,
) -> Operation<'a> {
    let answer = match action {
        "list" => resource.list_gvk(),
        "delete" | "deletecollection" => GroupVersionKind::new("", "v1", "Status"),
        _ => resource.gvk(),
    };
    Operation {
        resource,
        action,
        method,
        kind: resource.gvk(),
        answer,
        names,
        subresource,
    }
}

fn collection_operations<'a>(resource: &'a Resource, names: &'a [&'static str]) -> Vec<Operation<'a>> {
    let verbs = [
        ("list", "get"),
        ("create", "post"),
        ("deletecollection", "delete"),
    ];
    verbs
        .iter()
        .filter(|(verb, _)| resource.has_verb(verb))
        .map(|(v, m)| operation(resource, v, m, names, ""))
        .collect()
}

fn item_operations<'a>(
    resource: &'a Resource,
    allowed: &[&str],
    names: &'a [&'static str],
    sub: Option<&'a Subresource>,
) -> Vec<Operation<'a>> {
    let all = [
        ("get", "get"),
        ("update", "put"),
        ("patch", "patch"),
        ("delete", "delete"),
        ("create", "post"),
    ];
    let verbs = all
        .iter()
        .filter(|(verb, _)| allowed.contains(verb) && (sub.is_some() || *verb != "create"));
    verbs
        .map(|(verb, method)| {
            let mut operation = operation(resource, verb, method, names, sub.map_or("", |s| s.name));
            if let Some(sub) = sub {
                operation.kind = sub.gvk(resource);
                operation.answer = sub.gvk(resource);
            }
            operation
        })
        .collect()
}

fn put(out: &mut Map<String, Value>, path: String, operations: Vec<Operation<'_>>, dialect: Dialect) {
    if operations.is_empty() {
        return;
    }
    let mut item = Map::new();
    for operation in &operations {
        item.insert(operation.method.to_owned(), operation.render(dialect));
    }
    let names = operations[0]
        .names
        .iter()
        .map(|name| parameter(name, "path", "string", dialect));
    let names: Vec<Value> = names.collect();
    if !names.is_empty() {
        item.insert("parameters".to_owned(), Value::Array(names));
    }
    out.insert(path, Value::Object(item));
}

fn parameter(name: &str, place: &str, kind: &str, dialect: Dialect) -> Value {
    let mut out = json!({"name": name, "in": place});
    if place == "path" {
        out["required"] = json!(true);
    }
    match dialect {
        Dialect::V2 => out["type"] = json!(kind),
        Dialect::V3 => out["schema"] = json!({ "type": kind }),
    }
    out
}

impl Operation<'_> {
    fn query_parameters(&self) -> &'static [(&'static str, &'static str)] {
        const WRITE: [(&str, &str); 3] = [
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
        ];
        const APPLY: [(&str, &str); 4] = [
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ];
        const DELETE: [(&str, &str); 5] = [
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ];
        const LIST: [(&str, &str); 10] = [
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ];
        match self.action {
            "list" => &LIST,
            "create" | "update" => &WRITE,
            "patch" => &APPLY,
            "delete" => &DELETE,
            _ => &[],
        }
    }

    fn body(&self, dialect: Dialect) -> Option<(Value, &'static [&'static str])> {
        match self.action {
            "create" | "update" => Some((schema(&self.kind, dialect)?, &OBJECT_TYPES)),
            "patch" => {
                let prefix = if dialect == Dialect::V2 {
                    "#/definitions/"
                } else {
                    "#/components/schemas/"
                };
                Some((json!({ "$ref": format!("{prefix}{PATCH}") }), &PATCH_TYPES))
            }
            "delete" | "deletecollection" => Some((
                schema(&GroupVersionKind::new("", "v1", "DeleteOptions"), dialect)?,
                &OBJECT_TYPES,
            )),
            _ => None,
        }
    }

    fn id(&self) -> String {
        let verb = match self.action {
            "get" => "read",
            "update" => "replace",
            "deletecollection" => "deleteCollection",
            other => other,
        };
        let group = self.resource.group.split('.').next().unwrap_or_default();
        let namespaced = if self.names.contains(&"namespace") {
            "Namespaced"
        } else {
            ""
        };
        let scope = if self.resource.namespaced && namespaced.is_empty() {
            "ForAllNamespaces"
        } else {
            ""
        };
        let group = if group.is_empty() { "core" } else { group };
        let parts = [
            group,
            self.resource.version,
            namespaced,
            self.resource.kind,
            self.subresource,
            scope,
        ];
        parts.iter().fold(verb.to_owned(), |mut id, part| {
            let mut letters = part.chars();
            id.extend(letters.next().map(|c| c.to_ascii_uppercase()));
            id.push_str(letters.as_str());
            id
        })
    }

    fn render(&self, dialect: Dialect) -> Value {
        let mut parameters: Vec<Value> = self
            .query_parameters()
            .iter()
            .map(|(name, kind)| parameter(name, "query", kind, dialect))
            .collect();
        let kind = json!({"group": self.kind.group, "version": self.kind.version, "kind": self.kind.kind});
        let group = self.resource.group.split('.').next().unwrap_or_default();
        let tag = format!(
            "{}_{}",
            if group.is_empty() { "core" } else { group },
            self.resource.version
        );
        let mut out = json!({
            "operationId": self.id(), "tags": [tag], "x-kubernetes-action": self.x_action(), "x-kubernetes-group-version-kind": kind,
        });
        let body = self.body(dialect);
        match (dialect, body) {
            (_, None) => {}
            (Dialect::V2, Some((schema, types))) => {
                let required = !self.action.starts_with("delete");
                let mut body = json!({"name": "body", "in": "body", "schema": schema});
                if required {
                    body["required"] = json!(true);
                }
                parameters.insert(0, body);
                out["consumes"] = json!(types);
            }
            (Dialect::V3, Some((schema, types))) => {
                let content: Map<String, Value> = types
                    .iter()
                    .map(|t| ((*t).to_owned(), json!({ "schema": schema })))
                    .collect();
                out["requestBody"] = json!({ "content": content });
            }
        }
        if dialect == Dialect::V2 {
            out["produces"] = json!(OBJECT_TYPES);
        }
        if !parameters.is_empty() {
            out["parameters"] = Value::Array(parameters);
        }
        out["responses"] = self.responses(dialect);
        out
    }

    fn x_action(&self) -> &'static str {
        match self.action {
            "create" => "post",
            "update" => "put",
            other => other,
        }
    }

    fn responses(&self, dialect: Dialect) -> Value {
        let ok = match (schema(&self.answer, dialect), dialect) {
            (None, _) => json!({"description": "OK"}),
            (Some(schema), Dialect::V2) => json!({"description": "OK", "schema": schema}),
            (Some(schema), Dialect::V3) => {
                let content: Map<String, Value> = OBJECT_TYPES
                    .iter()
                    .map(|t| ((*t).to_owned(), json!({ "schema": schema })))
                    .collect();
                json!({"description": "OK", "content": content})
            }
        };
        json!({"200": ok, "401": {"description": "Unauthorized"}})
    }
}

fn schema(gvk: &GroupVersionKind, dialect: Dialect) -> Option<Value> {
    if gvk.kind.ends_with("Options") && gvk.kind != "DeleteOptions" {
        return None;
    }
    type_of(gvk).map(|id| reference(id.expr(), dialect))
}

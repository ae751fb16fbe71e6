//! One operation of a path: its name, parameters, body and answers.

use corten_meta::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::Dialect;
use super::definition::reference;
use super::paths::PATCH;
use crate::resources::{Resource, Subresource};
use crate::types::{Kind, type_of};

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
/// What objects are answered in.
pub(super) const OBJECT_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAM_TYPES: [&str; 5] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const LOG_TYPES: [&str; 4] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain",
];
const ANY_TYPE: [&str; 1] = ["*/*"];

/// Query parameters of reads of many, of writes and of deletions, by name and type.
const LIST: [(&str, &str); 11] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
/// Those of `LIST` that choose what is deleted.
const NOT_OF_DELETION: [&str; 2] = ["allowWatchBookmarks", "watch"];
const WRITE: [(&str, &str); 4] = [
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

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Create,
    DeleteCollection,
    Get,
    Update,
    Patch,
    Delete,
    Watch,
    WatchList,
    /// With this method.
    Connect(&'static str),
}

/// One operation.
pub(super) struct Operation {
    pub resource: &'static Resource,
    pub action: Action,
    /// Path parameters.
    pub names: &'static [&'static str],
    pub sub: Option<&'static Subresource>,
}

/// A parameter in the path or the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parameter {
    name: &'static str,
    place: &'static str,
    kind: &'static str,
}

impl Parameter {
    pub(super) fn render(&self, dialect: Dialect) -> Value {
        let mut out = json!({"name": self.name, "in": self.place});
        if self.place == "path" {
            out["required"] = json!(true);
        }
        match dialect {
            Dialect::V2 => {
                out["type"] = json!(self.kind);
                out["uniqueItems"] = json!(true);
            }
            Dialect::V3 => out["schema"] = json!({"type": self.kind, "uniqueItems": true}),
        }
        out
    }
}

impl Operation {
    pub(super) fn method(&self) -> &'static str {
        match self.action {
            Action::List | Action::Get | Action::Watch | Action::WatchList => "get",
            Action::Create => "post",
            Action::Update => "put",
            Action::Patch => "patch",
            Action::Delete | Action::DeleteCollection => "delete",
            Action::Connect(method) => method,
        }
    }

    fn is_log(&self) -> bool {
        self.sub.is_some_and(|sub| sub.name == "log")
    }

    /// The kind that the operation takes, in upstream's extension.
    fn kind(&self) -> GroupVersionKind {
        self.sub
            .map_or_else(|| self.resource.gvk(), |sub| sub.gvk(self.resource))
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let query = |(name, kind): &(&'static str, &'static str)| Parameter {
            name,
            place: "query",
            kind,
        };
        let mut out: Vec<Parameter> = match self.action {
            Action::List | Action::Watch | Action::WatchList => LIST.iter().map(query).collect(),
            Action::Create | Action::Update => WRITE[..3].iter().map(query).collect(),
            Action::Patch => WRITE.iter().map(query).collect(),
            Action::Delete => DELETE.iter().map(query).collect(),
            Action::DeleteCollection => {
                let choosing = LIST.iter().filter(|(name, _)| !NOT_OF_DELETION.contains(name));
                choosing.chain(&DELETE).map(query).collect()
            }
            Action::Connect(_) => options(&self.kind()),
            Action::Get if self.is_log() => options(&GroupVersionKind::new("", "v1", "PodLogOptions")),
            Action::Get => Vec::new(),
        };
        if !matches!(self.action, Action::Connect(_)) {
            out.push(query(&("pretty", "string")));
        }
        out.extend(self.names.iter().map(|name| Parameter {
            name,
            place: "path",
            kind: "string",
        }));
        out
    }

    /// Upstream's name of the operation: `replaceAppsV1NamespacedDeploymentStatus`.
    fn id(&self) -> String {
        let namespaced = self.names.contains(&"namespace");
        let verb = match self.action {
            Action::List => "list",
            Action::Create => "create",
            Action::Get => "read",
            Action::Update => "replace",
            Action::Patch => "patch",
            Action::Delete | Action::DeleteCollection => "delete",
            Action::Watch | Action::WatchList => "watch",
            Action::Connect(_) => "connect",
        };
        let of = |yes: bool, word: &'static str| if yes { word } else { "" };
        let method = match self.action {
            Action::Connect(method) => method,
            _ => "",
        };
        let group = camel(self.resource.group);
        let parts: [&str; 10] = [
            &group,
            self.resource.version,
            of(self.action == Action::DeleteCollection, "Collection"),
            method,
            of(namespaced, "Namespaced"),
            self.resource.kind,
            of(self.action == Action::WatchList, "List"),
            self.sub.map_or("", |sub| sub.name),
            of(self.resource.namespaced && !namespaced, "ForAllNamespaces"),
            of(self.names.contains(&"path"), "WithPath"),
        ];
        parts.iter().fold(verb.to_owned(), |id, part| id + &capital(part))
    }

    /// The operation, without the parameters that stand at its path.
    pub(super) fn render(&self, at_path: &[Parameter], dialect: Dialect) -> Value {
        let kind = self.kind();
        let mut out = json!({
            "operationId": self.id(),
            "tags": [tag(self.resource.group, self.resource.version)],
            "x-kubernetes-action": self.label(),
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        });
        let own = self.parameters();
        let own = own.iter().filter(|p| !at_path.contains(p));
        let mut parameters: Vec<Value> = own.map(|p| p.render(dialect)).collect();
        let (body, taken) = self.body(dialect);
        let required = !self.method().starts_with("delete");
        match (dialect, body) {
            (_, None) => {}
            (Dialect::V2, Some(schema)) => {
                let mut body = json!({"name": "body", "in": "body", "schema": schema});
                if required {
                    body["required"] = json!(true);
                }
                parameters.insert(0, body);
            }
            (Dialect::V3, Some(schema)) => {
                out["requestBody"] = json!({ "content": content(taken, &schema) });
                if required {
                    out["requestBody"]["required"] = json!(true);
                }
            }
        }
        let (answer, given) = self.answer(dialect);
        if dialect == Dialect::V2 {
            out["consumes"] = json!(taken);
            out["produces"] = json!(given);
            out["schemes"] = json!(["https"]);
        }
        if !parameters.is_empty() {
            out["parameters"] = Value::Array(parameters);
        }
        out["responses"] = self.responses(&answer, given, dialect);
        out
    }

    fn label(&self) -> &'static str {
        match self.action {
            Action::List => "list",
            Action::Create => "post",
            Action::DeleteCollection => "deletecollection",
            Action::Get => "get",
            Action::Update => "put",
            Action::Patch => "patch",
            Action::Delete => "delete",
            Action::Watch => "watch",
            Action::WatchList => "watchlist",
            Action::Connect(_) => "connect",
        }
    }

    /// The schema of the body and the media types it comes in.
    fn body(&self, dialect: Dialect) -> (Option<Value>, &'static [&'static str]) {
        match self.action {
            Action::Create | Action::Update => (schema(&self.kind(), dialect), &ANY_TYPE),
            Action::Patch => {
                let prefix = match dialect {
                    Dialect::V2 => "#/definitions/",
                    Dialect::V3 => "#/components/schemas/",
                };
                (Some(json!({ "$ref": format!("{prefix}{PATCH}") })), &PATCH_TYPES)
            }
            Action::Delete | Action::DeleteCollection => {
                (schema(&machinery("DeleteOptions"), dialect), &ANY_TYPE)
            }
            _ => (None, &ANY_TYPE),
        }
    }

    /// The schema of the answer and the media types it comes in.
    fn answer(&self, dialect: Dialect) -> (Value, &'static [&'static str]) {
        let text = json!({"type": "string"});
        let of = |kind: GroupVersionKind| schema(&kind, dialect).unwrap_or_else(|| text.clone());
        match self.action {
            Action::List => (of(self.resource.list_gvk()), &STREAM_TYPES),
            Action::Watch | Action::WatchList => (of(machinery("WatchEvent")), &STREAM_TYPES),
            Action::Connect(_) => (text, &ANY_TYPE),
            Action::Get if self.is_log() => (text, &LOG_TYPES),
            Action::Delete if returns_object(self.resource) => (of(self.kind()), &OBJECT_TYPES),
            Action::Delete | Action::DeleteCollection => (of(machinery("Status")), &OBJECT_TYPES),
            _ => (of(self.kind()), &OBJECT_TYPES),
        }
    }

    fn responses(&self, answer: &Value, given: &[&str], dialect: Dialect) -> Value {
        let codes: &[(&str, &str)] = match self.action {
            Action::Create => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            Action::Update | Action::Patch => &[("200", "OK"), ("201", "Created")],
            Action::Delete => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        let mut out = Map::new();
        for (code, name) in codes {
            let answer = match dialect {
                Dialect::V2 => json!({"description": name, "schema": answer}),
                Dialect::V3 => json!({"description": name, "content": content(given, answer)}),
            };
            out.insert((*code).to_owned(), answer);
        }
        out.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        Value::Object(out)
    }
}

pub(super) fn content(types: &[&str], schema: &Value) -> Map<String, Value> {
    let each = types
        .iter()
        .map(|t| ((*t).to_owned(), json!({ "schema": schema })));
    each.collect()
}

/// Whether the answer to a deletion is the object as it last was (upstream's `ReturnDeletedObject`).
fn returns_object(resource: &Resource) -> bool {
    const CORE: [&str; 7] = [
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ];
    match resource.group {
        "" => CORE.contains(&resource.plural),
        "resource.k8s.io" => true,
        "storage.k8s.io" => resource.plural != "csistoragecapacities",
        _ => false,
    }
}

/// The fields of an options kind as query parameters: those of plain types.
fn options(kind: &GroupVersionKind) -> Vec<Parameter> {
    let Some(id) = type_of(kind) else {
        return Vec::new();
    };
    let plain = |kind: Kind| match kind {
        Kind::String => Some("string"),
        Kind::Bool => Some("boolean"),
        Kind::Int32 | Kind::Int64 => Some("integer"),
        _ => None,
    };
    let fields = id.get().fields.iter();
    let fields = fields.filter(|f| !["kind", "apiVersion"].contains(&f.name));
    fields
        .filter_map(|field| {
            let kind = match field.shape.kind {
                Kind::List(element) => plain(element.shape.kind),
                other => plain(other),
            };
            kind.map(|kind| Parameter {
                name: field.name,
                place: "query",
                kind,
            })
        })
        .collect()
}

fn machinery(kind: &'static str) -> GroupVersionKind {
    GroupVersionKind::new("", "v1", kind)
}

fn schema(gvk: &GroupVersionKind, dialect: Dialect) -> Option<Value> {
    type_of(gvk).map(|id| reference(id.expr(), dialect))
}

/// A group in operation names: `core`, `apps`, `flowcontrolApiserver`.
pub(super) fn camel(group: &str) -> String {
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    let mut parts = group.split('.').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or("core").to_owned();
    parts.fold(first, |name, part| name + &capital(part))
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

pub(super) fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", camel(group))
}

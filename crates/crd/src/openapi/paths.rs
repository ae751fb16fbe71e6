//! The paths of a version and what may be done with them.

use serde_json::{Map, Value, json};

use super::{Dialect, META, Names};

const OBJECTS: [&str; 2] = ["application/json", "application/yaml"];
const PATCHES: [&str; 3] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
];
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

type Parameters = &'static [(&'static str, &'static str)];
const NONE: Parameters = &[("pretty", "string")];
const GET: Parameters = &[("pretty", "string"), ("resourceVersion", "string")];
const LIST: Parameters = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("pretty", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: Parameters = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("pretty", "string"),
];
const PATCH: Parameters = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
    ("pretty", "string"),
];
const DELETE: Parameters = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("pretty", "string"),
    ("propagationPolicy", "string"),
];

/// One thing that can be done: its method, `x-kubernetes-action`, verb, and what it takes.
struct Action {
    method: &'static str,
    action: &'static str,
    verb: &'static str,
    parameters: Parameters,
    /// Further codes that it answers with besides 200.
    codes: &'static [(&'static str, &'static str)],
}

const fn action(
    method: &'static str,
    action: &'static str,
    verb: &'static str,
    parameters: Parameters,
    codes: &'static [(&'static str, &'static str)],
) -> Action {
    Action {
        method,
        action,
        verb,
        parameters,
        codes,
    }
}

static COLLECTION: [Action; 3] = [
    action("get", "list", "list", LIST, &[]),
    action(
        "post",
        "post",
        "create",
        WRITE,
        &[("201", "Created"), ("202", "Accepted")],
    ),
    action("delete", "deletecollection", "deleteCollection", LIST, &[]),
];
static ITEM: [Action; 4] = [
    action("get", "get", "read", GET, &[]),
    action("put", "put", "replace", WRITE, &[("201", "Created")]),
    action("patch", "patch", "patch", PATCH, &[]),
    action("delete", "delete", "delete", DELETE, &[("202", "Accepted")]),
];

pub(super) fn paths(
    definition: &Value,
    version: &Value,
    names: &Names<'_>,
    dialect: Dialect,
) -> Map<String, Value> {
    let namespaced = definition["spec"]["scope"] == "Namespaced";
    let root = format!("/apis/{}/{}", names.group, names.version);
    let writer = Writer {
        names,
        dialect,
        namespaced,
    };
    let mut out = Map::new();
    let mut base = format!("{root}/{}", names.plural);
    if namespaced {
        let everywhere = writer.item(&COLLECTION[..1], "", false, false);
        out.insert(base, everywhere);
        base = format!("{root}/namespaces/{{namespace}}/{}", names.plural);
    }
    out.insert(base.clone(), writer.item(&COLLECTION, "", namespaced, false));
    out.insert(
        format!("{base}/{{name}}"),
        writer.item(&ITEM, "", namespaced, true),
    );
    for sub in ["status", "scale"] {
        if version["subresources"][sub].is_object() {
            let item = writer.item(&ITEM[..3], sub, namespaced, true);
            out.insert(format!("{base}/{{name}}/{sub}"), item);
        }
    }
    out
}

struct Writer<'d> {
    names: &'d Names<'d>,
    dialect: Dialect,
    namespaced: bool,
}

impl Writer<'_> {
    fn item(&self, actions: &[Action], subresource: &str, in_namespace: bool, named: bool) -> Value {
        let mut out = Map::new();
        for action in actions {
            let rendered = self.operation(action, subresource, in_namespace);
            out.insert(action.method.to_owned(), rendered);
        }
        let places = [("name", named), ("namespace", in_namespace)];
        let parameters: Vec<Value> = places
            .iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| self.parameter(name, "path", "string"))
            .collect();
        if !parameters.is_empty() {
            out.insert("parameters".to_owned(), Value::Array(parameters));
        }
        Value::Object(out)
    }

    fn parameter(&self, name: &str, place: &str, kind: &str) -> Value {
        let mut out = json!({"name": name, "in": place});
        if place == "path" {
            out["required"] = json!(true);
        }
        match self.dialect {
            Dialect::V2 => out["type"] = json!(kind),
            Dialect::V3 => out["schema"] = json!({ "type": kind }),
        }
        out
    }

    /// `readExampleComV1NamespacedFooStatus`.
    fn id(&self, action: &Action, subresource: &str, in_namespace: bool) -> String {
        let scope = if in_namespace { "Namespaced" } else { "" };
        let everywhere = if self.namespaced && !in_namespace {
            "ForAllNamespaces"
        } else {
            ""
        };
        let parts = [
            self.group(),
            self.names.version.to_owned(),
            scope.to_owned(),
            self.names.kind.to_owned(),
            subresource.to_owned(),
            everywhere.to_owned(),
        ];
        parts
            .iter()
            .fold(action.verb.to_owned(), |id, part| id + &joined(part, true))
    }

    /// The group as operations and tags name it.
    fn group(&self) -> String {
        let group = self.names.group;
        group.strip_suffix(".k8s.io").unwrap_or(group).to_owned()
    }

    fn operation(&self, action: &Action, subresource: &str, in_namespace: bool) -> Value {
        let (names, dialect) = (self.names, self.dialect);
        let tag = format!("{}_{}", joined(&self.group(), false), names.version);
        let mut out = json!({
            "operationId": self.id(action, subresource, in_namespace),
            "description": describe(action, subresource, names.kind),
            "tags": [tag],
            "x-kubernetes-action": action.action,
            "x-kubernetes-group-version-kind": names.identity(names.kind),
        });
        let parameters = if action.action == "get" && subresource == "scale" {
            NONE
        } else {
            action.parameters
        };
        let mut parameters: Vec<Value> = parameters
            .iter()
            .map(|(name, kind)| self.parameter(name, "query", kind))
            .collect();
        let object = match subresource {
            "scale" => SCALE.to_owned(),
            _ => names.model(names.kind),
        };
        let (body, types): (Option<String>, &[&str]) = match action.action {
            "post" | "put" => (Some(object.clone()), &OBJECTS),
            "patch" => (Some(format!("{META}Patch")), &PATCHES),
            "delete" => (Some(format!("{META}DeleteOptions")), &OBJECTS),
            _ => (None, &OBJECTS),
        };
        if let Some(body) = body {
            let schema = dialect.reference(&body);
            match dialect {
                Dialect::V2 => {
                    let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
                    if action.action != "delete" {
                        parameter["required"] = json!(true);
                    }
                    parameters.insert(0, parameter);
                    out["consumes"] = json!(types);
                }
                Dialect::V3 => out["requestBody"] = json!({ "content": content(types, &schema) }),
            }
        }
        if dialect == Dialect::V2 {
            out["produces"] = json!(OBJECTS);
        }
        out["parameters"] = Value::Array(parameters);
        let answer = match action.action {
            "list" => names.model(names.list_kind),
            "delete" | "deletecollection" => format!("{META}Status"),
            _ => object,
        };
        out["responses"] = self.responses(action, &dialect.reference(&answer));
        out
    }

    fn responses(&self, action: &Action, schema: &Value) -> Value {
        let answer = |text: &str| match self.dialect {
            Dialect::V2 => json!({"description": text, "schema": schema}),
            Dialect::V3 => json!({"description": text, "content": content(&OBJECTS, schema)}),
        };
        let mut out = json!({"200": answer("OK"), "401": {"description": "Unauthorized"}});
        for (code, text) in action.codes {
            out[*code] = answer(text);
        }
        out
    }
}

fn content(types: &[&str], schema: &Value) -> Value {
    types
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({ "schema": schema })))
        .collect()
}

/// Letters and digits, each run's first letter large but for the first run's unless asked for.
fn joined(text: &str, large: bool) -> String {
    let (mut out, mut large) = (String::new(), large);
    for (at, c) in text.char_indices() {
        if c.is_alphabetic() || c == '_' || (at != 0 && c.is_numeric()) {
            if large {
                out.extend(c.to_uppercase());
            } else {
                out.push(c);
            }
            large = false;
        } else {
            large = true;
        }
    }
    out
}

fn describe(action: &Action, subresource: &str, kind: &str) -> String {
    let of = if subresource.is_empty() {
        String::new()
    } else {
        format!(" {subresource} of")
    };
    let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U', 'a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    match action.verb {
        "list" => format!("list objects of kind {kind}"),
        "deleteCollection" => format!("delete collection of {kind}"),
        "create" | "delete" => format!("{} {article} {kind}", action.verb),
        "patch" => format!("partially update{of} the specified {kind}"),
        verb => format!("{verb}{of} the specified {kind}"),
    }
}

//! Paths with their operations, as upstream lists them: which verbs, parameters, bodies and answers each takes. Sentences
//! that describe them are left out.

use serde_json::{Map, Value, json};

use super::Dialect;
use super::operation::{Action, Operation, Parameter};
use crate::resources::{Resource, Subresource};

/// The definition of a patch body, whose form its media type gives.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// Path parameters of a namespaced object, and of a path below one.
const NAMED: [&str; 3] = ["namespace", "name", "path"];

/// `/api/v1` or `/apis/group/version`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

/// Every path of the resources.
pub(super) fn paths(resources: &[&'static Resource], dialect: Dialect) -> Map<String, Value> {
    let mut out = Map::new();
    for resource in resources {
        let mut paths = Paths {
            resource,
            dialect,
            out: &mut out,
        };
        paths.collections();
        paths.items();
        paths.watches();
    }
    out
}

/// The paths of one resource.
struct Paths<'a> {
    resource: &'static Resource,
    dialect: Dialect,
    out: &'a mut Map<String, Value>,
}

impl Paths<'_> {
    /// The path parameters of the collection in one namespace, or in none.
    fn scope(&self) -> &'static [&'static str] {
        if self.resource.namespaced {
            &NAMED[..1]
        } else {
            &[]
        }
    }

    fn item_names(&self) -> &'static [&'static str] {
        if self.resource.namespaced {
            &NAMED[..2]
        } else {
            &NAMED[1..2]
        }
    }

    /// `root`, then `namespaces/{namespace}` where there is one, then the resource.
    fn collection(&self, root: &str) -> String {
        let namespace = if self.resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        format!("{root}{namespace}/{}", self.resource.plural)
    }

    fn root(&self) -> String {
        root(self.resource.group, self.resource.version)
    }

    fn operation(&self, action: Action, names: &'static [&'static str]) -> Operation {
        Operation {
            resource: self.resource,
            action,
            names,
            sub: None,
        }
    }

    fn collections(&mut self) {
        let verbs = [
            ("list", Action::List),
            ("create", Action::Create),
            ("deletecollection", Action::DeleteCollection),
        ];
        let served = verbs.iter().filter(|(verb, _)| self.resource.has_verb(verb));
        let operations: Vec<Operation> = served
            .map(|(_, action)| self.operation(*action, self.scope()))
            .collect();
        self.put(self.collection(&self.root()), &operations);
        if self.resource.namespaced && self.resource.has_verb("list") {
            let path = format!("{}/{}", self.root(), self.resource.plural);
            self.put(path, &[self.operation(Action::List, &[])]);
        }
    }

    fn items(&mut self) {
        let item = format!("{}/{{name}}", self.collection(&self.root()));
        let operations = self.on_item(self.resource.verbs, None);
        self.put(item.clone(), &operations);
        for sub in self.resource.subresources {
            let path = format!("{item}/{}", sub.name);
            if !sub.kind.ends_with("Options") {
                self.put(path, &self.on_item(sub.verbs, Some(sub)));
                continue;
            }
            self.put(path.clone(), &self.connects(sub, self.item_names()));
            if sub.name == "proxy" {
                let names = if self.resource.namespaced {
                    &NAMED[..]
                } else {
                    &NAMED[1..]
                };
                self.put(format!("{path}/{{path}}"), &self.connects(sub, names));
            }
        }
    }

    fn on_item(&self, allowed: &[&str], sub: Option<&'static Subresource>) -> Vec<Operation> {
        let all = [
            ("get", Action::Get),
            ("update", Action::Update),
            ("patch", Action::Patch),
            ("delete", Action::Delete),
            ("create", Action::Create),
        ];
        all.iter()
            .filter(|(verb, _)| allowed.contains(verb) && (sub.is_some() || *verb != "create"))
            .map(|(_, action)| Operation {
                sub,
                ..self.operation(*action, self.item_names())
            })
            .collect()
    }

    /// A connection is opened with more methods than discovery has verbs for.
    fn connects(&self, sub: &'static Subresource, names: &'static [&'static str]) -> Vec<Operation> {
        let methods: &[&'static str] = if sub.name == "proxy" {
            &["get", "put", "post", "delete", "options", "head", "patch"]
        } else {
            &["get", "post"]
        };
        let connect = |method: &&'static str| Operation {
            sub: Some(sub),
            ..self.operation(Action::Connect(method), names)
        };
        methods.iter().map(connect).collect()
    }

    /// The old form of watches, which is still served.
    fn watches(&mut self) {
        if !self.resource.has_verb("watch") {
            return;
        }
        let root = format!("{}/watch", self.root());
        let collection = self.collection(&root);
        self.put(
            format!("{collection}/{{name}}"),
            &[self.operation(Action::Watch, self.item_names())],
        );
        self.put(collection, &[self.operation(Action::WatchList, self.scope())]);
        if self.resource.namespaced {
            let path = format!("{root}/{}", self.resource.plural);
            self.put(path, &[self.operation(Action::WatchList, &[])]);
        }
    }

    /// Parameters that all operations share stand at the path.
    fn put(&mut self, path: String, operations: &[Operation]) {
        let Some((first, others)) = operations.split_first() else {
            return;
        };
        let others: Vec<Vec<Parameter>> = others.iter().map(Operation::parameters).collect();
        let mut shared = first.parameters();
        shared.retain(|p| others.iter().all(|all| all.contains(p)));
        shared.sort_unstable();
        let mut item = Map::new();
        for operation in operations {
            let rendered = operation.render(&shared, self.dialect);
            item.insert(operation.method().to_owned(), rendered);
        }
        if !shared.is_empty() {
            let shared: Vec<Value> = shared.iter().map(|p| p.render(self.dialect)).collect();
            item.insert("parameters".to_owned(), json!(shared));
        }
        self.out.insert(path, Value::Object(item));
    }
}

//! What a version adds to the published OpenAPI documents (upstream's `controller/openapi/builder`): the definitions of its
//! kind and list, and its paths.

mod paths;
mod schema;

use corten_schema::openapi::Fragment;
use serde_json::{Map, Value, json};

use crate::definition;

/// Which OpenAPI a fragment is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

impl Dialect {
    /// A reference to a definition.
    fn reference(self, name: &str) -> Value {
        let prefix = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        json!({ "$ref": format!("{prefix}{name}") })
    }

    /// A reference with a description beside it, which version 3 wants wrapped.
    fn described(self, name: &str, description: &str) -> Value {
        match self {
            Self::V2 => {
                let mut out = self.reference(name);
                out["description"] = json!(description);
                out
            }
            Self::V3 => json!({"allOf": [self.reference(name)], "description": description}),
        }
    }
}

/// The names of a version's kinds.
struct Names<'d> {
    group: &'d str,
    version: &'d str,
    kind: &'d str,
    list_kind: &'d str,
    plural: &'d str,
}

impl<'d> Names<'d> {
    fn of(definition: &'d Value, version: &'d str) -> Self {
        let spec = &definition["spec"];
        let text = |value: &'d Value| value.as_str().unwrap_or_default();
        Self {
            group: text(&spec["group"]),
            version,
            kind: text(&spec["names"]["kind"]),
            list_kind: text(&spec["names"]["listKind"]),
            plural: text(&spec["names"]["plural"]),
        }
    }

    /// `com.example.v1.Foo`.
    fn model(&self, kind: &str) -> String {
        let group: Vec<&str> = self.group.split('.').rev().collect();
        format!("{}.{}.{kind}", group.join("."), self.version)
    }

    fn identity(&self, kind: &str) -> Value {
        json!({"group": self.group, "version": self.version, "kind": kind})
    }
}

/// The version in OpenAPI v2; `None` when the definition does not have it.
pub fn v2(definition: &Value, version: &str) -> Option<Fragment> {
    fragment(definition, version, Dialect::V2)
}

/// The version in OpenAPI v3; `None` when the definition does not have it.
pub fn v3(definition: &Value, version: &str) -> Option<Fragment> {
    fragment(definition, version, Dialect::V3)
}

fn fragment(definition: &Value, name: &str, dialect: Dialect) -> Option<Fragment> {
    let version = definition::version(definition, name)?;
    let names = Names::of(definition, name);
    let selectable = selectable(version);
    let mut kind = schema::kind(definition, version, dialect);
    kind["x-kubernetes-group-version-kind"] = json!([names.identity(names.kind)]);
    let mut list = list(&names, dialect);
    if let Some(selectable) = selectable {
        kind["x-kubernetes-selectable-fields"] = selectable.clone();
        list["x-kubernetes-selectable-fields"] = selectable;
    }
    let mut definitions = Map::new();
    definitions.insert(names.model(names.kind), kind);
    definitions.insert(names.model(names.list_kind), list);
    Some(Fragment {
        definitions,
        paths: paths::paths(definition, version, &names, dialect),
    })
}

fn selectable(version: &Value) -> Option<Value> {
    let fields = version["selectableFields"].as_array().filter(|f| !f.is_empty())?;
    let path = |field: &Value| {
        let path = field["jsonPath"].as_str().unwrap_or_default();
        json!({ "fieldPath": path.strip_prefix('.').unwrap_or(path) })
    };
    Some(fields.iter().map(path).collect())
}

fn list(names: &Names<'_>, dialect: Dialect) -> Value {
    let mut out = json!({
        "type": "object",
        "description": format!("{} is a list of {}", names.list_kind, names.kind),
        "required": ["items"],
        "properties": {
            "items": {
                "type": "array",
                "description": format!("The {} in the list.", names.plural),
                "items": dialect.reference(&names.model(names.kind)),
            },
            "metadata": dialect.described(&format!("{META}ListMeta"), "Metadata of the list."),
        },
        "x-kubernetes-group-version-kind": [names.identity(names.list_kind)],
    });
    schema::add_type_meta(&mut out);
    out
}

//! The schema of one type.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::resources::{self, ServedVersion};
use crate::types::{Field, Kind, ListType, Rules, Shape, Special, Type, TypeId, enum_of, package_of};

/// Types that a definition refers to.
#[derive(Default)]
pub(super) struct Reached {
    pub types: Vec<TypeId>,
    pub specials: Vec<(String, Special)>,
}

const META: &str = "apimachinery/pkg/apis/meta/v1";

/// The definition name of a named type's expression: `26.Pod` is `io.k8s.api.core.v1.Pod`.
pub(super) fn name_of(expr: &str) -> String {
    let expr = expr.trim_start_matches('*');
    let (package, name) = expr.split_once('.').unwrap_or(("", expr));
    let path = package_of(package).map_or("", |p| p.path);
    format!("io.k8s.{}.{name}", path.replace('/', "."))
}

pub(super) fn reference(expr: &str, dialect: Dialect) -> Value {
    let prefix = if dialect == Dialect::V2 {
        "#/definitions/"
    } else {
        "#/components/schemas/"
    };
    json!({ "$ref": format!("{prefix}{}", name_of(expr)) })
}

pub(super) fn structure(
    id: TypeId,
    dialect: Dialect,
    served: Option<ServedVersion>,
    reached: &mut Reached,
) -> Value {
    let ty = id.get();
    let mut out = Map::new();
    out.insert("type".to_owned(), json!("object"));
    let mut properties = Map::new();
    for field in ty.fields {
        let mut property = property(field, dialect, reached);
        if stands_alone(id.expr(), field.name) {
            unwrap_reference(&mut property);
        }
        properties.insert(field.name.to_owned(), property);
    }
    if !properties.is_empty() {
        out.insert("properties".to_owned(), Value::Object(properties));
    }
    let members = ty.declared.iter().map(|at| &ty.fields[usize::from(*at)]);
    let required: Vec<&str> = members.filter(|f| is_required(f)).map(|f| f.name).collect();
    if !required.is_empty() {
        out.insert("required".to_owned(), json!(required));
    }
    if ty.atomic {
        out.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    }
    if let Some(unions) = unions(ty.expr) {
        out.insert("x-kubernetes-unions".to_owned(), unions);
    }
    if let Some(kinds) = kinds(ty, served) {
        out.insert("x-kubernetes-group-version-kind".to_owned(), kinds);
    }
    Value::Object(out)
}

/// Upstream wraps a reference where a sentence stands beside it; these have none.
fn stands_alone(owner: &str, field: &str) -> bool {
    let owner = name_of(owner);
    (owner.ends_with(".apiextensions.v1.JSONSchemaProps") && field != "default")
        || (owner.ends_with(".networking.v1.IngressRule") && field == "http")
}

/// Takes a reference out of an `allOf` that holds nothing else.
fn unwrap_reference(property: &mut Value) {
    let only = match property["allOf"].as_array().map(Vec::as_slice) {
        Some([only]) if property.as_object().is_some_and(|all| all.len() == 1) => only.clone(),
        _ => return,
    };
    *property = only;
}

fn is_required(field: &Field) -> bool {
    field.required || (!field.optional && !field.omitempty)
}

/// Which kinds a definition is. Those of apimachinery are registered in every group and version.
fn kinds(ty: &Type, served: Option<ServedVersion>) -> Option<Value> {
    let kind = |group: &str, version: &str| json!({"group": group, "version": version, "kind": ty.name});
    if ty.package.path != META {
        return ty
            .is_kind
            .then(|| json!([kind(ty.package.group, ty.package.version)]));
    }
    match ty.name {
        "DeleteOptions" | "WatchEvent" => {
            let mut all = vec![kind("", "v1")];
            match served {
                Some(s) if s.group.is_empty() => {}
                Some(s) => all.push(kind(s.group, s.version)),
                None => {
                    let groups = resources::versions().iter().filter(|s| !s.group.is_empty());
                    all.extend(groups.map(|s| kind(s.group, s.version)));
                }
            }
            Some(json!(all))
        }
        "Status" | "APIResourceList" | "APIGroup" | "APIGroupList" | "APIVersions" => {
            Some(json!([kind("", "v1")]))
        }
        _ => None,
    }
}

fn property(field: &Field, dialect: Dialect, reached: &mut Reached) -> Value {
    let schema = shape(&field.shape, dialect, reached);
    let is_reference = schema.get("$ref").is_some();
    let mut out = match schema {
        // Version 3 has no siblings to a reference.
        reference if is_reference && dialect == Dialect::V3 => {
            let mut out = Map::new();
            out.insert("allOf".to_owned(), json!([reference]));
            out
        }
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if dialect == Dialect::V3
        && let Some(default) = default(field)
    {
        out.insert("default".to_owned(), default);
    }
    extensions(field.rules, &mut out);
    Value::Object(out)
}

/// The declared default, else the zero that is always written.
pub(crate) fn default(field: &Field) -> Option<Value> {
    match field.rules.default {
        "" => {}
        "ref(AzureDataDiskCachingReadWrite)" => return Some(json!("ReadWrite")),
        "ref(AzureSharedBlobDisk)" => return Some(json!("Shared")),
        declared => return serde_json::from_str(declared).ok(),
    }
    if field.shape.pointer {
        return None;
    }
    match field.shape.kind {
        Kind::Struct(_) => Some(json!({})),
        _ if field.omitempty => None,
        Kind::String => Some(json!("")),
        Kind::Bool => Some(json!(false)),
        Kind::Int32 | Kind::Int64 | Kind::Float64 => Some(json!(0)),
        _ => None,
    }
}

fn extensions(rules: &Rules, out: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| drop(out.insert(format!("x-kubernetes-{name}"), value));
    match rules.list_type {
        ListType::Unset => {}
        ListType::Atomic => put("list-type", json!("atomic")),
        ListType::Set => put("list-type", json!("set")),
        ListType::Map => put("list-type", json!("map")),
    }
    if !rules.list_keys.is_empty() {
        put("list-map-keys", json!(rules.list_keys));
    }
    if rules.map_atomic || rules.struct_atomic {
        put("map-type", json!("atomic"));
    }
    if rules.granular {
        put("map-type", json!("granular"));
    }
    let strategies = [
        (rules.patch_merge, "merge"),
        (rules.patch_replace, "replace"),
        (rules.patch_retain_keys, "retainKeys"),
    ];
    let strategies: Vec<&str> = strategies
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
    if !strategies.is_empty() {
        put("patch-strategy", json!(strategies.join(",")));
    }
    if !rules.patch_merge_key.is_empty() {
        put("patch-merge-key", json!(rules.patch_merge_key));
    }
}

/// Enums whose values the facts lack: upstream declares them out of a generator's sight.
const ENUMS: [(&str, &[&str]); 3] = [
    ("discovery.v1.AddressType", &["FQDN", "IPv4", "IPv6"]),
    (
        "networking.v1.PathType",
        &["Exact", "ImplementationSpecific", "Prefix"],
    ),
    ("resource.v1.DeviceAllocationMode", &["All", "ExactCount"]),
];

fn enum_values(expr: &str) -> Option<&'static [&'static str]> {
    if !expr.contains('.') {
        return None;
    }
    if let Some(declared) = enum_of(expr).filter(|e| e.closed) {
        return Some(declared.values);
    }
    let name = name_of(expr);
    ENUMS
        .iter()
        .find(|(end, _)| name.ends_with(end))
        .map(|(_, values)| *values)
}

/// A type's discriminator, and its members with the value that selects each.
type Union = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Discriminated unions.
const UNIONS: [Union; 6] = [
    (
        "core.v1.AppArmorProfile",
        "type",
        &[("localhostProfile", "LocalhostProfile")],
    ),
    (
        "core.v1.SeccompProfile",
        "type",
        &[("localhostProfile", "LocalhostProfile")],
    ),
    (
        "core.v1.PodSchedulingGroup",
        "",
        &[("podGroupName", "PodGroupName")],
    ),
    ("flowcontrol.v1.LimitResponse", "type", &[("queuing", "Queuing")]),
    (
        "flowcontrol.v1.PriorityLevelConfigurationSpec",
        "type",
        &[("exempt", "Exempt"), ("limited", "Limited")],
    ),
    (
        "flowcontrol.v1.Subject",
        "kind",
        &[
            ("group", "Group"),
            ("serviceAccount", "ServiceAccount"),
            ("user", "User"),
        ],
    ),
];

fn unions(expr: &str) -> Option<Value> {
    let name = name_of(expr);
    let (_, discriminator, members) = UNIONS.iter().find(|(end, ..)| name.ends_with(end))?;
    let members: Map<String, Value> = members.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    let mut union = json!({ "fields-to-discriminateBy": members });
    if !discriminator.is_empty() {
        union["discriminator"] = json!(discriminator);
    }
    Some(json!([union]))
}

fn shape(shape: &Shape, dialect: Dialect, reached: &mut Reached) -> Value {
    match shape.kind {
        Kind::String => match enum_values(shape.expr) {
            Some(values) => json!({"type": "string", "enum": values}),
            None => json!({"type": "string"}),
        },
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int32 => json!({"type": "integer", "format": "int32"}),
        Kind::Int64 => json!({"type": "integer", "format": "int64"}),
        Kind::Float64 => json!({"type": "number", "format": "double"}),
        Kind::Bytes => json!({"type": "string", "format": "byte"}),
        Kind::Struct(id) => {
            reached.types.push(id);
            reference(id.expr(), dialect)
        }
        Kind::Special(special) => {
            reached.specials.push((name_of(shape.expr), special));
            if matches!(
                special,
                Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings
            ) {
                reached.types.extend(crate::types::named(
                    "apiextensions-apiserver/pkg/apis/apiextensions/v1",
                    "JSONSchemaProps",
                ));
            }
            reference(shape.expr, dialect)
        }
        Kind::List(element) => {
            json!({"type": "array", "items": self::shape(&element.shape, dialect, reached)})
        }
        Kind::Map(element) => {
            json!({"type": "object", "additionalProperties": self::shape(&element.shape, dialect, reached)})
        }
    }
}

pub(super) fn special(special: Special, dialect: Dialect) -> Value {
    match (special, dialect) {
        (Special::Time | Special::MicroTime, _) => json!({"type": "string", "format": "date-time"}),
        (Special::Duration, _) => json!({"type": "string"}),
        (Special::Quantity, Dialect::V2) => json!({"type": "string"}),
        (Special::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (Special::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        (Special::IntOrString, Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        (Special::Raw | Special::FieldsV1, _) => json!({"type": "object"}),
        _ => json!({}),
    }
}

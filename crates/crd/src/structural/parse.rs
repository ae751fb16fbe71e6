//! From `JSONSchemaProps` as stored to the tree.

use std::fmt;

use serde_json::{Map, Value};

use super::{Additional, Check, ListType, MapType, Pattern, Properties, Rule, Structural, Type};
use crate::format;

/// Deepest schema that is read; deeper ones are refused.
const DEPTH_MAX: usize = 256;

/// Why a schema is not structural, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(pub(super) String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// Keywords whose very presence makes a schema something else, in the order upstream looks for them.
const UNSUPPORTED: [&str; 7] = [
    "id",
    "schema",
    "$ref",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
];

/// A node is an object schema or, inside junctors, a value validation: the tree is the same.
pub(super) fn structural(schema: &Value) -> Result<Structural, ParseError> {
    node(schema, 0)
}

fn node(schema: &Value, depth: usize) -> Result<Structural, ParseError> {
    if depth > DEPTH_MAX {
        return Err(ParseError("OpenAPIV3Schema nests too deeply".to_owned()));
    }
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    unsupported(map)?;
    let kind = text(map, "type");
    let int_or_string = flag(map, "x-kubernetes-int-or-string");
    let mut out = Structural {
        kind: Type::parse(kind).unwrap_or_default(),
        list_type: match text(map, "x-kubernetes-list-type") {
            "atomic" => ListType::Atomic,
            "set" => ListType::Set,
            "map" => ListType::Map,
            _ => ListType::Unset,
        },
        map_type: match text(map, "x-kubernetes-map-type") {
            "atomic" => MapType::Atomic,
            "granular" => MapType::Granular,
            _ => MapType::Unset,
        },
        nullable: flag(map, "nullable"),
        preserve_unknown_fields: preserves(map)?,
        embedded_resource: flag(map, "x-kubernetes-embedded-resource"),
        int_or_string,
        default: map.get("default").filter(|v| !v.is_null()).cloned().map(Box::new),
        ..Structural::default()
    };
    out.items = match map.get("items") {
        None | Some(Value::Null) => None,
        Some(Value::Array(list)) if !list.is_empty() => {
            return Err(ParseError(
                "OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned(),
            ));
        }
        Some(items) => Some(Box::new(node(items, depth + 1)?)),
    };
    out.properties = properties(map.get("properties"), depth)?;
    out.additional = match map.get("additionalProperties") {
        None | Some(Value::Null) => Additional::Unset,
        Some(Value::Bool(false)) => Additional::Forbidden,
        Some(Value::Bool(true)) => Additional::Any,
        Some(schema) => Additional::Schema(Box::new(node(schema, depth + 1)?)),
    };
    let mut checks = Vec::new();
    let types = if int_or_string { "integer,string" } else { kind };
    values(map, types, &mut checks);
    junctors(map, depth, &mut checks)?;
    extensions(map, &mut checks);
    out.checks = checks.into();
    Ok(out)
}

fn unsupported(map: &Map<String, Value>) -> Result<(), ParseError> {
    for keyword in UNSUPPORTED {
        let at = if keyword == "schema" { "$schema" } else { keyword };
        let given = match map.get(at) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Object(map)) => keyword == "additionalItems" || !map.is_empty(),
            Some(_) => true,
        };
        if given {
            return Err(ParseError(format!(
                "OpenAPIV3Schema '{keyword}' is not supported"
            )));
        }
    }
    Ok(())
}

fn preserves(map: &Map<String, Value>) -> Result<bool, ParseError> {
    match map.get("x-kubernetes-preserve-unknown-fields") {
        Some(Value::Bool(true)) => Ok(true),
        Some(Value::Bool(false)) => Err(ParseError(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned(),
        )),
        _ => Ok(false),
    }
}

fn properties(value: Option<&Value>, depth: usize) -> Result<Properties, ParseError> {
    let map = value.and_then(Value::as_object).into_iter().flatten();
    let mut out = map
        .map(|(name, schema)| Ok((name.as_str().into(), node(schema, depth + 1)?)))
        .collect::<Result<Vec<(Box<str>, Structural)>, ParseError>>()?;
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out.into())
}

fn values(map: &Map<String, Value>, types: &str, out: &mut Vec<Check>) {
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let count = |key: &str| map.get(key).and_then(Value::as_i64);
    let format = text(map, "format");
    if !format.is_empty() && format::is_known(format, types) {
        out.push(Check::Format(format.into()));
    }
    let exclusive = |key: &str| flag(map, key);
    out.extend(number("maximum").map(|limit| Check::Maximum {
        limit,
        exclusive: exclusive("exclusiveMaximum"),
    }));
    out.extend(number("minimum").map(|limit| Check::Minimum {
        limit,
        exclusive: exclusive("exclusiveMinimum"),
    }));
    out.extend(number("multipleOf").map(Check::MultipleOf));
    out.extend(count("maxLength").map(Check::MaxLength));
    out.extend(count("minLength").map(Check::MinLength));
    let pattern = text(map, "pattern");
    if !pattern.is_empty() {
        out.push(Check::Pattern(Pattern::new(pattern)));
    }
    out.extend(count("maxItems").map(Check::MaxItems));
    out.extend(count("minItems").map(Check::MinItems));
    if flag(map, "uniqueItems") {
        out.push(Check::UniqueItems);
    }
    out.extend(count("maxProperties").map(Check::MaxProperties));
    out.extend(count("minProperties").map(Check::MinProperties));
    if let Some(values) = list(map, "enum") {
        out.push(Check::Enum(values.into()));
    }
    let required = strings(map, "required");
    if !required.is_empty() {
        out.push(Check::Required(required));
    }
}

fn junctors(map: &Map<String, Value>, depth: usize, out: &mut Vec<Check>) -> Result<(), ParseError> {
    type Junctor = fn(Box<[Structural]>) -> Check;
    let kinds: [(&str, Junctor); 3] = [
        ("allOf", Check::AllOf),
        ("anyOf", Check::AnyOf),
        ("oneOf", Check::OneOf),
    ];
    for (key, check) in kinds {
        if let Some(schemas) = list(map, key) {
            let nodes: Result<Vec<Structural>, ParseError> =
                schemas.iter().map(|schema| node(schema, depth + 1)).collect();
            out.push(check(nodes?.into()));
        }
    }
    if let Some(schema) = map.get("not").filter(|v| v.is_object()) {
        out.push(Check::Not(Box::new(node(schema, depth + 1)?)));
    }
    Ok(())
}

fn extensions(map: &Map<String, Value>, out: &mut Vec<Check>) {
    let keys = strings(map, "x-kubernetes-list-map-keys");
    if !keys.is_empty() {
        out.push(Check::ListMapKeys(keys));
    }
    if let Some(rules) = list(map, "x-kubernetes-validations") {
        out.push(Check::Rules(rules.iter().map(rule).collect()));
    }
}

fn rule(value: &Value) -> Rule {
    let part = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().into();
    Rule {
        rule: part("rule"),
        message: part("message"),
        message_expression: part("messageExpression"),
        reason: part("reason"),
        field_path: part("fieldPath"),
        optional_old_self: value.get("optionalOldSelf").and_then(Value::as_bool),
    }
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> &'m str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

/// A list with something in it.
fn list<'m>(map: &'m Map<String, Value>, key: &str) -> Option<&'m [Value]> {
    let list = map.get(key)?.as_array()?;
    (!list.is_empty()).then_some(list)
}

fn strings(map: &Map<String, Value>, key: &str) -> Box<[Box<str>]> {
    let list = list(map, key).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(Into::into).collect()
}

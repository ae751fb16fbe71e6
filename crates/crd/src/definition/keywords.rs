//! The keywords of a schema, node by node (upstream's `ValidateCustomResourceDefinitionOpenAPISchema`).

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{entries, field_path, items, listing, text};
use crate::structural::{Structural, Type};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// What holds only where the definition kept to it before.
#[derive(Clone, Copy)]
pub(super) struct Demands {
    pub known_types: bool,
    pub atomic_sets: bool,
    pub sound_keys: bool,
}

/// What a node inherits from those above it.
#[derive(Clone, Copy)]
struct Context<'c> {
    demands: Demands,
    root: bool,
    inside_metadata: bool,
    /// Why no default may stand here; empty where one may.
    no_defaults: &'c str,
}

pub(super) fn validate(schema: &Value, demands: Demands, path: &Path) -> ErrorList {
    let context = Context {
        demands,
        root: true,
        inside_metadata: false,
        no_defaults: "",
    };
    let mut errors = ErrorList::new();
    node(schema, context, path, &mut errors);
    errors
}

fn node(schema: &Value, context: Context<'_>, path: &Path, errors: &mut ErrorList) {
    unsupported(schema, context, path, errors);
    if schema["uniqueItems"] == true {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
    below(schema, context, path, errors);
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(Error::invalid(&at, false, "must be true or undefined"));
    }
    listing::validate(schema, context.demands, path, errors);
    rules(schema, path, errors);
}

fn unsupported(schema: &Value, context: Context<'_>, path: &Path, errors: &mut ErrorList) {
    let kind = text(schema, "type");
    if context.demands.known_types && !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, &TYPES));
    }
    if !schema["default"].is_null() && !context.no_defaults.is_empty() {
        let detail = format!("must not be set {}", context.no_defaults);
        errors.push(Error::forbidden(&path.child("default"), detail));
    }
    let mut refuse = |key: &str, given: bool| {
        if given {
            errors.push(Error::forbidden(
                &path.child(key),
                format!("{key} is not supported"),
            ));
        }
    };
    refuse("id", !text(schema, "id").is_empty());
    refuse("additionalItems", !schema["additionalItems"].is_null());
    refuse(
        "patternProperties",
        entries(&schema["patternProperties"]).next().is_some(),
    );
    refuse("definitions", entries(&schema["definitions"]).next().is_some());
    refuse("dependencies", schema["dependencies"].is_object());
    refuse("$ref", schema["$ref"].is_string());
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(Error::forbidden(&path.child("type"), detail));
    }
    if !items(&schema["items"]).is_empty() {
        let detail = "items must be a schema object and not an array";
        errors.push(Error::forbidden(&path.child("items"), detail));
    }
    if context.inside_metadata && schema["x-kubernetes-embedded-resource"] == true {
        let at = path.child("x-kubernetes-embedded-resource");
        errors.push(Error::forbidden(&at, "must not be used inside of resource meta"));
    }
}

fn below(schema: &Value, context: Context<'_>, path: &Path, errors: &mut ErrorList) {
    let inner = Context {
        root: false,
        ..context
    };
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let at = path.child("additionalProperties");
        if entries(&schema["properties"]).next().is_some() && additional != true {
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.push(Error::forbidden(&at, detail));
        }
        let mut inner = inner;
        if context.inside_metadata {
            inner.no_defaults = "inside additionalProperties applying to object metadata";
        }
        if additional.is_object() {
            node(additional, inner, &at, errors);
        }
    }
    let embeds = context.root || schema["x-kubernetes-embedded-resource"] == true;
    for (name, property) in entries(&schema["properties"]) {
        let mut inner = inner;
        let reason = format!("in top-level {name}");
        if embeds && crate::object::is_meta_field(name) {
            inner.inside_metadata = true;
            if context.root {
                inner.no_defaults = &reason;
            }
        }
        node(property, inner, &path.child("properties").key(name), errors);
    }
    if schema["not"].is_object() {
        node(&schema["not"], inner, &path.child("not"), errors);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for (index, nested) in items(&schema[key]).iter().enumerate() {
            node(nested, inner, &path.child(key).index(index), errors);
        }
    }
    for (name, nested) in entries(&schema["definitions"]) {
        node(nested, inner, &path.child("definitions").key(name), errors);
    }
    match &schema["items"] {
        Value::Array(list) => {
            for (index, nested) in list.iter().enumerate() {
                node(nested, inner, &path.child("items").index(index), errors);
            }
        }
        nested if nested.is_object() => node(nested, inner, &path.child("items"), errors),
        _ => {}
    }
    for (name, nested) in entries(&schema["dependencies"]).filter(|(_, v)| v.is_object()) {
        node(nested, inner, &path.child("dependencies").key(name), errors);
    }
}

/// The texts of rules; what the expressions say is for those who know CEL.
fn rules(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let list = items(&schema["x-kubernetes-validations"]);
    for (index, rule) in list.iter().enumerate() {
        let at = path.child("x-kubernetes-validations").index(index);
        let (expression, message) = (text(rule, "rule"), text(rule, "message"));
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let blank = |text: &str| text.trim().is_empty();
        if blank(expression) {
            errors.push(Error::required(&at.child("rule"), "rule is not specified"));
        } else if !message.is_empty() && blank(message) {
            let detail = "must be non-empty if specified";
            errors.push(Error::invalid(&at.child("message"), message, detail));
        } else if breaks(message.trim()) {
            errors.push(Error::invalid(
                &at.child("message"),
                message,
                "must not contain line breaks",
            ));
        } else if breaks(expression.trim()) && blank(message) {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(Error::required(&at.child("message"), detail));
        }
        let computed = text(rule, "messageExpression");
        if !computed.is_empty() && blank(computed) {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(Error::required(&at.child("messageExpression"), detail));
        }
        if let Some(reason) = rule["reason"].as_str()
            && !REASONS.contains(&reason)
        {
            errors.push(Error::not_supported(&at.child("reason"), reason, &REASONS));
        }
        rule_path(schema, text(rule, "fieldPath"), &at.child("fieldPath"), errors);
    }
}

fn rule_path(schema: &Value, given: &str, at: &Path, errors: &mut ErrorList) {
    if given.is_empty() {
        return;
    }
    if given.trim().is_empty() {
        errors.push(Error::invalid(at, given, "must be non-empty if specified"));
    }
    if given.contains(['\n', '\r']) {
        errors.push(Error::invalid(at, given, "must not contain line breaks"));
    }
    let leads = Structural::parse(schema).map_or(true, |s| field_path::follow(given, &s, true).is_ok());
    if !leads {
        errors.push(Error::invalid(at, given, "must be a valid path"));
    }
}

/// Some node has a type that there is not.
pub(crate) fn has_unknown_type(schema: &Value) -> bool {
    super::walk::any(schema, &mut |node| Type::parse(text(node, "type")).is_none())
}

//! Parts of a definition as Go prints its internal structs: some messages show them whole.

use corten_meta::html_safe;
use serde_json::{Value, json};

use super::{entries, text};
use crate::structural::Rule;

/// How a field of the internal struct is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Flag,
    /// A pointer or any value: null where absent.
    Any,
    Schema,
    SchemaOrArray,
    SchemaOrFlag,
    Schemas,
    Named,
    Docs,
    Rules,
}

/// `JSONSchemaProps`: Go's names beside ours, in the struct's order.
const FIELDS: [(&str, &str, Form); 43] = [
    ("ID", "id", Form::Text),
    ("Schema", "$schema", Form::Text),
    ("Ref", "$ref", Form::Any),
    ("Description", "description", Form::Text),
    ("Type", "type", Form::Text),
    ("Nullable", "nullable", Form::Flag),
    ("Format", "format", Form::Text),
    ("Title", "title", Form::Text),
    ("Default", "default", Form::Any),
    ("Maximum", "maximum", Form::Any),
    ("ExclusiveMaximum", "exclusiveMaximum", Form::Flag),
    ("Minimum", "minimum", Form::Any),
    ("ExclusiveMinimum", "exclusiveMinimum", Form::Flag),
    ("MaxLength", "maxLength", Form::Any),
    ("MinLength", "minLength", Form::Any),
    ("Pattern", "pattern", Form::Text),
    ("MaxItems", "maxItems", Form::Any),
    ("MinItems", "minItems", Form::Any),
    ("UniqueItems", "uniqueItems", Form::Flag),
    ("MultipleOf", "multipleOf", Form::Any),
    ("Enum", "enum", Form::Any),
    ("MaxProperties", "maxProperties", Form::Any),
    ("MinProperties", "minProperties", Form::Any),
    ("Required", "required", Form::Any),
    ("Items", "items", Form::SchemaOrArray),
    ("AllOf", "allOf", Form::Schemas),
    ("OneOf", "oneOf", Form::Schemas),
    ("AnyOf", "anyOf", Form::Schemas),
    ("Not", "not", Form::Schema),
    ("Properties", "properties", Form::Named),
    ("AdditionalProperties", "additionalProperties", Form::SchemaOrFlag),
    ("PatternProperties", "patternProperties", Form::Named),
    ("Dependencies", "dependencies", Form::Named),
    ("AdditionalItems", "additionalItems", Form::SchemaOrFlag),
    ("Definitions", "definitions", Form::Named),
    ("ExternalDocs", "externalDocs", Form::Docs),
    ("Example", "example", Form::Any),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        Form::Any,
    ),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Form::Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", Form::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Form::Any),
    ("XListType", "x-kubernetes-list-type", Form::Any),
    ("XMapType", "x-kubernetes-map-type", Form::Any),
];

/// Fields a schema's root may have beside a status subresource.
pub(super) const ALLOWED_AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// Go's names of the fields that a schema sets, in the struct's order.
pub(super) fn fields_set(schema: &Value) -> Vec<&'static str> {
    let set = |key: &str, form: Form| match &schema[key] {
        Value::Null | Value::Bool(false) => {
            !schema[key].is_null() && matches!(form, Form::Any | Form::SchemaOrFlag)
        }
        Value::String(text) => !text.is_empty() || matches!(form, Form::Any),
        _ => true,
    };
    let mut out: Vec<&str> = FIELDS
        .iter()
        .filter(|(_, key, form)| set(key, *form))
        .map(|(name, ..)| *name)
        .collect();
    if !schema["x-kubernetes-validations"].is_null() {
        out.push("XValidations");
    }
    out
}

fn object(members: impl Iterator<Item = (String, String)>) -> String {
    let members: Vec<String> = members
        .map(|(name, value)| format!("{}:{value}", Value::from(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn list(items: &[Value], item: fn(&Value) -> String) -> String {
    let items: Vec<String> = items.iter().map(item).collect();
    format!("[{}]", items.join(","))
}

/// A schema as the JSON of Go's internal struct.
pub(super) fn shown_schema(value: &Value) -> String {
    html_safe(&schema(value))
}

/// What stands under `items` as the JSON of Go's internal struct.
pub(super) fn shown_items(value: &Value) -> String {
    html_safe(&field(value, Form::SchemaOrArray))
}

/// A rule as the JSON of Go's internal struct.
pub(crate) fn shown_rule(rule: &Rule) -> String {
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    html_safe(&self::rule(&json!({
        "rule": rule.rule, "message": rule.message, "messageExpression": rule.message_expression,
        "reason": or_null(&rule.reason), "fieldPath": rule.field_path, "optionalOldSelf": rule.optional_old_self,
    })))
}

fn schema(value: &Value) -> String {
    let fields = FIELDS
        .iter()
        .map(|(name, key, form)| ((*name).to_owned(), field(&value[*key], *form)));
    let rules = field(&value["x-kubernetes-validations"], Form::Rules);
    object(fields.chain([("XValidations".to_owned(), rules)]))
}

fn field(value: &Value, form: Form) -> String {
    let null = || "null".to_owned();
    match (form, value) {
        (Form::Text, value) => Value::from(value.as_str().unwrap_or_default()).to_string(),
        (Form::Flag, value) => (value == true).to_string(),
        (_, Value::Null) => null(),
        (Form::Any, Value::Number(number)) => crate::number::shown(&Value::Number(number.clone())),
        (Form::Any, value) => value.to_string(),
        (Form::Schema, value) => schema(value),
        (Form::SchemaOrArray, Value::Array(schemas)) => {
            format!("{{\"Schema\":null,\"JSONSchemas\":{}}}", list(schemas, schema))
        }
        (Form::SchemaOrArray, value) => format!("{{\"Schema\":{},\"JSONSchemas\":null}}", schema(value)),
        (Form::SchemaOrFlag, Value::Bool(flag)) => format!("{{\"Allows\":{flag},\"Schema\":null}}"),
        (Form::SchemaOrFlag, value) => format!("{{\"Allows\":true,\"Schema\":{}}}", schema(value)),
        (Form::Schemas, Value::Array(schemas)) => list(schemas, schema),
        (Form::Named, value) => object(entries(value).map(|(name, s)| (name.clone(), schema(s)))),
        (Form::Docs, value) => format!(
            "{{\"Description\":{},\"URL\":{}}}",
            Value::from(text(value, "description")),
            Value::from(text(value, "url"))
        ),
        (Form::Rules, Value::Array(rules)) => list(rules, rule),
        _ => null(),
    }
}

fn rule(value: &Value) -> String {
    let part = |key: &str| Value::from(text(value, key));
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        part("rule"),
        part("message"),
        part("messageExpression"),
        value["reason"],
        part("fieldPath"),
        value["optionalOldSelf"]
    )
}

/// Which parts the versions share, and are not shown with each.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    pub schema: bool,
    pub subresources: bool,
    pub columns: bool,
    pub selectable: bool,
}

/// `spec.versions` as the JSON of Go's internal structs.
pub(super) fn versions(versions: &[Value], shared: Shared) -> String {
    let each = versions.iter().map(|version| {
        let unless = |hidden: bool, text: String| if hidden { "null".to_owned() } else { text };
        let parts = [
            ("Name", Value::from(text(version, "name")).to_string()),
            ("Served", (version["served"] == true).to_string()),
            ("Storage", (version["storage"] == true).to_string()),
            ("Deprecated", (version["deprecated"] == true).to_string()),
            ("DeprecationWarning", version["deprecationWarning"].to_string()),
            ("Schema", unless(shared.schema, validation(&version["schema"]))),
            (
                "Subresources",
                unless(shared.subresources, subresources(&version["subresources"])),
            ),
            (
                "AdditionalPrinterColumns",
                unless(shared.columns, columns(&version["additionalPrinterColumns"])),
            ),
            (
                "SelectableFields",
                unless(shared.selectable, selectable(&version["selectableFields"])),
            ),
        ];
        object(parts.into_iter().map(|(name, value)| (name.to_owned(), value)))
    });
    html_safe(&format!("[{}]", each.collect::<Vec<_>>().join(",")))
}

fn validation(value: &Value) -> String {
    match &value["openAPIV3Schema"] {
        _ if value.is_null() => "null".to_owned(),
        Value::Null => "{\"OpenAPIV3Schema\":null}".to_owned(),
        given => format!("{{\"OpenAPIV3Schema\":{}}}", schema(given)),
    }
}

fn subresources(value: &Value) -> String {
    if value.is_null() {
        return "null".to_owned();
    }
    let status = if value["status"].is_object() { "{}" } else { "null" };
    let scale = match &value["scale"] {
        Value::Null => "null".to_owned(),
        scale => format!(
            "{{\"SpecReplicasPath\":{},\"StatusReplicasPath\":{},\"LabelSelectorPath\":{}}}",
            Value::from(text(scale, "specReplicasPath")),
            Value::from(text(scale, "statusReplicasPath")),
            scale["labelSelectorPath"]
        ),
    };
    format!("{{\"Status\":{status},\"Scale\":{scale}}}")
}

fn columns(value: &Value) -> String {
    let column = |column: &Value| {
        let part = |key: &str| Value::from(text(column, key));
        format!(
            "{{\"Name\":{},\"Type\":{},\"Format\":{},\"Description\":{},\"Priority\":{},\"JSONPath\":{}}}",
            part("name"),
            part("type"),
            part("format"),
            part("description"),
            column["priority"].as_i64().unwrap_or(0),
            part("jsonPath")
        )
    };
    value
        .as_array()
        .map_or_else(|| "null".to_owned(), |items| list(items, column))
}

fn selectable(value: &Value) -> String {
    let field = |field: &Value| format!("{{\"JSONPath\":{}}}", Value::from(text(field, "jsonPath")));
    value
        .as_array()
        .map_or_else(|| "null".to_owned(), |items| list(items, field))
}

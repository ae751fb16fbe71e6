//! Numbers of gnostic's `OpenAPIv2.proto`.

use serde_json::Value;

use super::Shape::{
    Any, Anys, Integer, Many, Named, Number, One, Requirements, SchemaOrTruth, Single, Text, Texts, TextsIn,
    Truth,
};
use super::{Message, Writer, field, message};

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        field(1, "swagger", Text),
        field(2, "info", One(info)),
        field(3, "host", Text),
        field(4, "basePath", Text),
        field(5, "schemes", Texts),
        field(6, "consumes", Texts),
        field(7, "produces", Texts),
        field(8, "paths", Named(2, path_item)),
        field(9, "definitions", Named(1, schema)),
        field(12, "security", Requirements),
        field(13, "securityDefinitions", Named(1, security)),
    ],
    extensions: Some(16),
};

static INFO: Message = Message {
    fields: &[
        field(1, "title", Text),
        field(2, "version", Text),
        field(3, "description", Text),
    ],
    extensions: Some(7),
};

static SCHEMA: Message = Message {
    fields: &[
        field(1, "$ref", Text),
        field(2, "format", Text),
        field(3, "title", Text),
        field(4, "description", Text),
        field(5, "default", Any),
        field(6, "multipleOf", Number),
        field(7, "maximum", Number),
        field(8, "exclusiveMaximum", Truth),
        field(9, "minimum", Number),
        field(10, "exclusiveMinimum", Truth),
        field(11, "maxLength", Integer),
        field(12, "minLength", Integer),
        field(13, "pattern", Text),
        field(14, "maxItems", Integer),
        field(15, "minItems", Integer),
        field(16, "uniqueItems", Truth),
        field(17, "maxProperties", Integer),
        field(18, "minProperties", Integer),
        field(19, "required", Texts),
        field(20, "enum", Anys),
        field(21, "additionalProperties", SchemaOrTruth(schema)),
        field(22, "type", TextsIn),
        field(23, "items", Single(schema)),
        field(24, "allOf", Many(schema)),
        field(25, "properties", Named(1, schema)),
        field(26, "discriminator", Text),
        field(27, "readOnly", Truth),
        field(29, "externalDocs", One(external_docs)),
        field(30, "example", Any),
    ],
    extensions: Some(31),
};

static EXTERNAL_DOCS: Message = Message {
    fields: &[field(1, "description", Text), field(2, "url", Text)],
    extensions: Some(3),
};

static PATH_ITEM: Message = Message {
    fields: &[
        field(1, "$ref", Text),
        field(2, "get", One(operation)),
        field(3, "put", One(operation)),
        field(4, "post", One(operation)),
        field(5, "delete", One(operation)),
        field(6, "options", One(operation)),
        field(7, "head", One(operation)),
        field(8, "patch", One(operation)),
        field(9, "parameters", Many(parameter)),
    ],
    extensions: Some(10),
};

static OPERATION: Message = Message {
    fields: &[
        field(1, "tags", Texts),
        field(2, "summary", Text),
        field(3, "description", Text),
        field(4, "externalDocs", One(external_docs)),
        field(5, "operationId", Text),
        field(6, "produces", Texts),
        field(7, "consumes", Texts),
        field(8, "parameters", Many(parameter)),
        field(9, "responses", Named(1, response)),
        field(10, "schemes", Texts),
        field(11, "deprecated", Truth),
        field(12, "security", Requirements),
    ],
    extensions: Some(13),
};

static RESPONSE: Message = Message {
    fields: &[field(1, "description", Text), field(2, "schema", Single(schema))],
    extensions: Some(5),
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        field(1, "description", Text),
        field(2, "name", Text),
        field(3, "in", Text),
        field(4, "required", Truth),
        field(5, "schema", One(schema)),
    ],
    extensions: Some(6),
};

/// Header parameters have the same numbers.
static PATH_PARAMETER: Message = Message {
    fields: &[
        field(1, "required", Truth),
        field(2, "in", Text),
        field(3, "description", Text),
        field(4, "name", Text),
        field(5, "type", Text),
        field(6, "format", Text),
        field(8, "collectionFormat", Text),
        field(9, "default", Any),
        field(16, "pattern", Text),
        field(19, "uniqueItems", Truth),
        field(20, "enum", Anys),
    ],
    extensions: Some(22),
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        field(1, "required", Truth),
        field(2, "in", Text),
        field(3, "description", Text),
        field(4, "name", Text),
        field(5, "allowEmptyValue", Truth),
        field(6, "type", Text),
        field(7, "format", Text),
        field(9, "collectionFormat", Text),
        field(10, "default", Any),
        field(17, "pattern", Text),
        field(20, "uniqueItems", Truth),
        field(21, "enum", Anys),
    ],
    extensions: Some(23),
};

static API_KEY: Message = Message {
    fields: &[
        field(1, "type", Text),
        field(2, "name", Text),
        field(3, "in", Text),
        field(4, "description", Text),
    ],
    extensions: Some(5),
};

static REFERENCE: Message = Message {
    fields: &[field(1, "$ref", Text), field(2, "description", Text)],
    extensions: None,
};

fn info(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &INFO, json);
}

fn schema(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &SCHEMA, json);
}

fn external_docs(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &EXTERNAL_DOCS, json);
}

fn path_item(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &PATH_ITEM, json);
}

fn operation(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &OPERATION, json);
}

/// A `ResponseValue`.
fn response(w: &mut Writer, number: u32, json: &Value) {
    w.message(number, |w| match json["$ref"].is_string() {
        true => message(w, 2, &REFERENCE, json),
        false => message(w, 1, &RESPONSE, json),
    });
}

/// A `SecurityDefinitionsItem`; API keys are the only ones there are.
fn security(w: &mut Writer, number: u32, json: &Value) {
    w.message(number, |w| message(w, 2, &API_KEY, json));
}

/// A `ParametersItem`: which message it holds is decided by the place of the parameter.
fn parameter(w: &mut Writer, number: u32, json: &Value) {
    if json["$ref"].is_string() {
        return w.message(number, |w| message(w, 2, &REFERENCE, json));
    }
    w.message(number, |w| {
        w.message(1, |w| match json["in"].as_str() {
            Some("body") => message(w, 1, &BODY_PARAMETER, json),
            Some("header") => w.message(2, |w| message(w, 1, &PATH_PARAMETER, json)),
            Some("path") => w.message(2, |w| message(w, 4, &PATH_PARAMETER, json)),
            _ => w.message(2, |w| message(w, 3, &QUERY_PARAMETER, json)),
        });
    });
}

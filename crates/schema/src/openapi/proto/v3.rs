//! Numbers of gnostic's `OpenAPIv3.proto`.

use serde_json::Value;

use super::Shape::{
    Any, Anys, Integer, Many, Named, Number, One, Requirements, Responses, Scalar, SchemaOrTruth, Single,
    Text, Texts, Truth,
};
use super::{Message, Writer, field, message};

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        field(1, "openapi", Text),
        field(2, "info", One(info)),
        field(4, "paths", Named(1, path_item)),
        field(5, "components", One(components)),
        field(6, "security", Requirements),
    ],
    extensions: Some(9),
};

static INFO: Message = Message {
    fields: &[
        field(1, "title", Text),
        field(2, "description", Text),
        field(6, "version", Text),
    ],
    extensions: Some(7),
};

static COMPONENTS: Message = Message {
    fields: &[
        field(1, "schemas", Named(1, schema)),
        field(2, "responses", Named(1, response)),
        field(3, "parameters", Named(1, parameter)),
        field(7, "securitySchemes", Named(1, security)),
    ],
    extensions: Some(10),
};

static SCHEMA: Message = Message {
    fields: &[
        field(1, "nullable", Truth),
        field(3, "readOnly", Truth),
        field(4, "writeOnly", Truth),
        field(6, "externalDocs", One(external_docs)),
        field(7, "example", Any),
        field(8, "deprecated", Truth),
        field(9, "title", Text),
        field(10, "multipleOf", Number),
        field(11, "maximum", Number),
        field(12, "exclusiveMaximum", Truth),
        field(13, "minimum", Number),
        field(14, "exclusiveMinimum", Truth),
        field(15, "maxLength", Integer),
        field(16, "minLength", Integer),
        field(17, "pattern", Text),
        field(18, "maxItems", Integer),
        field(19, "minItems", Integer),
        field(20, "uniqueItems", Truth),
        field(21, "maxProperties", Integer),
        field(22, "minProperties", Integer),
        field(23, "required", Texts),
        field(24, "enum", Anys),
        field(25, "type", Text),
        field(26, "allOf", Many(schema)),
        field(27, "oneOf", Many(schema)),
        field(28, "anyOf", Many(schema)),
        field(29, "not", One(plain_schema)),
        field(30, "items", Single(schema)),
        field(31, "properties", Named(1, schema)),
        field(32, "additionalProperties", SchemaOrTruth(schema)),
        field(33, "default", Scalar),
        field(34, "description", Text),
        field(35, "format", Text),
    ],
    extensions: Some(36),
};

static EXTERNAL_DOCS: Message = Message {
    fields: &[field(1, "description", Text), field(2, "url", Text)],
    extensions: Some(3),
};

static PATH_ITEM: Message = Message {
    fields: &[
        field(1, "$ref", Text),
        field(2, "summary", Text),
        field(3, "description", Text),
        field(4, "get", One(operation)),
        field(5, "put", One(operation)),
        field(6, "post", One(operation)),
        field(7, "delete", One(operation)),
        field(8, "options", One(operation)),
        field(9, "head", One(operation)),
        field(10, "patch", One(operation)),
        field(11, "trace", One(operation)),
        field(13, "parameters", Many(parameter)),
    ],
    extensions: Some(14),
};

static OPERATION: Message = Message {
    fields: &[
        field(1, "tags", Texts),
        field(2, "summary", Text),
        field(3, "description", Text),
        field(4, "externalDocs", One(external_docs)),
        field(5, "operationId", Text),
        field(6, "parameters", Many(parameter)),
        field(7, "requestBody", One(request_body)),
        field(8, "responses", Responses(response)),
        field(10, "deprecated", Truth),
        field(11, "security", Requirements),
    ],
    extensions: Some(13),
};

static PARAMETER: Message = Message {
    fields: &[
        field(1, "name", Text),
        field(2, "in", Text),
        field(3, "description", Text),
        field(4, "required", Truth),
        field(5, "deprecated", Truth),
        field(6, "allowEmptyValue", Truth),
        field(7, "style", Text),
        field(8, "explode", Truth),
        field(9, "allowReserved", Truth),
        field(10, "schema", One(schema)),
        field(11, "example", Any),
        field(13, "content", Named(1, media_type)),
    ],
    extensions: Some(14),
};

static REQUEST_BODY: Message = Message {
    fields: &[
        field(1, "description", Text),
        field(2, "content", Named(1, media_type)),
        field(3, "required", Truth),
    ],
    extensions: Some(4),
};

static RESPONSE: Message = Message {
    fields: &[
        field(1, "description", Text),
        field(3, "content", Named(1, media_type)),
    ],
    extensions: Some(5),
};

static MEDIA_TYPE: Message = Message {
    fields: &[field(1, "schema", One(schema)), field(2, "example", Any)],
    extensions: Some(5),
};

static SECURITY: Message = Message {
    fields: &[
        field(1, "type", Text),
        field(2, "description", Text),
        field(3, "name", Text),
        field(4, "in", Text),
        field(5, "scheme", Text),
        field(6, "bearerFormat", Text),
    ],
    extensions: Some(9),
};

static REFERENCE: Message = Message {
    fields: &[field(1, "$ref", Text)],
    extensions: None,
};

/// Everything that may stand elsewhere is the thing itself or a reference to it.
fn or_reference(w: &mut Writer, number: u32, of: &'static Message, json: &Value) {
    w.message(number, |w| match json["$ref"].is_string() {
        true => message(w, 2, &REFERENCE, json),
        false => message(w, 1, of, json),
    });
}

fn info(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &INFO, json);
}

fn components(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &COMPONENTS, json);
}

fn schema(w: &mut Writer, number: u32, json: &Value) {
    or_reference(w, number, &SCHEMA, json);
}

fn plain_schema(w: &mut Writer, number: u32, json: &Value) {
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

fn parameter(w: &mut Writer, number: u32, json: &Value) {
    or_reference(w, number, &PARAMETER, json);
}

fn request_body(w: &mut Writer, number: u32, json: &Value) {
    or_reference(w, number, &REQUEST_BODY, json);
}

fn response(w: &mut Writer, number: u32, json: &Value) {
    or_reference(w, number, &RESPONSE, json);
}

fn media_type(w: &mut Writer, number: u32, json: &Value) {
    message(w, number, &MEDIA_TYPE, json);
}

fn security(w: &mut Writer, number: u32, json: &Value) {
    or_reference(w, number, &SECURITY, json);
}

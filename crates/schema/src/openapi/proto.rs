//! OpenAPI v2 in gnostic's protobuf form, out of the JSON form.

use serde_json::{Map, Value};

use crate::wire::Writer;

/// A whole document.
pub(super) fn document(json: &Value) -> Vec<u8> {
    let mut w = Writer::with_capacity(1 << 20);
    w.message(9, |w| {
        for (name, schema) in entries(&json["definitions"]) {
            named(w, 1, name, |w| self::schema(w, schema));
        }
    });
    w.message(8, |w| {
        for (name, item) in entries(&json["paths"]) {
            named(w, 2, name, |w| path_item(w, item));
        }
    });
    w.message(2, |w| {
        text(w, 2, &json["info"]["version"]);
        text(w, 1, &json["info"]["title"]);
    });
    text(&mut w, 1, &json["swagger"]);
    w.finish()
}

/// The members of an object, last to first: messages are written back to front.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flat_map(Map::iter)
        .rev()
        .map(|(k, v)| (k.as_str(), v))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().rev()
}

fn text(w: &mut Writer, number: u32, value: &Value) {
    if let Some(text) = value.as_str().filter(|t| !t.is_empty()) {
        w.bytes(number, text.as_bytes());
    }
}

fn texts(w: &mut Writer, number: u32, value: &Value) {
    items(value).for_each(|v| text(w, number, v));
}

fn truth(w: &mut Writer, number: u32, value: &Value) {
    if value == &Value::Bool(true) {
        w.int(number, 1);
    }
}

/// `{name = 1, value = 2}`.
fn named(w: &mut Writer, number: u32, name: &str, value: impl FnOnce(&mut Writer)) {
    w.message(number, |w| {
        w.message(2, value);
        w.bytes(1, name.as_bytes());
    });
}

/// Vendor extensions: any value as YAML, of which JSON is a part.
fn extensions(w: &mut Writer, number: u32, object: &Value) {
    for (name, value) in entries(object).filter(|(name, _)| name.starts_with("x-")) {
        named(w, number, name, |w| w.bytes(2, yaml(value).as_bytes()));
    }
}

fn yaml(value: &Value) -> String {
    crate::encode::yaml(value)
}

fn schema(w: &mut Writer, json: &Value) {
    extensions(w, 31, json);
    if json["properties"].is_object() {
        w.message(25, |w| {
            for (name, property) in entries(&json["properties"]) {
                named(w, 1, name, |w| schema(w, property));
            }
        });
    }
    if json["items"].is_object() {
        w.message(23, |w| w.message(1, |w| schema(w, &json["items"])));
    }
    if let Some(kind) = json["type"].as_str() {
        w.message(22, |w| w.bytes(1, kind.as_bytes()));
    }
    if json["additionalProperties"].is_object() {
        w.message(21, |w| w.message(1, |w| schema(w, &json["additionalProperties"])));
    }
    for value in items(&json["enum"]) {
        w.message(20, |w| w.bytes(2, yaml(value).as_bytes()));
    }
    texts(w, 19, &json["required"]);
    text(w, 4, &json["description"]);
    text(w, 2, &json["format"]);
    text(w, 1, &json["$ref"]);
}

fn path_item(w: &mut Writer, json: &Value) {
    for value in items(&json["parameters"]) {
        parameter(w, 9, value);
    }
    let methods = ["get", "put", "post", "delete", "options", "head", "patch"];
    for (number, method) in (2..9_u32).zip(methods).rev() {
        if json[method].is_object() {
            w.message(number, |w| operation(w, &json[method]));
        }
    }
}

fn operation(w: &mut Writer, json: &Value) {
    extensions(w, 13, json);
    w.message(9, |w| {
        for (code, response) in entries(&json["responses"]) {
            named(w, 1, code, |w| {
                w.message(1, |w| {
                    if response["schema"].is_object() {
                        w.message(2, |w| w.message(1, |w| schema(w, &response["schema"])));
                    }
                    text(w, 1, &response["description"]);
                });
            });
        }
    });
    for value in items(&json["parameters"]) {
        parameter(w, 8, value);
    }
    texts(w, 10, &json["schemes"]);
    texts(w, 7, &json["consumes"]);
    texts(w, 6, &json["produces"]);
    text(w, 5, &json["operationId"]);
    texts(w, 1, &json["tags"]);
}

fn parameter(w: &mut Writer, number: u32, json: &Value) {
    w.message(number, |w| w.message(1, |w| one_parameter(w, json)));
}

fn one_parameter(w: &mut Writer, json: &Value) {
    match json["in"].as_str() {
        Some("body") => w.message(1, |w| {
            w.message(5, |w| schema(w, &json["schema"]));
            truth(w, 4, &json["required"]);
            text(w, 3, &json["in"]);
            text(w, 2, &json["name"]);
        }),
        Some("path") => w.message(2, |w| {
            w.message(4, |w| {
                text(w, 5, &json["type"]);
                text(w, 4, &json["name"]);
                text(w, 2, &json["in"]);
                truth(w, 1, &json["required"]);
            });
        }),
        _ => w.message(2, |w| {
            w.message(3, |w| {
                text(w, 6, &json["type"]);
                text(w, 4, &json["name"]);
                text(w, 2, &json["in"]);
            });
        }),
    }
}

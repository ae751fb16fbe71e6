//! Secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_meta::object;
use serde_json::Value;

use super::super::StrategyContext;
use super::super::rules::{At, ErrorList, immutable};
use super::configmap::{SIZE_MAX, decoded_size, frozen, keys};
use super::{PLAIN, Rules, key_pair};

pub(super) const RULES: Rules = Rules {
    prepare_update,
    body,
    change,
    warnings: |secret, _| warnings(secret),
    selectable: &["type"],
    ..PLAIN
};

const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// A type that is not given stays.
fn prepare_update(_: &StrategyContext<'_>, secret: &mut Value, old: &Value) {
    if object::str_at(secret, &["type"]).is_empty() {
        secret["type"] = old["type"].clone();
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let data = at.get("data");
    keys(&data, errors);
    if decoded_size(&data) > SIZE_MAX {
        data.too_long(errors, SIZE_MAX as i64);
    }
    contents(at, &data, errors);
}

/// What a type promises is there.
fn contents(at: &At<'_, '_>, data: &At<'_, '_>, errors: &mut ErrorList) {
    let need = |key: &str, errors: &mut ErrorList| {
        if !data.key(key).is_set() {
            data.key(key).required(errors, "");
        }
    };
    match at.get("type").str() {
        "kubernetes.io/service-account-token" => {
            let metadata = at.get("metadata");
            let annotations = metadata.get("annotations");
            annotations.key(ACCOUNT_NAME).nonempty(errors);
        }
        "kubernetes.io/dockercfg" => json_object(&data.key(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => json_object(&data.key(".dockerconfigjson"), errors),
        "kubernetes.io/basic-auth" if !data.key("username").is_set() && !data.key("password").is_set() => {
            need("username", errors);
            need("password", errors);
        }
        "kubernetes.io/ssh-auth" => data.key("ssh-privatekey").nonempty(errors),
        "kubernetes.io/tls" => {
            need("tls.crt", errors);
            need("tls.key", errors);
        }
        _ => {}
    }
}

/// A key that does not go with its certificate.
fn warnings(secret: &Value) -> Vec<String> {
    if secret["type"] != "kubernetes.io/tls" {
        return Vec::new();
    }
    let bytes = |key: &str| {
        let text = secret["data"][key].as_str().unwrap_or_default();
        STANDARD.decode(text).unwrap_or_default()
    };
    key_pair::problem(&bytes("tls.crt"), &bytes("tls.key"))
        .into_iter()
        .collect()
}

fn json_object(at: &At<'_, '_>, errors: &mut ErrorList) {
    if !at.is_set() {
        return at.required(errors, "");
    }
    let bytes = STANDARD.decode(at.str()).unwrap_or_default();
    if let Some(message) = json_problem(&bytes) {
        at.invalid_as(errors, "<secret contents redacted>", &message);
    }
}

/// Why Go would not read a map from it.
fn json_problem(bytes: &[u8]) -> Option<String> {
    if let Some(error) = corten_schema::decode::syntax::go_error(bytes) {
        return Some(error);
    }
    let kind = match corten_schema::decode::json_value(bytes).ok()? {
        Value::Object(_) | Value::Null => return None,
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Array(_) => "array",
    };
    Some(format!(
        "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    ))
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let kind = at.get("type");
    immutable(&kind.path(), kind.value, &old["type"], errors);
    frozen(at, old, &["data"], errors);
}

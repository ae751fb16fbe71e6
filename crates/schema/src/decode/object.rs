//! Request bodies: which kind they hold, whether it fits, and upstream's texts when it does not.

use std::borrow::Cow;

use corten_meta::{GroupVersionKind, Status, api_version};
use serde::Deserialize;
use serde_json::Value;

use super::settle::settle;
use super::{Media, json_value, syntax, with_json, yaml};
use crate::typed::{self, Findings, Mode, Outcome};
use crate::types::{Kind, Shape, TypeId, type_of};
use crate::wire;

/// A body that was read.
#[derive(Debug)]
pub struct Decoded {
    /// The kind it turned out to hold: the expected one, or another version or group of the same kind.
    pub gvk: GroupVersionKind,
    /// The object in Go's form, `apiVersion` and `kind` set.
    pub value: Value,
    /// For Warn: one text per unknown or repeated field.
    pub warnings: Vec<String>,
}

/// Reads a request body that should hold `expected` (used where the body names no kind), as upstream's handlers do. Every
/// error is a bad request with upstream's text.
pub fn object(
    bytes: &[u8],
    media: Media,
    expected: &GroupVersionKind,
    mode: Mode,
) -> corten_meta::Result<Decoded> {
    let json = match media {
        Media::Json => Cow::Borrowed(bytes),
        Media::Yaml => match yaml::to_value(bytes) {
            Ok(value) => Cow::Owned(value.to_string().into_bytes()),
            Err(error) => return Err(unrecognized(expected, &error, bytes)),
        },
        Media::Protobuf => return protobuf(bytes, expected),
    };
    let id = type_of(expected).ok_or_else(|| not_registered(expected, expected))?;
    if let Ok((Ok(value), warnings)) = typed_json(&json, id)
        && names(&value, expected)
    {
        return finish(value, expected.clone(), expected, warnings, bytes, media, mode);
    }
    slow(&json, bytes, media, expected, mode)
}

/// The body names the expected kind or none.
fn names(value: &Value, expected: &GroupVersionKind) -> bool {
    let version = value
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    (version.is_empty() || version == expected.api_version()) && (kind.is_empty() || kind == expected.kind)
}

fn typed_json(bytes: &[u8], id: TypeId) -> Result<(Outcome, Vec<String>), String> {
    let mut findings = Findings::default();
    let shape = Shape {
        kind: Kind::Struct(id),
        pointer: false,
        expr: id.expr(),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    match typed::read(&mut deserializer, shape, &mut findings) {
        Some(Err(error)) => Ok((Err(error), Vec::new())),
        // Null leaves Go's zero value as it was.
        Some(Ok(Value::Null)) if deserializer.end().is_ok() && bytes != b"{}" => typed_json(b"{}", id),
        Some(Ok(value)) if deserializer.end().is_ok() => Ok((Ok(value), findings.warnings)),
        _ => Err(syntax::go_error(bytes).unwrap_or_else(|| "json: the document cannot be read".to_owned())),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TypeMeta {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
}

/// What the body says it is; the error is upstream's for text that is no object.
fn type_meta(json: &[u8]) -> Result<GroupVersionKind, String> {
    let head = "couldn't get version/kind; json parse error: ";
    if let Some(error) = syntax::go_error(json) {
        return Err(format!("{head}{error}"));
    }
    let found = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        _ => "object",
    };
    // A derived reader takes a list for a struct; Go's does not.
    let is_list = json.trim_ascii_start().starts_with(b"[");
    let read = with_json(json, |d| TypeMeta::deserialize(d).ok().filter(|_| !is_list));
    let Ok(Some(meta)) = read else {
        let value = json_value(json).unwrap_or(Value::Null);
        let wrong = ["apiVersion", "kind"]
            .iter()
            .find_map(|f| Some((f, value.get(f).filter(|v| !v.is_string())?)));
        return Err(match wrong {
            Some((field, value)) => {
                let found = found(value);
                format!("{head}json: cannot unmarshal {found} into Go struct field .{field} of type string")
            }
            None => {
                let wanted = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
                format!(
                    "{head}json: cannot unmarshal {} into Go value of type {wanted}",
                    found(&value)
                )
            }
        });
    };
    let version = meta.api_version.unwrap_or_default();
    GroupVersionKind::from_api_version(&version, &meta.kind.unwrap_or_default())
}

/// Members the body leaves out come from the expected kind.
fn with_defaults(actual: GroupVersionKind, expected: &GroupVersionKind) -> GroupVersionKind {
    let kind = if actual.kind.is_empty() {
        expected.kind.clone()
    } else {
        actual.kind
    };
    if actual.version.is_empty() && (actual.group.is_empty() || actual.group == expected.group) {
        return GroupVersionKind {
            group: expected.group.clone(),
            version: expected.version.clone(),
            kind,
        };
    }
    GroupVersionKind { kind, ..actual }
}

/// Finds out what the body is, for the right error text, and takes another version of the same kind.
fn slow(
    json: &[u8],
    bytes: &[u8],
    media: Media,
    expected: &GroupVersionKind,
    mode: Mode,
) -> corten_meta::Result<Decoded> {
    let actual = type_meta(json).map_err(|e| unrecognized(expected, &e, bytes))?;
    let actual = with_defaults(actual, expected);
    let id = type_of(&actual).ok_or_else(|| not_registered(&actual, expected))?;
    if actual.kind != expected.kind {
        return Err(cannot_convert(&actual, expected));
    }
    match typed_json(json, id) {
        Ok((Ok(value), warnings)) => finish(value, actual, expected, warnings, bytes, media, mode),
        Ok((Err(error), _)) | Err(error) => Err(wrapped(&actual, expected, &error)),
    }
}

fn finish(
    mut value: Value,
    gvk: GroupVersionKind,
    expected: &GroupVersionKind,
    warnings: Vec<String>,
    bytes: &[u8],
    media: Media,
    mode: Mode,
) -> corten_meta::Result<Decoded> {
    corten_meta::object::set_gvk(&mut value, &gvk);
    let mut warnings = if mode == Mode::Ignore {
        Vec::new()
    } else {
        warnings
    };
    if media == Media::Yaml && mode != Mode::Ignore {
        warnings.splice(0..0, yaml::repeated_key(bytes));
    }
    if mode == Mode::Strict && !warnings.is_empty() {
        return Err(wrapped(&gvk, expected, &typed::strict_error(&warnings)));
    }
    settle(&gvk, &mut value).map_err(|error| wrapped(&gvk, expected, &error))?;
    Ok(Decoded { gvk, value, warnings })
}

fn protobuf(bytes: &[u8], expected: &GroupVersionKind) -> corten_meta::Result<Decoded> {
    let envelope = wire::Envelope::read(bytes).map_err(|e| unrecognized(expected, &e.to_string(), bytes))?;
    let actual = GroupVersionKind::from_api_version(&envelope.api_version, &envelope.kind)
        .map_err(|e| unrecognized(expected, &e, bytes))?;
    let gvk = with_defaults(actual, expected);
    if type_of(&gvk).is_none() {
        return Err(not_registered(&gvk, expected));
    }
    if gvk.kind != expected.kind {
        return Err(cannot_convert(&gvk, expected));
    }
    let mut value = wire::decode(&gvk, envelope.raw).map_err(|e| wrapped(&gvk, expected, &e.to_string()))?;
    corten_meta::object::set_gvk(&mut value, &gvk);
    settle(&gvk, &mut value).map_err(|error| wrapped(&gvk, expected, &error))?;
    Ok(Decoded {
        gvk,
        value,
        warnings: Vec::new(),
    })
}

/// Reads a value that is already JSON (the outcome of a patch) as a kind, with the same checks and texts.
pub fn as_kind(value: Value, expected: &GroupVersionKind, mode: Mode) -> corten_meta::Result<Decoded> {
    let id = type_of(expected).ok_or_else(|| not_registered(expected, expected))?;
    match typed::normalize_with(id, value) {
        (Ok(value), warnings) => finish(
            value,
            expected.clone(),
            expected,
            warnings,
            &[],
            Media::Json,
            mode,
        ),
        (Err(error), _) => Err(wrapped(expected, expected, &error)),
    }
}

/// [`as_kind`] for a value that says what it is, and may be another version of the kind.
pub fn as_stated(value: Value, expected: &GroupVersionKind, mode: Mode) -> corten_meta::Result<Decoded> {
    if names(&value, expected) {
        return as_kind(value, expected, mode);
    }
    let json = value.to_string();
    slow(json.as_bytes(), json.as_bytes(), Media::Json, expected, mode)
}

/// Reads options such as DeleteOptions from a body; an empty body gives the empty options.
pub fn options(bytes: &[u8], media: Media, expected: &GroupVersionKind) -> corten_meta::Result<Value> {
    if bytes.is_empty() {
        return Ok(serde_json::json!({"apiVersion": expected.api_version(), "kind": expected.kind}));
    }
    object(bytes, media, expected, Mode::Ignore).map(|decoded| decoded.value)
}

fn wrapped(actual: &GroupVersionKind, expected: &GroupVersionKind, error: &str) -> Status {
    let version = corten_meta::quote(&actual.version);
    Status::bad_request(format!(
        "{} in version {version} cannot be handled as a {}: {error}",
        actual.kind, expected.kind
    ))
}

fn not_registered(actual: &GroupVersionKind, expected: &GroupVersionKind) -> Status {
    let kind = corten_meta::quote(&actual.kind);
    let version = corten_meta::quote(&api_version(&actual.group, &actual.version));
    let scheme = corten_meta::quote(scheme_of(&expected.group));
    wrapped(
        actual,
        expected,
        &format!("no kind {kind} is registered for version {version} in scheme {scheme}"),
    )
}

/// Where upstream makes the scheme that a group's objects are read with, as a release build (`-trimpath`) names it: from
/// the last `/pkg/` of the file's module path on.
fn scheme_of(group: &str) -> &'static str {
    match group {
        "apiextensions.k8s.io" => "pkg/apiserver/apiserver.go:55",
        "apiregistration.k8s.io" => "pkg/apiserver/scheme/scheme.go:28",
        _ => "pkg/api/legacyscheme/scheme.go:30",
    }
}

fn cannot_convert(actual: &GroupVersionKind, expected: &GroupVersionKind) -> Status {
    let group = expected.group.split('.').next().unwrap_or_default();
    let group = if group.is_empty() { "core" } else { group };
    let error = format!(
        "converting ({}.{}) to ({group}.{}): unknown conversion",
        actual.version, actual.kind, expected.kind
    );
    wrapped(actual, expected, &error)
}

/// Bytes shown of a body whose kind could not be read.
const SHOWN_MAX: usize = 30;

fn unrecognized(expected: &GroupVersionKind, error: &str, body: &[u8]) -> Status {
    let shown = &body[..body.len().min(SHOWN_MAX)];
    let summary = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|b| format!("{b:02x}")).collect(),
    };
    let more = if body.len() > SHOWN_MAX { " ..." } else { "" };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {error} ({summary}{more})",
        expected.kind
    ))
}

//! Bodies of custom resources: JSON or YAML into an object of a version, pruned and with defaults. Rules: upstream's
//! unstructured decoding with its schema coercion (`apiserver/customresource_handler.go`).

use std::fmt;

use corten_crd::resource::Version;
use corten_meta::{Status, object};
use corten_schema::decode::{self, Floats};
use serde_json::Value;

use crate::negotiate::Format;
use crate::options::Validation;

/// A body that was read; `warnings` are texts for fields that are unknown or stand twice.
pub struct Read {
    pub value: Value,
    pub warnings: Vec<String>,
}

/// Reads a body.
///
/// # Errors
/// 400 in upstream's words.
pub fn read(version: &Version, body: &[u8], format: Format, validation: Validation) -> Result<Read, Status> {
    let kind = &version.gvk.kind;
    let unread = |error: String| Status::bad_request(unrecognized(kind, &error, body));
    let (value, mut warnings) = match format {
        Format::Json => decode::json_repeated(body, Floats::Whole)
            .map_err(|error| unread(format!("couldn't get version/kind; json parse error: {error}")))?,
        Format::Yaml => {
            let value = decode::yaml_value(body).map_err(unread)?;
            (value, decode::repeated_key(body).into_iter().collect())
        }
        Format::Protobuf => {
            let text = "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";
            return Err(wrapped(version, text));
        }
    };
    if !value.is_object() || object::kind(&value).is_empty() {
        let text = String::from_utf8_lossy(body);
        return Err(unread(format!("Object 'Kind' is missing in '{text}'")));
    }
    let mut value = value;
    check_version(version, &value)?;
    if validation == Validation::Ignore {
        warnings.clear();
    }
    coerce(version, &mut value, validation, &mut warnings)?;
    Ok(Read { value, warnings })
}

/// Reads what a patch made.
///
/// # Errors
/// 400 with the text of what does not fit.
pub fn patched(version: &Version, mut value: Value, validation: Validation) -> Result<Read, Status> {
    let mut warnings = Vec::new();
    coerce(version, &mut value, validation, &mut warnings)?;
    Ok(Read { value, warnings })
}

/// Reads what an apply merged.
///
/// # Errors
/// 400 with the text of what does not fit.
pub fn merged(version: &Version, mut value: Value) -> Result<Value, Status> {
    version.decode_merged(&mut value)?;
    version.default(&mut value);
    Ok(value)
}

/// Prunes, reports, fills in defaults.
fn coerce(
    version: &Version,
    value: &mut Value,
    validation: Validation,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let unknown = version.decode(value, validation != Validation::Ignore)?;
    let told = unknown
        .into_iter()
        .map(|path| format!("unknown field {}", corten_meta::quote(&path)));
    warnings.extend(told);
    if validation == Validation::Strict && !warnings.is_empty() {
        let text = format!("strict decoding error: {}", warnings.join(", "));
        return Err(wrapped(version, &text));
    }
    version.default(value);
    Ok(())
}

fn check_version(version: &Version, value: &Value) -> Result<(), Status> {
    let (own, wanted) = (object::api_version(value), version.gvk.api_version());
    if own == wanted {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the API version in the data ({own}) does not match the expected API version ({wanted})"
    )))
}

fn wrapped(version: &Version, error: &str) -> Status {
    let (name, kind) = (corten_meta::quote(&version.gvk.version), &version.gvk.kind);
    Status::bad_request(format!(
        "{kind} in version {name} cannot be handled as a {kind}: {error}"
    ))
}

/// Bytes shown of a body whose kind could not be read.
const SHOWN_MAX: usize = 30;

fn unrecognized(kind: &str, error: &str, body: &[u8]) -> String {
    let shown = &body[..body.len().min(SHOWN_MAX)];
    let summary = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().fold(String::new(), |mut out, b| {
            let _ = fmt::Write::write_fmt(&mut out, format_args!("{b:02x}"));
            out
        }),
    };
    let more = if body.len() > SHOWN_MAX { " ..." } else { "" };
    format!("the object provided is unrecognized (must be of type {kind}): {error} ({summary}{more})")
}

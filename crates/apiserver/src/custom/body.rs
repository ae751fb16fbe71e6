//! Bodies of custom resources: JSON or YAML into an object of a version, pruned and with defaults. Rules: upstream's
//! unstructured decoding with its schema coercion (`apiserver/customresource_handler.go`).

use std::collections::HashSet;
use std::fmt;

use corten_crd::resource::Version;
use corten_meta::{Status, object};
use corten_schema::decode::{self, syntax};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::negotiate::Format;
use crate::options::Validation;

/// Repeated members told of at most, as upstream.
const REPEATED_MAX: usize = 100;

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
        Format::Json => json(body)
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

/// Texts for the members that stand twice in their object.
pub fn repeated(body: &[u8]) -> Vec<String> {
    json(body).map(|(_, texts)| texts).unwrap_or_default()
}

/// JSON with a text for each member that stands twice in its object; the last one counts.
fn json(body: &[u8]) -> Result<(Value, Vec<String>), String> {
    let mut found = Repeated::default();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Counted {
        path: &mut String::new(),
        found: &mut found,
    };
    match seed.deserialize(&mut reader) {
        Ok(value) if reader.end().is_ok() => Ok((value, found.texts)),
        _ => Err(syntax::go_error(body).unwrap_or_else(|| "json: the document cannot be read".to_owned())),
    }
}

#[derive(Default)]
struct Repeated {
    texts: Vec<String>,
}

impl Repeated {
    fn add(&mut self, path: &str) {
        let text = format!("duplicate field {}", corten_meta::quote(path));
        if self.texts.len() < REPEATED_MAX && !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }
}

/// A value at a path, whose repeated members are told of.
struct Counted<'a> {
    path: &'a mut String,
    found: &'a mut Repeated,
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    /// Go writes a whole float without a fraction.
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(decode::whole(v).map_or_else(|| v.into(), Value::from))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let (mut out, length) = (Vec::new(), self.path.len());
        loop {
            self.path.push_str(&format!("[{}]", out.len()));
            let item = Counted {
                path: self.path,
                found: self.found,
            };
            let next = items.next_element_seed(item)?;
            self.path.truncate(length);
            match next {
                Some(item) => out.push(item),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut out, mut seen, length) = (Map::new(), HashSet::new(), self.path.len());
        while let Some(name) = members.next_key_seed(Name)? {
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&name);
            if !seen.insert(name.clone()) {
                self.found.add(self.path);
            }
            let member = Counted {
                path: self.path,
                found: self.found,
            };
            let value = members.next_value_seed(member)?;
            self.path.truncate(length);
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn repeated_members_are_told_of_with_their_paths() {
        let (value, texts) = json(br#"{"a":1,"b":[{"c":1,"c":2}],"a":3}"#).unwrap();
        assert_eq!(value, json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(texts, [r#"duplicate field "b[0].c""#, r#"duplicate field "a""#]);
        assert!(json(b"{").is_err());
    }
}

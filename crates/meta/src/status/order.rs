//! The JSON of a `Status` with its fields in the order of upstream's types: clients that print whole bodies show them so,
//! and their tests compare them as text.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

const STATUS: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "status",
    "message",
    "reason",
    "details",
    "code",
];
const DETAILS: &[&str] = &["name", "group", "kind", "uid", "causes", "retryAfterSeconds"];
const CAUSE: &[&str] = &["reason", "message", "field"];

/// A `v1` Status held as a value (`apimachinery` `meta/v1` `Status`), for serialization in field order.
pub struct InOrder<'a>(&'a Map<String, Value>);

impl<'a> InOrder<'a> {
    /// `None` for any other kind of object.
    pub fn of(value: &'a Value) -> Option<Self> {
        let members = value.as_object()?;
        (members.get("kind")? == "Status" && members.get("apiVersion")? == "v1").then_some(Self(members))
    }
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Level {
            value: self.0,
            order: STATUS,
        }
        .serialize(serializer)
    }
}

/// One object of the Status: known members in their order, then any others.
struct Level<'a> {
    value: &'a Map<String, Value>,
    order: &'static [&'static str],
}

impl Serialize for Level<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.value.len()))?;
        for key in self.order {
            let Some(value) = self.value.get(*key) else {
                continue;
            };
            match value {
                Value::Object(details) if *key == "details" => {
                    out.serialize_entry(
                        key,
                        &Level {
                            value: details,
                            order: DETAILS,
                        },
                    )?;
                }
                Value::Array(causes) if *key == "causes" => out.serialize_entry(key, &Causes(causes))?,
                _ => out.serialize_entry(key, value)?,
            }
        }
        for (key, value) in self
            .value
            .iter()
            .filter(|(key, _)| !self.order.contains(&key.as_str()))
        {
            out.serialize_entry(key, value)?;
        }
        out.end()
    }
}

struct Causes<'a>(&'a [Value]);

impl Serialize for Causes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none = Map::new();
        serializer.collect_seq(self.0.iter().map(|cause| Level {
            value: cause.as_object().unwrap_or(&none),
            order: CAUSE,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::InOrder;
    use crate::field::{Error, ErrorList, Path};
    use crate::{GroupKind, GroupResource, Status};

    fn text(status: &Status) -> String {
        serde_json::to_string(&InOrder::of(&status.to_json()).unwrap()).unwrap()
    }

    #[test]
    fn fields_come_as_upstream_sends_them() {
        let exists = Status::already_exists(&GroupResource::new("apps", "deployments"), "web");
        assert_eq!(
            text(&exists),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"web\" already exists","reason":"AlreadyExists","details":{"name":"web","group":"apps","kind":"deployments"},"code":409}"#
        );
        let missing = ErrorList::from(vec![Error::required(&Path::new("spec").child("selector"), "")]);
        let invalid = text(&Status::invalid(&GroupKind::new("", "Service"), "web", missing));
        assert!(
            invalid.ends_with(r#""details":{"name":"web","kind":"Service","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.selector"}]},"code":422}"#),
            "{invalid}"
        );
    }

    #[test]
    fn nothing_is_lost_and_nothing_else_taken_for_a_status() {
        let value = serde_json::json!({"status": "Success", "kind": "Status", "apiVersion": "v1", "details": {"extra": 1, "name": "a"}, "more": true});
        assert_eq!(
            serde_json::to_string(&InOrder::of(&value).unwrap()).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","status":"Success","details":{"name":"a","extra":1},"more":true}"#
        );
        assert!(InOrder::of(&serde_json::json!({"kind": "Status", "apiVersion": "clux.dev/v1"})).is_none());
    }
}

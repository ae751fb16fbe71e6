//! Objects against their schema, with the messages of kube-openapi's validator and the ratcheting of updates (KEP-4008):
//! what an update leaves as it was is not held against it.

mod correlate;
mod fault;
mod junctors;
mod lists;
mod scalars;

use corten_meta::field::{ErrorList, Path};
use serde_json::{Map, Value};

use crate::structural::{Additional, Check, Structural, Type};
pub(crate) use correlate::Correlated;
use fault::{Fault, Outcome};
pub use lists::lists;

/// Faults of an object, with paths below `base` (the empty path for a whole object).
pub fn object(value: &Value, schema: &Structural, base: &Path) -> ErrorList {
    Walk::default().node(value, schema, "", None).into_errors(base)
}

/// Faults of a change: those in parts that are as they were do not count.
pub fn change(value: &Value, old: &Value, schema: &Structural, base: &Path) -> ErrorList {
    let correlated = Correlated::new(value, old, schema);
    Walk::default()
        .node(value, schema, "", Some(correlated))
        .into_errors(base)
}

/// Faults of a default value: as upstream has it, an int-or-string demands no type of it.
pub(crate) fn default_value(value: &Value, schema: &Structural, base: &Path) -> ErrorList {
    let walk = Walk { of_default: true };
    walk.node(value, schema, "", None).into_errors(base)
}

#[derive(Clone, Copy, Default)]
struct Walk {
    of_default: bool,
}

impl Walk {
    fn types(self, schema: &Structural) -> &'static [&'static str] {
        match schema.kind {
            _ if schema.int_or_string && !self.of_default => &["integer", "string"],
            Type::Any => &[],
            Type::Object => &["object"],
            Type::Array => &["array"],
            Type::String => &["string"],
            Type::Integer => &["integer"],
            Type::Number => &["number"],
            Type::Boolean => &["boolean"],
        }
    }

    fn node(self, value: &Value, schema: &Structural, path: &str, old: Option<Correlated<'_>>) -> Outcome {
        let mut out = self.checks(value, schema, path, old);
        if !out.is_valid() && old.is_some_and(|old| old.is_unchanged()) {
            out.faults.clear();
        }
        out
    }

    /// The checks of one node, in upstream's order: it counts how many applied, and reports the alternative of an `anyOf`
    /// that got furthest.
    fn checks(self, value: &Value, schema: &Structural, path: &str, old: Option<Correlated<'_>>) -> Outcome {
        let types = self.types(schema);
        let format = schema.format();
        let mut out = Outcome::default();
        if value.is_null() {
            out.merge(scalars::kind(value, schema, types, path));
            out.extend(scalars::one_of(value, schema, path));
            return out;
        }
        if !types.is_empty() || !format.is_empty() {
            out.merge(scalars::kind(value, schema, types, path));
            out.applied();
        }
        out.merge(self.junctors(value, schema, path));
        out.applied();
        match value {
            Value::String(text) => {
                out.extend(scalars::text(text, schema, path));
                out.applied();
                if let Some(fits) = crate::format::accepts(format, text) {
                    let fault = || Fault::wrong_type(path, format, text);
                    out.extend((!fits).then(fault));
                    out.applied();
                }
            }
            Value::Number(number) => {
                out.merge(scalars::number(number, schema, types, path));
                out.applied();
            }
            Value::Array(items) => {
                out.merge(self.items(items, schema, path, old));
                out.applied();
            }
            _ => {}
        }
        out.extend(scalars::one_of(value, schema, path));
        out.applied();
        if let Value::Object(map) = value {
            out.merge(self.members(map, schema, path, old));
            out.applied();
        }
        out.applied();
        out
    }

    fn items(self, items: &[Value], schema: &Structural, path: &str, old: Option<Correlated<'_>>) -> Outcome {
        let mut out = Outcome::default();
        if let Some(schema) = schema.items.as_deref() {
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| old.item(index));
                out.merge(self.node(item, schema, &format!("{path}[{index}]"), old));
            }
        }
        let size = items.len() as i64;
        for check in &schema.checks {
            match *check {
                Check::MinItems(limit) if size < limit => out.push(Fault::counted(
                    path,
                    size,
                    format!("{path} in body should have at least {limit} items"),
                )),
                Check::MaxItems(limit) if size > limit => {
                    let message = format!("{path} in body should have at most {limit} items");
                    out.push(Fault::too_many(path, size, limit, message));
                }
                Check::UniqueItems if has_duplicate(items) => out.push(Fault::other(
                    path,
                    None,
                    format!("{path} in body shouldn't contain duplicates"),
                )),
                _ => {}
            }
        }
        out.applied();
        out
    }

    fn members(
        self,
        map: &Map<String, Value>,
        schema: &Structural,
        path: &str,
        old: Option<Correlated<'_>>,
    ) -> Outcome {
        let mut out = Outcome::default();
        member_count(map, schema, path, &mut out);
        for (name, value) in map.iter().filter(|(name, _)| schema.property(name).is_none()) {
            match &schema.additional {
                Additional::Forbidden => out.push(Fault::other(
                    path,
                    Some(Value::from(name.as_str())),
                    format!("{path}.{name} in body is a forbidden property"),
                )),
                Additional::Schema(schema) => {
                    let old = old.and_then(|old| old.member(name));
                    out.merge(self.node(value, schema, &format!("{path}.{name}"), old));
                }
                _ => {}
            }
        }
        for (name, property) in &schema.properties {
            let Some(value) = map.get(&**name) else { continue };
            // The version is not the client's to keep: both sides were converted to it.
            let type_meta = path.is_empty() && matches!(&**name, "apiVersion" | "kind");
            let old = old.filter(|_| !type_meta).and_then(|old| old.member(name));
            let path = match path {
                "" => name.to_string(),
                path => format!("{path}.{name}"),
            };
            out.merge(self.node(value, property, &path, old));
        }
        for name in schema.required() {
            if !map.contains_key(&**name) {
                out.push(Fault::required(&format!("{path}.{name}")));
            }
        }
        out
    }
}

fn member_count(map: &Map<String, Value>, schema: &Structural, path: &str, out: &mut Outcome) {
    let size = map.len() as i64;
    for check in &schema.checks {
        match *check {
            Check::MinProperties(limit) if size < limit => out.push(Fault::counted(
                path,
                size,
                format!("{path} in body should have at least {limit} properties"),
            )),
            Check::MaxProperties(limit) if size > limit => {
                let message = format!("{path} in body should have at most {limit} properties");
                out.push(Fault::too_many(path, size, limit, message));
            }
            _ => {}
        }
    }
}

fn has_duplicate(items: &[Value]) -> bool {
    let mut seen = std::collections::HashSet::new();
    items.iter().any(|item| !seen.insert(item.to_string()))
}

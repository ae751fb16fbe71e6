//! Strategic merge patch: JSON merge guided by the type (apimachinery `strategicpatch`). Lists with a merge key
//! merge by it; `$patch`, `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…` direct the rest.

mod list;
mod show;

use corten_meta::Status;
use serde_json::{Map, Value};

use crate::types::{Field, Kind, Shape, TypeId};

pub(crate) use show::{go_type, value as shown};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const ELEMENT_ORDER: &str = "$setElementOrder";

type Members = Map<String, Value>;

/// Why a patch does not apply, by the answer it deserves.
#[derive(Debug, PartialEq)]
enum Refusal {
    /// The patch is malformed: bad request.
    Format(&'static str),
    /// Upstream answers 422 without naming the cause.
    Unprocessable,
    /// Upstream lets the error through as a bare 500.
    Other(String),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Format(text) => Self::bad_request(text),
            Refusal::Unprocessable => {
                let text = "the server rejected our request due to an error in our request";
                Self::new(422, "Invalid", text).with_details(corten_meta::status::Details::default())
            }
            Refusal::Other(text) => Self::new(500, "", text),
        }
    }
}

type Outcome<T> = Result<T, Refusal>;

/// What the type says about one member.
#[derive(Clone, Copy)]
struct Rule {
    shape: Option<Shape>,
    merge: bool,
    replace: bool,
    key: &'static str,
}

impl Rule {
    const UNKNOWN: Self = Self {
        shape: None,
        merge: false,
        replace: false,
        key: "",
    };

    fn of(shape: Option<Shape>, name: &str) -> Self {
        match shape.map(|s| s.kind) {
            Some(Kind::Struct(id)) => id.get().field(name).map_or(Self::UNKNOWN, Self::of_field),
            Some(Kind::Map(element)) => Self {
                shape: Some(element.shape),
                ..Self::UNKNOWN
            },
            _ => Self::UNKNOWN,
        }
    }

    fn of_field(field: &'static Field) -> Self {
        Self {
            shape: Some(field.shape),
            merge: field.rules.patch_merge,
            replace: field.rules.patch_replace,
            key: field.rules.patch_merge_key,
        }
    }

    fn element(&self) -> Option<Shape> {
        match self.shape?.kind {
            Kind::List(element) => Some(element.shape),
            _ => None,
        }
    }

    /// The kind of the elements as Go's reflection has it.
    fn element_kind(&self) -> &'static str {
        match self.element() {
            Some(element) if element.pointer => "ptr",
            Some(element) if matches!(element.kind, Kind::String) => "string",
            Some(element) if matches!(element.kind, Kind::Map(_)) => "map",
            _ => "struct",
        }
    }
}

/// Applies a strategic merge patch to an object of a type. The result is as the patch left it: normalize it after.
pub fn merge(id: TypeId, current: &Value, patch: &Value) -> corten_meta::Result<Value> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(Refusal::Format("invalid JSON document").into());
    };
    let shape = Shape {
        kind: Kind::Struct(id),
        pointer: false,
        expr: id.expr(),
    };
    let merged = merge_map(current.clone(), patch.clone(), Some(shape))?;
    Ok(Value::Object(merged))
}

fn merge_map(mut original: Members, mut patch: Members, shape: Option<Shape>) -> Outcome<Members> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Members::new()),
            _ => Err(unknown_directive(&directive, patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    list::apply_orders(&mut original, &mut patch, shape)?;
    for (name, value) in patch {
        match name.starts_with(DELETE_FROM) {
            true => delete_from(&mut original, &name, value, shape)?,
            false => merge_member(&mut original, name, value, shape)?,
        }
    }
    Ok(original)
}

fn unknown_directive(directive: &Value, mut patch: Members) -> Refusal {
    patch.insert(DIRECTIVE.to_owned(), directive.clone());
    bad_patch_type(directive, &Value::Object(patch))
}

fn bad_patch_type(directive: &Value, patch: &Value) -> Refusal {
    let (directive, patch) = (show::string(directive), show::value(patch));
    Refusal::Other(format!("unknown patch type: {directive} in map: {patch}"))
}

/// The list that a directive is about.
fn list_of<'a>(directive: &'a str, prefix: &str) -> Option<&'a str> {
    directive.strip_prefix(prefix)?.strip_prefix('/')
}

/// `$deleteFromPrimitiveList/name`: a list of scalars loses what it names. Anything else of the patch's type is
/// merged, as upstream does.
fn delete_from(original: &mut Members, directive: &str, value: Value, shape: Option<Shape>) -> Outcome<()> {
    const WRONG: Refusal = Refusal::Format("invalid patch format of primitive list");
    let name = list_of(directive, DELETE_FROM).ok_or(WRONG)?;
    match (original.get_mut(name), value) {
        (None, _) => Ok(()),
        (Some(Value::Array(before)), Value::Array(gone)) => {
            *before = list::delete(std::mem::take(before), gone, &Rule::of(shape, name))?;
            Ok(())
        }
        (Some(before), value) if value.is_null() || go_type(before) == go_type(&value) => {
            merge_member(original, name.to_owned(), value, shape)
        }
        _ => Ok(()),
    }
}

fn merge_member(original: &mut Members, name: String, value: Value, shape: Option<Shape>) -> Outcome<()> {
    let rule = Rule::of(shape, &name);
    let merged = match (original.remove(&name), value) {
        (_, Value::Null) => return Ok(()),
        // Directives and nulls in it are data.
        (Some(Value::Object(_)), patch @ Value::Object(_)) if rule.replace => Some(patch),
        (Some(Value::Object(before)), Value::Object(patch)) => {
            Some(Value::Object(merge_map(before, patch, rule.shape)?))
        }
        (Some(Value::Array(before)), Value::Array(patch)) if rule.merge => {
            Some(Value::Array(list::merge(before, patch, &rule)?))
        }
        // Upstream takes such a list as it is, directives and nulls included.
        (Some(Value::Array(_)), Value::Array(patch)) => Some(Value::Array(patch)),
        (_, mut value) => {
            discard_nulls(&mut value);
            without_directives(value)
        }
    };
    if let Some(merged) = merged {
        original.insert(name, merged);
    }
    Ok(())
}

/// Members that `$retainKeys` does not name go; the patch may set no others.
fn retain_keys(original: &mut Members, patch: &mut Members) -> Outcome<()> {
    const WRONG: Refusal = Refusal::Format("invalid patch format of retainKeys");
    let Some(directive) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(keys) = directive else {
        return Err(WRONG);
    };
    let named = |name: &str| keys.iter().any(|k| k.as_str() == Some(name));
    let others = patch.iter().filter(|(name, value)| {
        !value.is_null() && !name.starts_with(DELETE_FROM) && !name.starts_with(ELEMENT_ORDER)
    });
    if others.into_iter().any(|(name, _)| !named(name)) {
        return Err(WRONG);
    }
    original.retain(|name, _| named(name));
    Ok(())
}

/// A null in what a patch adds says nothing.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// What a patch adds, without objects that are only directives.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => Some(Value::Object(
            map.into_iter()
                .filter_map(|(k, v)| Some((k, without_directives(v)?)))
                .collect(),
        )),
        Value::Array(items) => Some(Value::Array(
            items.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;

//! JSON text as Go writes it, which annotations show: the members of structs in the order they are declared.

use corten_meta::html_safe;
use serde_json::Value;

use crate::Mode;
use crate::types::{Kind, Shape, Type, TypeId};

/// How Go's encoder is told to write structs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By the tags of API types.
    Tagged,
    /// Internal types have no tags: Go's names, and nothing is left out.
    Untagged,
}

/// A list of a struct type, with the members that are written even when they are zero.
pub(crate) fn list(items: &[Value], id: TypeId) -> String {
    let item = |item: &Value| {
        let mut item = item.clone();
        // What does not read as the type was refused before.
        let _ = crate::normalize(id, &mut item, Mode::Ignore);
        text(&item, id, Form::Tagged)
    };
    format!("[{}]", joined(items.iter().map(item)))
}

/// A value of a struct type.
pub(crate) fn text(value: &Value, id: TypeId, form: Form) -> String {
    let text = match value {
        Value::Object(_) => of_struct(value, id.get(), form),
        other => other.to_string(),
    };
    html_safe(&text)
}

fn of_struct(value: &Value, kind: &Type, form: Form) -> String {
    let fields = kind.declared.iter().map(|at| &kind.fields[usize::from(*at)]);
    let members = fields.filter_map(|field| match (value.get(field.name), form) {
        (Some(member), Form::Tagged) => Some(pair(field.name, &of_shape(member, field.shape, form))),
        (None, Form::Tagged) => None,
        (member, Form::Untagged) => {
            let member = member.map_or_else(|| "null".to_owned(), |m| of_shape(m, field.shape, form));
            Some(pair(&go_field(field.name), &member))
        }
    });
    format!("{{{}}}", joined(members))
}

fn of_shape(value: &Value, shape: Shape, form: Form) -> String {
    match (value, shape.kind) {
        (Value::Object(_), Kind::Struct(id)) => of_struct(value, id.get(), form),
        (Value::Object(map), Kind::Map(element)) => {
            let members = map
                .iter()
                .map(|(k, v)| pair(k, &of_shape(v, element.shape, form)));
            format!("{{{}}}", joined(members))
        }
        (Value::Array(items), Kind::List(element)) => {
            let items = items.iter().map(|item| of_shape(item, element.shape, form));
            format!("[{}]", joined(items))
        }
        (other, _) => other.to_string(),
    }
}

fn pair(name: &str, value: &str) -> String {
    format!("{}:{value}", Value::from(name))
}

/// The field of a JSON name.
fn go_field(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

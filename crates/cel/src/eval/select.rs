//! Selections and indexes.

use super::view::member;
use super::{Eval, SELECT_COST};
use crate::check::ast::{Index, Node, NodeKind, Select};
use crate::errors::EvalError;
use crate::escape::unescape;
use crate::library::Answer;
use crate::program::Budget;
use crate::types::Type;
use crate::value::Value;
use serde_json::Value as Json;
use std::sync::Arc;

/// A value that may be absent.
type Found<'a> = Result<Option<Value<'a>>, EvalError>;

impl<'a> Eval<'a, '_> {
    /// The operand of a selection. What is no attribute itself costs as much as one.
    fn operand(&mut self, node: &'a Node, base: bool) -> Answer<'a> {
        let is_attribute = matches!(
            node.kind,
            NodeKind::Variable(_)
                | NodeKind::Local(_)
                | NodeKind::Select(_)
                | NodeKind::Index(_)
                | NodeKind::Conditional(_)
        );
        if is_attribute {
            return self.attribute(node, base);
        }
        let value = self.node(node)?;
        self.charge(u64::from(base))?;
        Ok(value)
    }

    pub(super) fn select(&mut self, select: &'a Select, base: bool) -> Answer<'a> {
        let operand = self.operand(&select.operand, base && !select.test_only)?;
        let (target, was_optional) = match operand {
            Value::Optional(None) if select.test_only => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (Value::clone(&inner), true),
            other => (other, false),
        };
        let optional = select.optional || was_optional;
        let found = self.field(&target, select, optional || select.test_only);
        let absent = matches!(found, Ok(None));
        if !(optional && absent) || select.test_only {
            self.charge(SELECT_COST)?;
        }
        if select.test_only {
            return Ok(Value::Bool(found?.is_some()));
        }
        match found? {
            Some(value) if optional => Ok(Value::Optional(Some(Arc::new(value)))),
            Some(value) => Ok(value),
            None if optional => Ok(Value::Optional(None)),
            None => Err(EvalError::Failed(format!("no such key: {}", select.field))),
        }
    }

    /// A field by its name as written; `lenient` makes operands without fields have none.
    fn field(&mut self, target: &Value<'a>, select: &'a Select, lenient: bool) -> Found<'a> {
        match target {
            Value::Json(Json::Object(fields), ty) => {
                let property = match ty {
                    Type::Object(_) => &*select.property,
                    _ => &*select.field,
                };
                let Some(json) = fields.get(property) else {
                    return Ok(None);
                };
                Ok(Some(Value::typed(
                    json,
                    &member(ty, property, &self.program.shared),
                )))
            }
            Value::Map(_) => Ok(target.map_get(&Value::str(&select.field), &self.program.shared)),
            Value::Struct(s) => {
                let name = unescape(&select.field).unwrap_or_default();
                let found = s
                    .fields
                    .iter()
                    .find(|(n, _)| **n == *name)
                    .map(|(_, v)| v.clone());
                // Objects that expressions make have all fields; unset ones are null.
                Ok(if lenient {
                    found
                } else {
                    found.or(Some(Value::Null))
                })
            }
            Value::Variables => self.variable(&select.field),
            _ if lenient && !target.is_list() => Ok(None),
            _ if target.is_list() => Err(EvalError::failed("unsupported index type 'string' in list")),
            _ => Err(EvalError::Failed(format!("no such key: {}", select.field))),
        }
    }

    fn variable(&mut self, name: &str) -> Found<'a> {
        let mut budget = Budget {
            per_call: self.limit,
            spent: 0,
        };
        let outcome = self.activation.variable(name, &mut budget);
        self.composed = self.composed.saturating_add(budget.spent);
        outcome.transpose()
    }

    pub(super) fn index(&mut self, index: &'a Index, base: bool) -> Answer<'a> {
        let operand = self.operand(&index.operands[0], base)?;
        let (target, was_optional) = match operand {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (Value::clone(&inner), true),
            other => (other, false),
        };
        let optional = index.optional || was_optional;
        let key = self.attribute(&index.operands[1], false)?;
        let found = self.element(&target, &key, optional);
        if !(optional && matches!(found, Ok(None))) {
            self.charge(SELECT_COST)?;
        }
        match found? {
            Some(value) if optional => Ok(Value::Optional(Some(Arc::new(value)))),
            Some(value) => Ok(value),
            None if optional => Ok(Value::Optional(None)),
            None if target.is_list() => {
                let shown = crate::library::convert::display(&key).unwrap_or_default();
                Err(EvalError::Failed(format!("index out of bounds: {shown}")))
            }
            None => {
                let shown = crate::library::convert::display(&key).unwrap_or_default();
                Err(EvalError::Failed(format!("no such key: {shown}")))
            }
        }
    }

    fn element(&self, target: &Value<'a>, key: &Value<'a>, lenient: bool) -> Found<'a> {
        if target.is_list() {
            let index = list_index(key)?;
            return Ok(usize::try_from(index).ok().and_then(|i| target.list_get(i)));
        }
        if target.is_map() {
            return Ok(target.map_get(key, &self.program.shared));
        }
        if let (Value::Struct(s), Some(name)) = (target, key.as_str()) {
            return Ok(s
                .fields
                .iter()
                .find(|(n, _)| &**n == name)
                .map(|(_, v)| v.clone()));
        }
        if lenient {
            return Ok(None);
        }
        let shown = crate::library::convert::display(key).unwrap_or_default();
        Err(EvalError::Failed(format!("no such key: {shown}")))
    }
}

fn list_index(key: &Value<'_>) -> Result<i64, EvalError> {
    let unsupported = |shown: String| EvalError::Failed(format!("unsupported index value {shown} in list"));
    match key {
        Value::Int(i) => Ok(*i),
        Value::Uint(u) => i64::try_from(*u).map_err(|_| unsupported(u.to_string())),
        Value::Double(d) if d.trunc() == *d && d.abs() < 9.0e18 => Ok(*d as i64),
        Value::Double(d) => Err(unsupported(d.to_string())),
        other => {
            let name = other.type_of();
            Err(EvalError::Failed(format!(
                "unsupported index type '{}' in list",
                name.name()
            )))
        }
    }
}

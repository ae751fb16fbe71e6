//! Folds, and the accumulators that they build in place.

use super::{Eval, LIST_COST, Slot, ops};
use crate::check::ast::{Call, FoldNode, NodeKind};
use crate::errors::EvalError;
use crate::library::Answer;
use crate::value::Value;
use std::sync::Arc;

impl<'a> Eval<'a, '_> {
    /// The value of a fold's variable; an accumulator gets its first value now.
    pub(super) fn local(&mut self, slot: u16) -> Answer<'a> {
        let slot = usize::from(slot);
        if let Slot::Pending(init) = &self.locals[slot] {
            let init = *init;
            let value = self.node(init);
            if value.as_ref().is_err_and(EvalError::is_fatal) {
                return value;
            }
            self.locals[slot] = Slot::Ready(value);
        }
        match &self.locals[slot] {
            Slot::Ready(answer) => answer.clone(),
            _ => Err(EvalError::failed("no such attribute")),
        }
    }

    pub(super) fn fold(&mut self, fold: &'a FoldNode) -> Answer<'a> {
        let range = self.node(&fold.range)?;
        self.locals[usize::from(fold.accu)] = Slot::Pending(&fold.init);
        if let Some(len) = range.list_len() {
            for i in 0..len {
                let Some(item) = range.list_get(i) else { break };
                let (first, second) = match fold.iter2 {
                    Some(_) => (Value::Int(i as i64), Some(item)),
                    None => (item, None),
                };
                if !self.turn(fold, first, second)? {
                    break;
                }
            }
        } else if let Some(entries) = range.map_entries(&self.program.shared) {
            for (key, value) in entries {
                if !self.turn(fold, key, fold.iter2.map(|_| value))? {
                    break;
                }
            }
        } else {
            let message = format!("got '{}', expected iterable type", go_type(&range));
            return Err(EvalError::Failed(message));
        }
        let result = self.node(&fold.result);
        self.locals[usize::from(fold.accu)] = Slot::Unset;
        result
    }

    /// One turn; false if the condition ends the fold.
    fn turn(
        &mut self,
        fold: &'a FoldNode,
        first: Value<'a>,
        second: Option<Value<'a>>,
    ) -> Result<bool, EvalError> {
        self.locals[usize::from(fold.iter)] = Slot::Ready(Ok(first));
        if let (Some(slot), Some(second)) = (fold.iter2, second) {
            self.locals[usize::from(slot)] = Slot::Ready(Ok(second));
        }
        let proceed = match self.condition(fold) {
            Ok(Value::Bool(proceed)) => proceed,
            Err(e) if e.is_fatal() => return Err(e),
            _ => true,
        };
        if !proceed {
            return Ok(false);
        }
        let step = self.node(&fold.step);
        if step.as_ref().is_err_and(EvalError::is_fatal) {
            step.as_ref().map(|_| ()).map_err(Clone::clone)?;
        }
        self.locals[usize::from(fold.accu)] = Slot::Ready(step);
        Ok(true)
    }

    /// The condition of a quantifier is asked of the accumulator, which may be an error.
    fn condition(&mut self, fold: &'a FoldNode) -> Answer<'a> {
        let NodeKind::Call(call) = &fold.condition.kind else {
            return self.node(&fold.condition);
        };
        if call.function.name != "@not_strictly_false" {
            return self.node(&fold.condition);
        }
        let value = self.node(&call.args[0]);
        if value.as_ref().is_err_and(EvalError::is_fatal) {
            return value;
        }
        self.charge(1)?;
        Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
    }

    /// `@result + [x]` and `@mapInsert(@result, ..)` change the accumulator instead of copying it.
    pub(super) fn append(&mut self, call: &'a Call) -> Option<Answer<'a>> {
        let NodeKind::Local(slot) = &call.args.first()?.kind else {
            return None;
        };
        if !call.appends {
            return None;
        }
        match call.function.name {
            "_+_" => Some(self.append_item(call, *slot)),
            "cel.@mapInsert" => Some(self.append_entry(call, *slot)),
            _ => None,
        }
    }

    /// Takes the accumulator out of its slot, so that it is not shared.
    fn take(&mut self, slot: u16) -> Answer<'a> {
        self.charge(1)?;
        let value = self.local(slot)?;
        self.locals[usize::from(slot)] = Slot::Unset;
        Ok(value)
    }

    fn append_item(&mut self, call: &'a Call, slot: u16) -> Answer<'a> {
        let NodeKind::List(list) = &call.args[1].kind else {
            return Err(EvalError::failed("no such overload"));
        };
        let accu = self.take(slot)?;
        let mut items = self.arguments(&list.items)?;
        if !list.constant {
            self.charge(LIST_COST)?;
        }
        self.charge(1)?;
        let Value::List(mut all) = accu else {
            return Err(EvalError::failed("no such overload"));
        };
        Arc::make_mut(&mut all).append(&mut items);
        Ok(Value::List(all))
    }

    fn append_entry(&mut self, call: &'a Call, slot: u16) -> Answer<'a> {
        let accu = self.take(slot)?;
        let mut args = self.arguments(&call.args[1..])?.into_iter();
        self.charge(1)?;
        let added = match (args.next(), args.next()) {
            (Some(key), Some(value)) => vec![(key, value)],
            (Some(map), None) => map.map_entries(&self.program.shared).unwrap_or_default(),
            _ => Vec::new(),
        };
        let Value::Map(mut all) = accu else {
            return Err(EvalError::failed("no such overload"));
        };
        for (key, value) in added {
            if all.iter().any(|(k, _)| ops::equal(k, &key, &self.program.shared)) {
                let shown = crate::library::convert::display(&key).unwrap_or_default();
                return Err(EvalError::Failed(format!(
                    "insert failed: key {shown} already exists"
                )));
            }
            Arc::make_mut(&mut all).push((key, value));
        }
        Ok(Value::Map(all))
    }
}

/// The name of cel-go's type for a value, which its message shows.
fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Duration(_) => "types.Duration",
        Value::Optional(_) => "*types.Optional",
        _ => "*types.Type",
    }
}

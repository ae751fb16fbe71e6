//! The interpreter: walks the checked tree over borrowed input and counts cost as cel-go's observer does.

pub(crate) mod cost;
mod fold;
pub(crate) mod ops;
mod select;
pub(crate) mod view;

use crate::check::ast::{Call, ListNode, MapNode, Node, NodeKind, OptionalOr, StructNode};
use crate::errors::EvalError;
use crate::library::{Answer, Context};
use crate::parse::ast::Literal;
use crate::program::{Activation, Budget, Program};
use crate::value::{StructValue, Text, Value};
use std::sync::Arc;

pub(crate) fn run<'a>(program: &'a Program, activation: &Activation<'a>, budget: &mut Budget) -> Answer<'a> {
    let mut eval = Eval {
        program,
        activation,
        locals: (0..program.locals).map(|_| Slot::Unset).collect(),
        cost: 0,
        limit: budget.per_call,
        composed: 0,
    };
    let result = eval.node(&program.root);
    budget.spent = budget
        .spent
        .saturating_add(eval.cost)
        .saturating_add(eval.composed);
    result
}

/// A variable of a fold.
pub(crate) enum Slot<'a> {
    Unset,
    /// An accumulator whose first value is computed when it is read.
    Pending(&'a Node),
    Ready(Answer<'a>),
}

pub(crate) struct Eval<'a, 'e> {
    program: &'a Program,
    activation: &'e Activation<'a>,
    locals: Vec<Slot<'a>>,
    cost: u64,
    limit: u64,
    /// What variables of the policy have cost; each has a limit of its own.
    composed: u64,
}

/// Costs of the table in cel-go's `common/cost.go`.
const SELECT_COST: u64 = 1;
const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const STRUCT_COST: u64 = 40;

impl<'a> Eval<'a, '_> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            return Err(EvalError::CostLimit);
        }
        Ok(())
    }

    fn node(&mut self, node: &'a Node) -> Answer<'a> {
        self.attribute(node, true)
    }

    /// `base` says whether the root of a chain of selections costs something; as branch of a conditional and as
    /// index it does not.
    fn attribute(&mut self, node: &'a Node, base: bool) -> Answer<'a> {
        match &node.kind {
            NodeKind::Literal(literal) => Ok(constant(literal)),
            NodeKind::Variable(slot) => {
                self.charge(u64::from(base))?;
                self.activation.get(&self.program.variables[usize::from(*slot)])
            }
            NodeKind::Local(slot) => {
                self.charge(u64::from(base))?;
                self.local(*slot)
            }
            NodeKind::TypeName(ty) => Ok(Value::Type(ty.clone())),
            NodeKind::Select(select) => self.select(select, base),
            NodeKind::Index(index) => self.index(index, base),
            NodeKind::And(terms) => self.logical(terms, false),
            NodeKind::Or(terms) => self.logical(terms, true),
            NodeKind::Conditional(parts) => match self.node(&parts[0])? {
                Value::Bool(true) => self.attribute(&parts[1], false),
                Value::Bool(false) => self.attribute(&parts[2], false),
                _ => Err(EvalError::failed("no such overload")),
            },
            NodeKind::Equals(sides, wanted) => self.equals(sides, *wanted),
            NodeKind::OptionalOr(sides, kind) => self.optional_or(sides, *kind),
            NodeKind::Call(call) => self.call(call),
            NodeKind::List(list) => self.list(list),
            NodeKind::Map(map) => self.map(map),
            NodeKind::Struct(message) => self.message(message),
            NodeKind::Fold(fold) => self.fold(fold),
        }
    }

    /// `&&` and `||`: the deciding side decides, whatever the other one is.
    fn logical(&mut self, terms: &'a [Node; 2], deciding: bool) -> Answer<'a> {
        let mut error = None;
        for term in terms {
            match self.node(term) {
                Ok(Value::Bool(b)) if b == deciding => return Ok(Value::Bool(deciding)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => error = error.or(Some(EvalError::failed("no such overload"))),
                Err(e) if e.is_fatal() => return Err(e),
                Err(e) => error = error.or(Some(e)),
            }
        }
        error.map_or(Ok(Value::Bool(!deciding)), Err)
    }

    /// Both sides are computed, and the comparison is paid for, also if one of them fails.
    fn equals(&mut self, sides: &'a [Node; 2], wanted: bool) -> Answer<'a> {
        let left = self.attempt(&sides[0])?;
        let right = self.attempt(&sides[1])?;
        let cost = cost::equality(seen(&left), seen(&right), wanted);
        self.charge(cost)?;
        let equal = ops::equal(&left?, &right?, &self.program.shared);
        Ok(Value::Bool(equal == wanted))
    }

    fn optional_or(&mut self, sides: &'a [Node; 2], kind: OptionalOr) -> Answer<'a> {
        match (self.node(&sides[0])?, kind) {
            (Value::Optional(Some(value)), OptionalOr::Value) => Ok(Value::clone(&value)),
            (value @ Value::Optional(Some(_)), OptionalOr::Optional) => Ok(value),
            (Value::Optional(None), _) => self.node(&sides[1]),
            _ => Err(EvalError::failed("no such overload")),
        }
    }

    fn call(&mut self, call: &'a Call) -> Answer<'a> {
        if let Some(answer) = self.append(call) {
            return answer;
        }
        if cost::is_membership_of_constants(call) {
            let empty = matches!(&call.args[1].kind, NodeKind::List(l) if l.items.is_empty());
            if empty {
                return Ok(Value::Bool(false));
            }
        }
        let args = match call.args.len() {
            ..=2 => self.few_arguments(call)?,
            _ => self.arguments(&call.args)?,
        };
        let context = self.context(call);
        let answer = match call.function.name {
            "@not_strictly_false" => Ok(Value::Bool(!matches!(args.first(), Some(Value::Bool(false))))),
            _ => (call.function.compute)(&context, &args),
        };
        if !call.constant && !cost::is_membership_of_constants(call) {
            let cost = cost::call(call, &args, answer.as_ref().ok());
            self.charge(cost)?;
        }
        answer
    }

    /// The outcome of an expression; fails only if evaluation has to end.
    fn attempt(&mut self, node: &'a Node) -> Result<Answer<'a>, EvalError> {
        match self.node(node) {
            Err(e) if e.is_fatal() => Err(e),
            outcome => Ok(outcome),
        }
    }

    /// Calls with one or two operands compute them all and are paid for before the first error counts.
    fn few_arguments(&mut self, call: &'a Call) -> Result<Vec<Value<'a>>, EvalError> {
        let mut args = Vec::with_capacity(call.args.len());
        let mut error = None;
        for node in &call.args {
            match self.attempt(node)? {
                Ok(value) => args.push(value),
                Err(e) => {
                    error = error.or(Some(e));
                    args.push(Value::Null);
                }
            }
        }
        let Some(error) = error else { return Ok(args) };
        let cost = cost::call(call, &args, None);
        self.charge(cost)?;
        Err(error)
    }

    fn arguments(&mut self, nodes: &'a [Node]) -> Result<Vec<Value<'a>>, EvalError> {
        let mut args = Vec::with_capacity(nodes.len());
        for node in nodes {
            args.push(self.node(node)?);
        }
        Ok(args)
    }

    fn context(&self, call: &'a Call) -> Context<'a> {
        let pattern = call
            .pattern
            .get_or_init(|| match call.args.get(1).map(|n| &n.kind) {
                Some(NodeKind::Literal(Literal::String(text)))
                    if crate::library::regex::takes_pattern(call.function.name) =>
                {
                    crate::library::regex::compile(text).ok()
                }
                _ => None,
            });
        Context {
            shared: &self.program.shared,
            pattern: pattern.as_ref(),
            function: call.function.name,
        }
    }

    fn list(&mut self, list: &'a ListNode) -> Answer<'a> {
        let mut items = Vec::with_capacity(list.items.len());
        for (i, node) in list.items.iter().enumerate() {
            let value = self.node(node)?;
            if !list.optional.contains(&i) {
                items.push(value);
                continue;
            }
            match value {
                Value::Optional(inner) => items.extend(inner.map(|v| Value::clone(&v))),
                _ => {
                    return Err(EvalError::failed(
                        "cannot initialize optional list element from non-optional value",
                    ));
                }
            }
        }
        if !list.constant {
            self.charge(LIST_COST)?;
        }
        Ok(Value::list(items))
    }

    fn map(&mut self, map: &'a MapNode) -> Answer<'a> {
        let mut entries: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(map.entries.len());
        for (key, value, optional) in &map.entries {
            let key = self.node(key)?;
            let mut value = self.node(value)?;
            let known = entries
                .iter()
                .position(|(k, _)| ops::equal(k, &key, &self.program.shared));
            if *optional {
                value = match value {
                    Value::Optional(Some(inner)) => Value::clone(&inner),
                    Value::Optional(None) => {
                        known.map(|i| entries.remove(i));
                        continue;
                    }
                    _ => {
                        return Err(EvalError::failed(
                            "cannot initialize optional entry from non-optional value",
                        ));
                    }
                };
            }
            match known {
                Some(i) => entries[i].1 = value,
                None => entries.push((key, value)),
            }
        }
        if !map.constant {
            self.charge(MAP_COST)?;
        }
        Ok(Value::Map(Arc::new(entries)))
    }

    fn message(&mut self, message: &'a StructNode) -> Answer<'a> {
        let mut fields = Vec::with_capacity(message.fields.len());
        for (name, node, optional) in &message.fields {
            let mut value = self.node(node)?;
            if *optional {
                value = match value {
                    Value::Optional(Some(inner)) => Value::clone(&inner),
                    Value::Optional(None) => continue,
                    _ => {
                        return Err(EvalError::failed(
                            "cannot initialize optional entry from non-optional value",
                        ));
                    }
                };
            }
            fields.push((name.clone(), value));
        }
        self.charge(STRUCT_COST)?;
        Ok(Value::Struct(Arc::new(StructValue {
            type_name: message.name.clone(),
            fields,
        })))
    }
}

/// What a comparison sees of an outcome.
fn seen<'v, 'a>(outcome: &'v Answer<'a>) -> &'v Value<'a> {
    outcome.as_ref().unwrap_or(&Value::Null)
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(i) => Value::Int(*i),
        Literal::Uint(u) => Value::Uint(*u),
        Literal::Double(d) => Value::Double(*d),
        Literal::String(s) => Value::String(Text::Borrowed(s)),
        Literal::Bytes(b) => Value::Bytes(b.clone()),
    }
}

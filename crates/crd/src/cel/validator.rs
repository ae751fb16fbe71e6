//! Objects against the rules of their schema (upstream's `schema/cel/validation.go`).

use std::sync::Arc;

use corten_cel::{Activation, Budget, EvalError, PER_CALL_LIMIT, REQUEST_BUDGET, Type, Value};
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::quote;
use serde_json::Value as Json;

use super::declaration::{Declaration, Scope, Types, declare};
use super::{Compiled, compile};
use crate::definition::follow_field_path;
use crate::place::Place;
use crate::rules::Rules;
use crate::structural::{Rule, Structural, Type as Kind};
use crate::validate::Correlated;

/// Longest message an expression may make, in bytes.
const MESSAGE_MAX: usize = 5 * 1024;

/// The rules of a node and of those below it; nodes without are left out.
pub(super) struct Node {
    rules: Vec<(Result<Compiled, String>, Option<String>)>,
    own: Type,
    elements: Option<Box<Node>>,
    properties: Vec<(Box<str>, Node)>,
    items: Option<Box<Node>>,
}

impl Node {
    pub fn new(schema: &Structural, scope: Option<(&Declaration, &Arc<Types>)>, root: bool) -> Option<Self> {
        let own = if scope.is_none() && !schema.rules().is_empty() {
            declare(schema, root)
        } else {
            None
        };
        let scope = scope.or_else(|| own.as_ref().map(|(declaration, types)| (declaration, types)));
        let child = |schema: &Structural, declared: Option<&Declaration>| {
            let scope = declared.zip(scope.map(|(_, types)| types));
            Self::new(schema, scope, schema.embedded_resource)
        };
        let elements = || scope.and_then(|(declaration, _)| declaration.elements());
        let property = |name: &str| scope.and_then(|(declaration, _)| declaration.property(name));
        let out = Self {
            elements: schema
                .additional_schema()
                .and_then(|s| child(s, elements()))
                .map(Box::new),
            items: schema
                .items
                .as_deref()
                .and_then(|s| child(s, elements()))
                .map(Box::new),
            properties: schema
                .properties
                .iter()
                .filter_map(|(name, s)| Some((name.clone(), child(s, property(name))?)))
                .collect(),
            own: scope
                .map(|(declaration, _)| declaration.kind.clone())
                .unwrap_or_default(),
            rules: schema
                .rules()
                .iter()
                .map(|rule| compiled(rule, schema, scope))
                .collect(),
        };
        let empty = out.rules.is_empty()
            && out.elements.is_none()
            && out.items.is_none()
            && out.properties.is_empty();
        (!empty).then_some(out)
    }
}

/// A rule, and the path of the field it is about.
fn compiled(
    rule: &Rule,
    schema: &Structural,
    scope: Option<(&Declaration, &Arc<Types>)>,
) -> (Result<Compiled, String>, Option<String>) {
    let Some((declaration, types)) = scope else {
        let text =
            "rule compiler initialization error: failed to convert to declType for CEL validation rules";
        return (Err(text.to_owned()), None);
    };
    let scope = Scope {
        declaration,
        types: types.clone(),
    };
    let field = (!rule.field_path.is_empty())
        .then(|| follow_field_path(&rule.field_path, schema, true).ok())
        .flatten();
    let compiled = compile(rule, &scope).map_err(|error| format!("rule compile error: {error}"));
    (compiled, field.map(|found| found.path))
}

impl Rules for Node {
    fn validate(&self, schema: &Structural, object: &Json, old: Option<&Json>) -> ErrorList {
        let correlation = match old {
            Some(old) => Correlation {
                current: Some(Correlated::new(object, old, schema)),
                parent: None,
            },
            None => Correlation::default(),
        };
        let mut run = Run {
            errors: ErrorList::new(),
            remaining: REQUEST_BUDGET,
        };
        // Where the budget ends, so does the walk; what was found stands.
        let _ = run.node(self, schema, object, old, correlation, &Place::ROOT);
        run.errors
    }
}

/// The counterpart of a node in the old object, or the nearest one above that has one.
#[derive(Clone, Copy, Default)]
struct Correlation<'v> {
    current: Option<Correlated<'v>>,
    parent: Option<Correlated<'v>>,
}

impl<'v> Correlation<'v> {
    fn step(self, next: impl FnOnce(Correlated<'v>) -> Option<Correlated<'v>>) -> Self {
        match self.current {
            None => self,
            Some(current) => Self {
                current: next(current),
                parent: Some(current),
            },
        }
    }

    fn member(self, name: &str) -> Self {
        // The version is not the client's to keep: both sides were converted to it.
        if self.current.is_some() && self.parent.is_none() && matches!(name, "apiVersion" | "kind") {
            return Self::default();
        }
        self.step(|current| current.member(name))
    }

    fn is_unchanged(self) -> bool {
        self.current.or(self.parent).is_some_and(Correlated::is_unchanged)
    }
}

/// The budget is spent.
struct Spent;

struct Run {
    errors: ErrorList,
    remaining: u64,
}

impl Run {
    fn node(
        &mut self,
        node: &Node,
        schema: &Structural,
        value: &Json,
        old: Option<&Json>,
        correlation: Correlation<'_>,
        at: &Place<'_>,
    ) -> Result<(), Spent> {
        let old = old.filter(|old| !old.is_null());
        if value.is_null() {
            return Ok(());
        }
        for (index, (rule, field)) in node.rules.iter().enumerate() {
            let Some(stated) = schema.rules().get(index).filter(|r| !r.rule.trim().is_empty()) else {
                continue;
            };
            let mut case = Case {
                stated,
                kind: schema.kind,
                own: &node.own,
                value,
                old,
                unchanged: correlation.is_unchanged(),
                path: rule_path(at, field.as_deref()),
                node_path: or_nil(at.path()),
            };
            match rule {
                Err(text) => {
                    self.errors
                        .push(Error::invalid(&case.node_path, schema.kind.name(), text.as_str()))
                }
                Ok(compiled) => self.rule(compiled, &mut case)?,
            }
        }
        match value {
            Json::Array(list) => {
                if let (Some(node), Some(items)) = (&node.items, schema.items.as_deref()) {
                    let lists = old.map(|old| Correlated::new(value, old, schema));
                    for (index, item) in list.iter().enumerate() {
                        let old = lists.and_then(|lists| lists.item(index)).map(|found| found.old);
                        let correlation = correlation.step(|current| current.item(index));
                        self.node(node, items, item, old, correlation, &at.index(index))?;
                    }
                }
            }
            Json::Object(map) => {
                let old_member = |name: &str| old.and_then(|old| old.get(name));
                if let (Some(node), Some(values)) = (&node.elements, schema.additional_schema()) {
                    for (key, value) in map {
                        let correlation = correlation.member(key);
                        self.node(node, values, value, old_member(key), correlation, &at.key(key))?;
                    }
                }
                for (name, node) in &node.properties {
                    if let (Some(value), Some(property)) = (map.get(&**name), schema.property(name)) {
                        let correlation = correlation.member(name);
                        self.node(
                            node,
                            property,
                            value,
                            old_member(name),
                            correlation,
                            &at.field(name),
                        )?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rule(&mut self, compiled: &Compiled, case: &mut Case<'_>) -> Result<(), Spent> {
        let optional = case.stated.optional_old_self == Some(true);
        if compiled.uses_old_self && case.old.is_none() && !optional {
            return Ok(());
        }
        let old = case.old.map(|old| Value::typed(old, case.own));
        let mut activation = Activation::new().bind("self", Value::typed(case.value, case.own));
        if optional {
            activation = activation.bind("oldSelf", Value::Optional(old.map(Arc::new)));
        } else if let Some(old) = old {
            activation = activation.bind("oldSelf", old);
        }
        if self.remaining == 0 {
            return self.out_of_budget(case);
        }
        let mut budget = Budget {
            per_call: PER_CALL_LIMIT,
            spent: 0,
        };
        let result = compiled.program.eval(&activation, &mut budget);
        match self.remaining.checked_sub(budget.spent) {
            None => return self.out_of_budget(case),
            Some(remaining) => self.remaining = remaining,
        }
        let named = shown(case.stated);
        let failed = |detail: String| Error::invalid(&case.node_path, case.kind.name(), detail);
        match result {
            Ok(value) if value.as_bool() == Some(true) => Ok(()),
            Ok(_) => self.broken(compiled, case, &activation),
            Err(EvalError::CostLimit) => {
                self.errors.push(failed(format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {named}",
                    EvalError::CostLimit
                )));
                Err(Spent)
            }
            Err(error) => {
                let text = error.to_string();
                self.errors.push(failed(if text.starts_with("no such overload") {
                    format!("'{text}': call arguments did not match a supported operator, function or macro signature for rule: {named}")
                } else {
                    format!("{text} evaluating rule: {named}")
                }));
                Ok(())
            }
        }
    }

    fn out_of_budget(&mut self, case: &Case<'_>) -> Result<(), Spent> {
        let detail =
            "validation failed due to running out of cost budget, no further validation rules will be run";
        self.errors
            .push(Error::invalid(&case.node_path, case.kind.name(), detail));
        Err(Spent)
    }

    /// A rule that does not hold; it may once have been broken already.
    fn broken<'a>(
        &mut self,
        compiled: &'a Compiled,
        case: &Case<'_>,
        activation: &Activation<'a>,
    ) -> Result<(), Spent> {
        let forgiven = !compiled.uses_old_self && case.unchanged;
        let mut detail = None;
        if let Some(Ok(program)) = &compiled.message {
            let mut budget = Budget {
                per_call: PER_CALL_LIMIT,
                spent: 0,
            };
            let result = program.eval(activation, &mut budget);
            let text = &case.stated.message_expression;
            let fatal = match (self.remaining.checked_sub(budget.spent), &result) {
                (None, _) => Some("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned()),
                (_, Err(EvalError::CostLimit)) => Some(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {}",
                    quote(text)
                )),
                _ => None,
            };
            if let Some(fatal) = fatal {
                if !forgiven {
                    self.errors
                        .push(Error::invalid(&case.path, case.kind.name(), fatal));
                }
                return Err(Spent);
            }
            self.remaining -= budget.spent;
            let made = result
                .ok()
                .and_then(|value| value.as_str().map(|text| text.trim().to_owned()));
            detail =
                made.filter(|text| !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n'));
        }
        if forgiven {
            return Ok(());
        }
        let detail = detail.unwrap_or_else(|| match case.stated.message.trim() {
            "" => format!("failed rule: {}", case.stated.rule.trim()),
            message => message.to_owned(),
        });
        self.errors.push(case.error(detail));
        Ok(())
    }
}

/// One rule on one value.
struct Case<'c> {
    stated: &'c Rule,
    kind: Kind,
    own: &'c Type,
    value: &'c Json,
    old: Option<&'c Json>,
    unchanged: bool,
    /// The field the rule is about.
    path: Path,
    node_path: Path,
}

impl Case<'_> {
    fn error(&self, detail: String) -> Error {
        let mut error = match &*self.stated.reason {
            "FieldValueForbidden" => Error::forbidden(&self.path, detail),
            "FieldValueRequired" => Error::required(&self.path, detail),
            "FieldValueDuplicate" => Error::duplicate(&self.path, self.value.clone()),
            _ => Error::invalid(&self.path, self.value.clone(), detail),
        };
        if matches!(self.kind, Kind::Object | Kind::Array) {
            error.bad_value = None;
        }
        error
    }
}

fn shown(rule: &Rule) -> &str {
    match rule.message.trim() {
        "" => rule.rule.trim(),
        message => message,
    }
}

fn or_nil(path: Path) -> Path {
    if path.as_str().is_empty() {
        Path::new("<nil>")
    } else {
        path
    }
}

fn rule_path(at: &Place<'_>, field: Option<&str>) -> Path {
    match field {
        None | Some("") => or_nil(at.path()),
        Some(field) => at.path().child(field),
    }
}

//! The rules of a definition: that they compile, and what they may cost (`StaticEstimatedCostLimit` and its like).

use std::sync::Arc;

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::declaration::{Declaration, REQUEST_BYTES_MAX, Scope, Types, declare};
use crate::structural::{Additional, Check, ListType, Rule, Structural, Type};

/// Most that one rule may cost by estimate, and all rules of a schema together.
const RULE_COST_MAX: u64 = 10_000_000;
const SCHEMA_COST_MAX: u64 = 100_000_000;
/// Rules named when the schema costs too much.
const NAMED_MAX: usize = 4;
const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

struct Checker {
    errors: ErrorList,
    /// The schema was there before: rules that cost too much were let in.
    unchanged: bool,
    total: u64,
    expensive: Vec<(u64, Path)>,
}

/// Where a node is.
#[derive(Clone)]
struct Place<'d> {
    path: Path,
    scope: Option<(&'d Declaration, Arc<Types>)>,
    /// How often it can be in an object; `None` where nothing bounds that.
    times: Option<u64>,
    /// The node above that has no counterpart in an old object.
    uncorrelated: Option<Path>,
    root: bool,
}

impl<'d> Place<'d> {
    fn child(
        &self,
        path: Path,
        declared: Option<&'d Declaration>,
        times: Option<u64>,
        uncorrelated: Option<Path>,
    ) -> Self {
        let types = self.scope.as_ref().map(|(_, types)| types.clone());
        Self {
            path,
            scope: declared.zip(types),
            times,
            uncorrelated,
            root: false,
        }
    }
}

pub(super) fn check(schema: &Structural, path: &Path, old: Option<&Structural>) -> ErrorList {
    let mut checker = Checker {
        errors: ErrorList::new(),
        unchanged: old == Some(schema),
        total: 0,
        expensive: Vec::new(),
    };
    let place = Place {
        path: path.clone(),
        scope: None,
        times: Some(1),
        uncorrelated: None,
        root: true,
    };
    checker.node(schema, &place);
    if checker.total > SCHEMA_COST_MAX {
        for (_, path) in &checker.expensive {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            checker.errors.push(Error::forbidden(path, detail));
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_much(name, checker.total, SCHEMA_COST_MAX);
        checker.errors.push(Error::forbidden(path, detail));
    }
    checker.errors
}

fn too_much(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!("{name} exceeds budget by factor of {factor} {HINT}")
}

impl Checker {
    fn node(&mut self, schema: &Structural, place: &Place<'_>) {
        let own = if place.scope.is_none() && !schema.rules().is_empty() {
            declare(schema, place.root || schema.embedded_resource)
        } else {
            None
        };
        let place = Place {
            scope: match &own {
                Some((declaration, types)) => Some((declaration, types.clone())),
                None => place.scope.clone(),
            },
            ..place.clone()
        };
        self.below(schema, &place);
        let scope = place.scope.as_ref().map(|(declaration, types)| Scope {
            declaration,
            types: types.clone(),
        });
        for (index, rule) in schema.rules().iter().enumerate() {
            let path = place.path.child("x-kubernetes-validations").index(index);
            match &scope {
                Some(scope) => self.rule(rule, scope, &place, &path),
                None => self.errors.push(Error::internal(
                    &place.path.child("x-kubernetes-validations"),
                    "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations",
                )),
            }
        }
    }

    fn below(&mut self, schema: &Structural, place: &Place<'_>) {
        let times = place
            .times
            .and_then(|times| Some(times.saturating_mul(children(schema)?)));
        let child = |path, declared, uncorrelated| place.child(path, declared, times, uncorrelated);
        let declared = place.scope.as_ref().map(|(declaration, _)| *declaration);
        let kept = || place.uncorrelated.clone();
        if let Some(values) = schema.additional_schema() {
            let path = place.path.child("additionalProperties");
            let elements = declared.and_then(Declaration::elements);
            self.node(values, &child(path, elements, kept()));
        }
        for (name, property) in &schema.properties {
            let path = place.path.child("properties").key(name);
            let field = declared.and_then(|d| d.property(name));
            self.node(property, &child(path, field, kept()));
        }
        if let Some(items) = schema.items.as_deref() {
            let path = place.path.child("items");
            let elements = declared.and_then(Declaration::elements);
            let correlated = schema.list_type == ListType::Map;
            let lost = || (!correlated).then(|| place.path.clone());
            self.node(items, &child(path, elements, kept().or_else(lost)));
        }
    }

    fn rule(&mut self, rule: &Rule, scope: &Scope<'_>, place: &Place<'_>, path: &Path) {
        if rule.rule.trim().is_empty() {
            return;
        }
        let invalid = |at: &Path, detail: &str| {
            let shown = crate::definition::shown_rule(rule);
            let mut error = Error::invalid(at, Value::Null, format!("{shown}: {detail}"));
            error.bad_value = None;
            error
        };
        let compiled = match super::compile(rule, scope) {
            Ok(compiled) => compiled,
            Err(detail) => return self.errors.push(invalid(&path.child("rule"), &detail)),
        };
        let most = REQUEST_BYTES_MAX / (scope.declaration.min_bytes + 1);
        let cost = compiled.program.estimate(scope.declaration).max;
        let cost = cost.saturating_mul(place.times.unwrap_or(most));
        self.cost(cost, "estimated rule cost", &path.child("rule"));
        match &compiled.message {
            None => {}
            Some(Err(detail)) => self
                .errors
                .push(invalid(&path.child("messageExpression"), detail)),
            Some(Ok(message)) => {
                let cost = message.estimate(scope.declaration).max;
                self.cost(
                    cost,
                    "estimated messageExpression cost",
                    &path.child("messageExpression"),
                );
            }
        }
        if compiled.uses_old_self {
            if let Some(uncorrelated) = &place.uncorrelated {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
                );
                self.errors
                    .push(Error::invalid(&path.child("rule"), &*rule.rule, detail));
            }
        } else if let Some(flag) = rule.optional_old_self {
            let detail = "may not be set if oldSelf is not used in rule";
            self.errors
                .push(Error::invalid(&path.child("optionalOldSelf"), flag, detail));
        }
    }

    fn cost(&mut self, cost: u64, name: &str, path: &Path) {
        if !self.unchanged && cost > RULE_COST_MAX {
            self.errors
                .push(Error::forbidden(path, too_much(name, cost, RULE_COST_MAX)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_COST_MAX / 100 {
            self.expensive.push((cost, path.clone()));
            self.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.expensive.truncate(NAMED_MAX);
        }
    }
}

/// How many of each child a node can have; `None` where nothing bounds that.
fn children(schema: &Structural) -> Option<u64> {
    let natural = |limit: i64| u64::try_from(limit).unwrap_or(0);
    match schema.kind {
        Type::Object if schema.additional != Additional::Unset => schema.find(|check| match check {
            Check::MaxProperties(limit) => Some(natural(*limit)),
            _ => None,
        }),
        Type::Array => schema.find(|check| match check {
            Check::MaxItems(limit) => Some(natural(*limit)),
            _ => None,
        }),
        _ => Some(1),
    }
}

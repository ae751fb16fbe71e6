//! Evaluating expressions for one request: the variables' values, those of policies computed when first read, and the
//! cost budget of a list of expressions.

use std::cell::{Cell, OnceCell};

use corten_cel::{Activation, AuthzRequest, Budget, EvalError, LazyFields, Type, Value};
use serde_json::Value as Json;

use super::authority::{Authority, request_resource};
use super::environment::{Expression, Variables};
use crate::request::Request;

/// What all expressions of one list may cost together (upstream's `RuntimeCELCostBudget`).
pub(crate) const BUDGET: u64 = 10_000_000;

/// Why a list of expressions ends before its last.
pub(crate) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Values of the variables. Objects that are not there are null.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub object: &'a Json,
    pub old: &'a Json,
    pub params: &'a Json,
    /// The AdmissionRequest without its objects.
    pub request: &'a Json,
    pub namespace: &'a Json,
    pub authority: &'a Authority<'a>,
    pub about: &'a Request<'a>,
}

/// One list of expressions being evaluated. [`Evaluation::tie`] comes before the first.
pub(crate) struct Evaluation<'a> {
    input: Input<'a>,
    authorizer: bool,
    check: AuthzRequest,
    variables: Option<&'a Variables>,
    values: Vec<OnceCell<Result<Value<'a>, EvalError>>>,
    /// Itself, as `variables` of its expressions.
    tied: Cell<Option<&'a Evaluation<'a>>>,
    /// What variables cost since the last expression.
    aside: Cell<u64>,
    remaining: Cell<u64>,
}

impl<'a> Evaluation<'a> {
    /// `authorizer`: whether the expressions may ask it.
    pub fn new(input: Input<'a>, variables: Option<&'a Variables>, authorizer: bool, budget: u64) -> Self {
        let count = variables.map_or(0, |variables| variables.list.len());
        Self {
            input,
            authorizer,
            check: request_resource(input.about),
            variables,
            values: (0..count).map(|_| OnceCell::new()).collect(),
            tied: Cell::new(None),
            aside: Cell::new(0),
            remaining: Cell::new(budget),
        }
    }

    /// Makes the policy's variables readable.
    pub fn tie(&'a self) {
        self.tied.set(Some(self));
    }

    /// What is left for further lists.
    pub fn remaining(&self) -> u64 {
        self.remaining.get()
    }

    /// An expression's value, or what is wrong with it in upstream's words.
    ///
    /// # Errors
    /// [`OUT_OF_BUDGET`]: nothing after it is evaluated.
    pub fn eval(&'a self, expression: &'a Expression) -> Result<Result<Value<'a>, String>, &'static str> {
        let program = match &expression.program {
            Ok(program) => program,
            Err(error) => return Ok(Err(format!("compilation error: {error}"))),
        };
        let mut budget = Budget::default();
        let value = program.eval(&self.activation(), &mut budget);
        let cost = budget.spent.saturating_add(self.aside.take());
        let remaining = self.remaining.get().checked_sub(cost).ok_or(OUT_OF_BUDGET)?;
        self.remaining.set(remaining);
        Ok(value.map_err(|error| format!("expression '{}' resulted in error: {error}", expression.source)))
    }

    fn activation(&self) -> Activation<'a> {
        let input = self.input;
        let mut activation = Activation::new()
            .bind("object", Value::json(input.object))
            .bind("oldObject", Value::json(input.old))
            .bind("params", Value::json(input.params))
            .bind(
                "request",
                Value::typed(input.request, &Type::object("kubernetes.AdmissionRequest")),
            )
            .bind(
                "namespaceObject",
                Value::typed(input.namespace, &Type::object("kubernetes.Namespace")),
            );
        if self.authorizer {
            let check = Value::resource_check(input.authority, self.check.clone());
            activation = activation
                .bind("authorizer", Value::authorizer(input.authority))
                .bind("authorizer.requestResource", check);
        }
        match self.tied.get() {
            Some(tied) => activation.bind("variables", Value::Lazy(tied)),
            None => activation,
        }
    }

    fn variable(&self, name: &str, expression: &'a Expression) -> Result<Value<'a>, EvalError> {
        let program = expression.program.as_ref().map_err(|error| {
            EvalError::failed(format!("composited variable {name:?} fails to compile: {error}"))
        })?;
        let mut budget = Budget::default();
        let value = program.eval(&self.activation(), &mut budget);
        self.aside.set(self.aside.get().saturating_add(budget.spent));
        value.map_err(|error| {
            EvalError::failed(format!(
                "composited variable {name:?} fails to evaluate: {error}"
            ))
        })
    }
}

impl<'a> LazyFields<'a> for Evaluation<'a> {
    fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let list = &self.variables?.list;
        let at = list.iter().position(|(known, _)| known == name)?;
        let (name, expression) = &list[at];
        Some(
            self.values[at]
                .get_or_init(|| self.variable(name, expression))
                .clone(),
        )
    }
}

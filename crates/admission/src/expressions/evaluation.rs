//! Evaluating a list of expressions for one request: the variables' values and the cost budget.

use std::cell::Cell;

use corten_cel::{Activation, Budget, Type, Value};
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

/// One list of expressions being evaluated; the policy's variables are computed when first read.
pub(crate) struct Evaluation<'a> {
    activation: Activation<'a>,
    variables: Option<&'a Variables>,
    remaining: Cell<u64>,
}

impl<'a> Evaluation<'a> {
    /// `authorizer`: whether the expressions may ask it.
    pub fn new(input: Input<'a>, variables: Option<&'a Variables>, authorizer: bool, budget: u64) -> Self {
        let request = Type::object("kubernetes.AdmissionRequest");
        let namespace = Type::object("kubernetes.Namespace");
        let mut activation = Activation::new()
            .bind("object", Value::json(input.object))
            .bind("oldObject", Value::json(input.old))
            .bind("params", Value::json(input.params))
            .bind("request", Value::typed(input.request, &request))
            .bind("namespaceObject", Value::typed(input.namespace, &namespace));
        if authorizer {
            let check = Value::resource_check(input.authority, request_resource(input.about));
            activation = activation
                .bind("authorizer", Value::authorizer(input.authority))
                .bind("authorizer.requestResource", check);
        }
        if let Some(variables) = variables {
            activation = activation.variables(variables.programs());
        }
        Self {
            activation,
            variables,
            remaining: Cell::new(budget),
        }
    }

    /// What is left for further lists.
    pub fn remaining(&self) -> u64 {
        self.remaining.get()
    }

    /// An expression's value, or what is wrong with it in upstream's words.
    ///
    /// # Errors
    /// [`OUT_OF_BUDGET`]: nothing after it is evaluated.
    pub fn eval(&self, expression: &'a Expression) -> Result<Result<Value<'a>, String>, &'static str> {
        let program = match &expression.program {
            Ok(program) => program,
            Err(error) => return Ok(Err(format!("compilation error: {error}"))),
        };
        let mut budget = Budget::default();
        let value = program.eval(&self.activation, &mut budget);
        let remaining = self
            .remaining
            .get()
            .checked_sub(budget.spent)
            .ok_or(OUT_OF_BUDGET)?;
        self.remaining.set(remaining);
        Ok(value.map_err(|error| {
            let broken = self
                .variables
                .and_then(|variables| variables.broken_in(&expression.source));
            let error = broken.unwrap_or_else(|| error.to_string());
            format!("expression '{}' resulted in error: {error}", expression.source)
        }))
    }
}

//! A compiled expression, what it runs on, and what it may cost.

use crate::check::ast::Node;
use crate::env::Shared;
use crate::errors::EvalError;
use crate::estimate::{self, CostEstimate};
use crate::eval;
use crate::provider::SizeHints;
use crate::types::Type;
use crate::value::Value;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

/// The most that one evaluation may cost, upstream's `PerCallLimit`.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all CRD rules or all policies of one request may cost together, upstream's `RuntimeCELCostBudget`.
pub const REQUEST_BUDGET: u64 = 10_000_000;

/// A parsed and checked expression. Shared between threads; identifiers are resolved to slots.
pub struct Program {
    pub(crate) root: Node,
    /// Names of the variables in slot order.
    pub(crate) variables: Box<[Arc<str>]>,
    pub(crate) locals: usize,
    pub(crate) shared: Arc<Shared>,
}

impl Program {
    pub fn result_type(&self) -> &Type {
        &self.root.ty
    }

    /// The variables of the environment that the expression reads.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|name| &**name)
    }

    /// Computes the expression. What it cost is added to the budget's `spent`, also if it fails.
    ///
    /// # Errors
    /// What the expression did wrong, in cel-go's words; [`EvalError::CostLimit`] beyond [`Budget::per_call`].
    pub fn eval<'a>(
        &'a self,
        activation: &Activation<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        eval::run(self, activation, budget)
    }

    /// Bounds of what an evaluation can cost, by cel-go's and Kubernetes' estimators.
    pub fn estimate(&self, hints: &dyn SizeHints) -> CostEstimate {
        estimate::estimate(self, hints)
    }
}

/// Values for a program's variables. Names that the program does not read cost nothing.
///
/// Programs and input have to live as long as the activation, which keeps what it has computed.
#[derive(Default)]
pub struct Activation<'a> {
    bindings: Vec<(&'a str, Binding<'a>)>,
    variables: Vec<Composed<'a>>,
}

type Outcome<'a> = Result<Value<'a>, EvalError>;

enum Binding<'a> {
    Value(Value<'a>),
    Lazy(&'a dyn Fn() -> Outcome<'a>, OnceCell<Outcome<'a>>),
}

/// A variable of a policy, computed by a program over the same activation.
struct Composed<'a> {
    name: &'a str,
    program: &'a Program,
    outcome: OnceCell<Outcome<'a>>,
    busy: Cell<bool>,
}

impl<'a> Activation<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn bind(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.bindings.push((name, Binding::Value(value)));
        self
    }

    /// A value computed when first read, at most once.
    #[must_use]
    pub fn lazy(mut self, name: &'a str, compute: &'a dyn Fn() -> Result<Value<'a>, EvalError>) -> Self {
        self.bindings
            .push((name, Binding::Lazy(compute, OnceCell::new())));
        self
    }

    /// The fields of `variables`: each is computed when first read, at most once, over this activation. What that
    /// costs is added to the budget of whoever reads it, and bounded by [`Budget::per_call`] on its own.
    #[must_use]
    pub fn variables(mut self, programs: impl IntoIterator<Item = (&'a str, &'a Program)>) -> Self {
        let composed = programs.into_iter().map(|(name, program)| Composed {
            name,
            program,
            outcome: OnceCell::new(),
            busy: Cell::new(false),
        });
        self.variables.extend(composed);
        self.bind("variables", Value::Variables)
    }

    pub(crate) fn get(&self, name: &str) -> Outcome<'a> {
        let found = self.bindings.iter().rev().find(|(n, _)| *n == name);
        match found {
            Some((_, Binding::Value(value))) => Ok(value.clone()),
            Some((_, Binding::Lazy(compute, cell))) => cell.get_or_init(compute).clone(),
            None => Err(EvalError::NoVariable(name.to_owned())),
        }
    }

    pub(crate) fn variable(&self, name: &str, budget: &mut Budget) -> Option<Outcome<'a>> {
        let composed = self.variables.iter().find(|c| c.name == name)?;
        if let Some(outcome) = composed.outcome.get() {
            return Some(outcome.clone());
        }
        if composed.busy.replace(true) {
            return Some(Err(EvalError::Failed(format!(
                "variable {name} refers to itself"
            ))));
        }
        let outcome = composed.program.eval(self, budget);
        Some(composed.outcome.get_or_init(|| outcome).clone())
    }
}

/// Counts what evaluations cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The most one evaluation may cost.
    pub per_call: u64,
    /// What all evaluations together have cost.
    pub spent: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            per_call: PER_CALL_LIMIT,
            spent: 0,
        }
    }
}

impl Budget {
    /// What is left of `limit`, or None if more was spent.
    pub fn remaining(&self, limit: u64) -> Option<u64> {
        limit.checked_sub(self.spent)
    }
}

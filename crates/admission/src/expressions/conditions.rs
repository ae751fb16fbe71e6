//! `matchConditions` of webhooks and policies.

use corten_cel::Type;
use serde_json::Value as Json;

use super::environment::{Expression, Sees, Variables};
use super::evaluation::{Evaluation, Input};

/// What a request's match conditions may cost together (upstream's `RuntimeCELCostBudgetMatchConditions`).
const CONDITIONS_BUDGET: u64 = 2_500_000;

/// A list of conditions that all have to hold.
pub(crate) struct Conditions {
    list: Vec<Expression>,
    /// `failurePolicy: Ignore`
    ignore_failures: bool,
}

/// What the conditions say of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Yes,
    No,
    Failed(String),
}

impl Conditions {
    pub fn new(sees: Sees, variables: Option<&Variables>, conditions: &Json, ignore_failures: bool) -> Self {
        let returns = [Type::Bool];
        let compile = |condition: &Json| {
            let source = condition["expression"].as_str().unwrap_or_default();
            variables.map_or_else(
                || Expression::new(sees, source, &returns),
                |variables| variables.expression(sees, source, &returns),
            )
        };
        let list = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            list: list.iter().map(compile).collect(),
            ignore_failures,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One that is false decides; failures only count where none is.
    pub fn matches(&self, input: Input<'_>, variables: Option<&Variables>) -> Matched {
        if self.list.is_empty() {
            return Matched::Yes;
        }
        let failures = match self.failures(input, variables) {
            Ok(failures) => failures,
            Err(matched) => return matched,
        };
        match failures.len() {
            0 => Matched::Yes,
            _ if self.ignore_failures => Matched::No,
            1 => Matched::Failed(failures.concat()),
            _ => Matched::Failed(format!("[{}]", failures.join(", "))),
        }
    }

    fn failures(&self, input: Input<'_>, variables: Option<&Variables>) -> Result<Vec<String>, Matched> {
        let evaluation = Evaluation::new(input, variables, true, CONDITIONS_BUDGET);
        let mut failures = Vec::new();
        for condition in &self.list {
            match evaluation.eval(condition) {
                Ok(Ok(value)) if value.as_bool() == Some(false) => return Err(Matched::No),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => failures.push(error),
                Err(_) if self.ignore_failures => return Err(Matched::No),
                Err(error) => return Err(Matched::Failed(error.to_owned())),
            }
        }
        Ok(failures)
    }
}

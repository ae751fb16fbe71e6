//! What a validating policy decides about one request with one parameter.

use corten_cel::{Type, Value as CelValue};
use serde_json::Value;

use crate::expressions::{
    BUDGET, Conditions, Evaluation, Expression, Input, Matched, OUT_OF_BUDGET, Sees, Variables,
};

/// Longer messages of expressions are dropped (`MaxEvaluatedMessageExpressionSizeBytes`).
const MESSAGE_MAX: usize = 5 * 1024;

/// A validating policy's expressions.
pub(crate) struct Rules {
    variables: Variables,
    conditions: Conditions,
    validations: Vec<Validation>,
    audit_annotations: Vec<(String, Expression)>,
    ignore_failures: bool,
}

struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// One validation that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// Its place in the policy.
    pub index: usize,
    pub message: String,
    /// Empty for the default.
    pub reason: String,
}

#[derive(Default)]
pub(crate) struct Outcome {
    pub denials: Vec<Denial>,
    pub annotations: Vec<(String, String)>,
    /// Annotations that failed, where the policy fails closed.
    pub annotation_errors: Vec<String>,
}

impl Rules {
    pub fn new(spec: &Value, sees: Sees, ignore_failures: bool) -> Self {
        let variables = Variables::new(sees, &spec["variables"]);
        let list = |key: &str| spec[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let without_authorizer = Sees {
            authorizer: false,
            ..sees
        };
        let validations = list("validations").iter().map(|validation| {
            let text = |key: &str| validation[key].as_str().unwrap_or_default();
            let message_expression = text("messageExpression");
            Validation {
                expression: variables.expression(sees, text("expression"), &[Type::Bool]),
                message: text("message").trim().to_owned(),
                message_expression: (!message_expression.is_empty())
                    .then(|| variables.expression(without_authorizer, message_expression, &[Type::String])),
                reason: text("reason").to_owned(),
            }
        });
        let annotations = list("auditAnnotations").iter().map(|annotation| {
            let text = |key: &str| annotation[key].as_str().unwrap_or_default();
            let returns = [Type::String, Type::Null];
            let value = variables.expression(sees, text("valueExpression"), &returns);
            (text("key").to_owned(), value)
        });
        Self {
            conditions: Conditions::new(sees, Some(&variables), &spec["matchConditions"], ignore_failures),
            validations: validations.collect(),
            audit_annotations: annotations.collect(),
            variables,
            ignore_failures,
        }
    }

    pub fn decide(&self, input: Input<'_>) -> Outcome {
        match self.conditions.matches(input, Some(&self.variables)) {
            Matched::Yes => {}
            Matched::No => return Outcome::default(),
            Matched::Failed(error) => return self.failed(error),
        }
        let mut outcome = match self.validate(input) {
            Ok(denials) => Outcome {
                denials,
                ..Outcome::default()
            },
            Err(error) => return self.failed(error.to_owned()),
        };
        if let Err(error) = self.annotate(input, &mut outcome) {
            return self.failed(error.to_owned());
        }
        outcome
    }

    /// The whole policy cannot be evaluated.
    fn failed(&self, message: String) -> Outcome {
        let denial = Denial {
            index: 0,
            message,
            reason: String::new(),
        };
        Outcome {
            denials: if self.ignore_failures {
                Vec::new()
            } else {
                vec![denial]
            },
            ..Outcome::default()
        }
    }

    fn validate(&self, input: Input<'_>) -> Result<Vec<Denial>, &'static str> {
        let evaluation = Evaluation::new(input, Some(&self.variables), true, BUDGET);
        let mut results = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            results.push(
                evaluation
                    .eval(&validation.expression)?
                    .map(|value| value.as_bool() == Some(true)),
            );
        }
        let messages = self.messages(input, evaluation.remaining());
        let mut denials = Vec::new();
        for (index, result) in results.into_iter().enumerate() {
            let validation = &self.validations[index];
            let (message, reason) = match (result, &messages) {
                (Err(error), _) if self.ignore_failures => {
                    tracing::debug!(%error, "validation failed, failing open");
                    continue;
                }
                (Err(error), _) => (error, ""),
                (Ok(_), Err(_)) if self.ignore_failures => continue,
                (Ok(_), Err(error)) => (format!("failed messageExpression: {error}"), ""),
                (Ok(true), Ok(_)) => continue,
                (Ok(false), Ok(messages)) => {
                    let own = messages.get(index).cloned().flatten();
                    (validation.message_of(own), validation.reason.as_str())
                }
            };
            denials.push(Denial {
                index,
                message,
                reason: reason.to_owned(),
            });
        }
        Ok(denials)
    }

    /// What the message expressions give: upstream evaluates all of them, needed or not.
    fn messages(&self, input: Input<'_>, budget: u64) -> Result<Vec<Option<String>>, &'static str> {
        if self.validations.iter().all(|v| v.message_expression.is_none()) {
            return Ok(Vec::new());
        }
        let evaluation = Evaluation::new(input, Some(&self.variables), false, budget);
        let mut messages = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            let Some(expression) = &validation.message_expression else {
                messages.push(None);
                continue;
            };
            let value = evaluation.eval(expression)?.ok();
            messages.push(value.as_ref().and_then(CelValue::as_str).map(str::to_owned));
        }
        Ok(messages)
    }

    fn annotate(&self, input: Input<'_>, outcome: &mut Outcome) -> Result<(), &'static str> {
        let evaluation = Evaluation::new(input, Some(&self.variables), false, BUDGET);
        for (key, expression) in &self.audit_annotations {
            match evaluation.eval(expression).map_err(|_| OUT_OF_BUDGET)? {
                Ok(value) => {
                    let text = value.as_str().unwrap_or_default().trim();
                    if !text.is_empty() {
                        outcome.annotations.push((key.clone(), text.to_owned()));
                    }
                }
                Err(_) if self.ignore_failures => {}
                Err(error) => outcome.annotation_errors.push(error),
            }
        }
        Ok(())
    }
}

impl Validation {
    /// The expression's message where it is a usable line, else the fixed one, else the expression itself.
    fn message_of(&self, evaluated: Option<String>) -> String {
        let usable = |text: &String| !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n');
        evaluated
            .map(|text| text.trim().to_owned())
            .filter(usable)
            .or_else(|| Some(self.message.clone()).filter(|text| !text.is_empty()))
            .unwrap_or_else(|| format!("failed expression: {}", self.expression.source.trim()))
    }
}

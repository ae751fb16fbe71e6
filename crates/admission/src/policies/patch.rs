//! What a mutation makes of an object: a JSON patch, or an apply configuration merged by the rules of the type.

use corten_cel::{Type, Value as CelValue};
use corten_meta::json_patch::{Failure, apply, operations as operations_of};
use corten_meta::{GroupVersionKind, object};
use serde_json::Value;

use crate::expressions::{BUDGET, Evaluation, Expression, Input, Sees, Variables};
use crate::request::Request;

/// One of a policy's `mutations`.
pub(super) enum Mutation {
    JsonPatch(Expression),
    ApplyConfiguration(Expression),
}

impl Mutation {
    pub fn new(sees: Sees, variables: &Variables, mutation: &Value) -> Self {
        let sees = Sees {
            patches: true,
            ..sees
        };
        let source = |key: &str| mutation[key]["expression"].as_str().unwrap_or_default();
        if mutation["patchType"] == "JSONPatch" {
            let returns = [Type::list(Type::object("JSONPatch"))];
            return Self::JsonPatch(variables.expression(sees, source("jsonPatch"), &returns));
        }
        let returns = [Type::object("Object")];
        Self::ApplyConfiguration(variables.expression(sees, source("applyConfiguration"), &returns))
    }

    /// The object as the mutation leaves it, not yet read as its kind.
    ///
    /// # Errors
    /// What is wrong with the expression or its outcome, in upstream's words.
    pub fn apply(
        &self,
        request: &Request<'_>,
        kind: &GroupVersionKind,
        input: Input<'_>,
        variables: &Variables,
    ) -> Result<Value, String> {
        let (Self::JsonPatch(expression) | Self::ApplyConfiguration(expression)) = self;
        if let Err(error) = &expression.program {
            return Err(error.clone());
        }
        let evaluation = Evaluation::new(input, Some(variables), true, BUDGET);
        let value = evaluation.eval(expression).map_err(str::to_owned)??;
        match self {
            Self::JsonPatch(_) => json_patch(input.object, &value),
            Self::ApplyConfiguration(_) => apply_configuration(request, kind, input.object, &value),
        }
    }
}

fn json_patch(object: &Value, operations: &CelValue<'_>) -> Result<Value, String> {
    type_names(operations)?;
    let patch = operations.to_json().map_err(|error| {
        format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
    })?;
    let patch = operations_of(&patch).map_err(|error| format!("JSON Patch: {error}"))?;
    let mut changed = object.clone();
    match apply(&mut changed, patch) {
        Ok(()) => Ok(changed),
        // A test that fails is no failure: the object stays as it is.
        Err(Failure::Test(_)) => Ok(object.clone()),
        Err(error) => Err(format!("JSON Patch: {error}")),
    }
}

/// The values of a list of patch operations, each of which is typed as a root of its own.
fn type_names(operations: &CelValue<'_>) -> Result<(), String> {
    let CelValue::List(operations) = operations else {
        return Ok(());
    };
    let mut errors = Vec::new();
    for operation in operations.iter() {
        let CelValue::Struct(operation) = operation else {
            continue;
        };
        for (name, value) in &operation.fields {
            if let (true, CelValue::Struct(made)) = (&**name == "value", value) {
                check_type_names(value, &made.type_name, &mut errors);
            }
        }
    }
    mismatch(&errors)
}

fn mismatch(errors: &[String]) -> Result<(), String> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(format!("type mismatch: {}", errors.join("\n")))
}

/// `Object.spec{selector: Object.spec.wrong{}}`: objects must be named by where they are.
fn check_type_names(value: &CelValue<'_>, path: &str, errors: &mut Vec<String>) {
    match value {
        CelValue::Struct(made) => {
            if *made.type_name != *path {
                errors.push(format!(
                    "unexpected type name {:?}, expected {path:?}, which matches field name path from root Object type",
                    &*made.type_name
                ));
            }
            for (name, field) in &made.fields {
                check_type_names(field, &format!("{path}.{name}"), errors);
            }
        }
        CelValue::List(items) => items.iter().for_each(|item| check_type_names(item, path, errors)),
        CelValue::Map(entries) => entries
            .iter()
            .for_each(|(_, value)| check_type_names(value, path, errors)),
        _ => {}
    }
}

fn apply_configuration(
    request: &Request<'_>,
    kind: &GroupVersionKind,
    object: &Value,
    value: &CelValue<'_>,
) -> Result<Value, String> {
    let mut errors = Vec::new();
    check_type_names(value, "Object", &mut errors);
    mismatch(&errors)?;
    let mut configuration = value.to_json().map_err(|error| error.to_string())?;
    object::set_gvk(&mut configuration, kind);
    let merged = request.overlay(kind, object, &configuration);
    merged.map_err(|error| format!("error applying patch: {error}"))
}

//! Compiling admission expressions, and the variables of policies.

use std::sync::Arc;

pub(crate) use corten_cel::environments::AdmissionVariables as Sees;
use corten_cel::environments::admission;
use corten_cel::{Env, Program, Type, TypeProvider};
use serde_json::Value;

/// Variables whose types are known, for type checking.
pub(crate) struct Typed {
    pub provider: Arc<dyn TypeProvider>,
    pub variables: Vec<(&'static str, Type)>,
}

/// A compiled expression, or why it is none.
pub(crate) struct Expression {
    pub source: String,
    pub program: Result<Program, String>,
}

impl Expression {
    /// Compiles an expression that may only see the common variables.
    pub fn new(sees: Sees, source: &str, returns: &[Type]) -> Self {
        Self::compile(&admission(sees).build(), source, returns)
    }

    /// `returns`: the types it may have; none for any.
    fn compile(env: &Env, source: &str, returns: &[Type]) -> Self {
        let program = env
            .compile(source)
            .map_err(|errors| format!("compilation failed: {errors}"))
            .and_then(|program| match wrong_type(program.result_type(), returns) {
                Some(text) => Err(text),
                None => Ok(program),
            });
        Self {
            source: source.to_owned(),
            program,
        }
    }
}

fn wrong_type(found: &Type, returns: &[Type]) -> Option<String> {
    if returns.is_empty() || returns.contains(found) {
        return None;
    }
    let names: Vec<String> = returns.iter().map(|ty| ty.name().to_owned()).collect();
    Some(match returns {
        [one] => format!("must evaluate to {one} but got {found}"),
        _ => format!("must evaluate to one of [{}] but got {found}", names.join(" ")),
    })
}

/// A policy's `variables`, each seeing those before it.
pub(crate) struct Variables {
    list: Vec<(String, Expression)>,
    types: Vec<(String, Type)>,
    env: Env,
}

impl Variables {
    /// Reads `spec.variables`.
    pub fn new(sees: Sees, variables: &Value) -> Self {
        Self::in_environment(admission(sees).build(), variables)
    }

    /// The same where the types of some variables are known.
    pub fn typed(sees: Sees, variables: &Value, typed: &Typed) -> Self {
        let mut builder = admission(sees).provider(typed.provider.clone());
        for (name, ty) in &typed.variables {
            builder = builder.var(name, ty.clone());
        }
        Self::in_environment(builder.build(), variables)
    }

    fn in_environment(env: Env, variables: &Value) -> Self {
        let mut all = Self {
            list: Vec::new(),
            types: Vec::new(),
            env,
        };
        for variable in variables.as_array().into_iter().flatten() {
            let text = |key: &str| variable[key].as_str().unwrap_or_default();
            let expression = Expression::compile(&all.environment(Sees::default()), text("expression"), &[]);
            let ty = expression
                .program
                .as_ref()
                .map_or(Type::Dyn, |program| field_type(program.result_type()));
            all.types.push((text("name").to_owned(), ty));
            all.list.push((text("name").to_owned(), expression));
        }
        all
    }

    /// With the variables so far; of `sees` only what it adds to that of the policy counts.
    fn environment(&self, sees: Sees) -> Env {
        let builder = self.env.extend().variables(self.types.clone());
        if sees.patches {
            builder.mutation().build()
        } else {
            builder.build()
        }
    }

    /// Compiles an expression that sees the variables.
    pub fn expression(&self, sees: Sees, source: &str, returns: &[Type]) -> Expression {
        if sees.authorizer {
            return Expression::compile(&self.environment(sees), source, returns);
        }
        let env = admission(sees).variables(self.types.clone()).build();
        Expression::compile(&env, source, returns)
    }

    /// What is wrong with an expression that may have any type.
    pub fn check(&self, source: &str) -> Option<String> {
        let checked = self.environment(Sees::default()).compile(source);
        checked.err().map(|errors| errors.to_string())
    }

    /// Those that compile, for an activation.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Program)> {
        self.list
            .iter()
            .filter_map(|(name, expression)| Some((name.as_str(), expression.program.as_ref().ok()?)))
    }

    /// What upstream says of an expression that reads a variable which does not compile.
    pub fn broken_in(&self, source: &str) -> Option<String> {
        self.list.iter().find_map(|(name, expression)| {
            let error = expression.program.as_ref().err()?;
            source
                .contains(&format!("variables.{name}"))
                .then(|| format!("composited variable {name:?} fails to compile: {error}"))
        })
    }
}

/// What is known of a variable's value (upstream's `convertCelTypeToDeclType`): objects and the like are dynamic.
fn field_type(ty: &Type) -> Type {
    match ty {
        Type::List(_)
        | Type::Map(_)
        | Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Timestamp
        | Type::Duration => ty.clone(),
        _ => Type::Dyn,
    }
}

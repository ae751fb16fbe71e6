//! `x-kubernetes-validations` on the expression language of `corten-cel`.

mod check;
mod declaration;
mod validator;

use std::sync::OnceLock;

use corten_cel::{Env, Program, Type};
use corten_meta::field::{ErrorList, Path};
use serde_json::Value;

use crate::rules::{Compiler, Rules};
use crate::structural::{Rule, Structural};
use declaration::Scope;

/// Compiles rules. Stateless; make one where it is needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cel;

impl Compiler for Cel {
    fn compile(&self, schema: &Structural, resource_root: bool) -> Option<Box<dyn Rules>> {
        let root = resource_root || schema.embedded_resource;
        let ruled = schema.any(&|node| !node.rules().is_empty());
        ruled.then(|| Box::new(Lazy::new(root)) as Box<dyn Rules>)
    }

    fn check(&self, schema: &Structural, path: &Path, old: Option<&Structural>) -> ErrorList {
        check::check(schema, path, old)
    }
}

/// Rules that are compiled when the first object is validated: most definitions of a cluster have few objects or none.
struct Lazy {
    root: bool,
    node: OnceLock<Option<validator::Node>>,
}

impl Lazy {
    fn new(root: bool) -> Self {
        Self {
            root,
            node: OnceLock::new(),
        }
    }
}

impl Rules for Lazy {
    fn validate(&self, schema: &Structural, object: &Value, old: Option<&Value>) -> ErrorList {
        let node = self
            .node
            .get_or_init(|| validator::Node::new(schema, None, self.root));
        node.as_ref()
            .map_or_else(ErrorList::default, |node| node.validate(schema, object, old))
    }
}

/// A rule that compiled.
struct Compiled {
    program: Program,
    uses_old_self: bool,
    /// `Err` where the expression for the message does not compile.
    message: Option<Result<Program, String>>,
}

/// Compiles a rule of a node; errors are upstream's texts.
fn compile(rule: &Rule, scope: &Scope<'_>) -> Result<Compiled, String> {
    let own = scope.declaration.kind.clone();
    let old = if rule.optional_old_self == Some(true) {
        Type::optional(own.clone())
    } else {
        own.clone()
    };
    let env = Env::builder()
        .provider(scope.types.clone())
        .var("self", own)
        .var("oldSelf", old)
        .build();
    let program = env
        .compile(&rule.rule)
        .map_err(|errors| format!("compilation failed: {errors}"))?;
    if *program.result_type() != Type::Bool {
        return Err("cel expression must evaluate to a bool".to_owned());
    }
    let uses_old_self = program.references().any(|name| name == "oldSelf");
    Ok(Compiled {
        message: message(&rule.message_expression, &env),
        program,
        uses_old_self,
    })
}

fn message(expression: &str, env: &Env) -> Option<Result<Program, String>> {
    if expression.is_empty() {
        return None;
    }
    Some(match env.compile(expression) {
        Err(errors) => Err(format!("messageExpression compilation failed: {errors}")),
        Ok(program) if *program.result_type() != Type::String => {
            Err("messageExpression must evaluate to a string".to_owned())
        }
        Ok(program) => Ok(program),
    })
}

//! The functions of upstream's base environment: their declarations as a table, and how each is computed.

pub(crate) mod authz;
pub(crate) mod convert;
pub(crate) mod core;
pub(crate) mod declarations;
pub(crate) mod format;
pub(crate) mod formats;
pub(crate) mod ip;
pub(crate) mod lists;
pub(crate) mod mutation;
pub(crate) mod optional;
pub(crate) mod quantity;
pub(crate) mod regex;
pub(crate) mod sets;
pub(crate) mod strings;
pub(crate) mod time;
pub(crate) mod url;

use crate::env::Shared;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A function with its overloads.
pub(crate) struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
    pub compute: Compute,
}

pub(crate) struct Overload {
    pub id: &'static str,
    /// Called as `target.f(..)`; the target is the first argument.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    pub params: Vec<Arc<str>>,
}

/// What functions may use besides their arguments.
pub(crate) struct Context<'c> {
    pub shared: &'c Shared,
    /// The second argument as a pattern, if it is a literal.
    pub pattern: Option<&'c ::regex::Regex>,
    pub function: &'static str,
}

pub(crate) type Answer<'a> = Result<Value<'a>, EvalError>;
pub(crate) type Compute = for<'a> fn(&Context<'_>, &[Value<'a>]) -> Answer<'a>;

impl Context<'_> {
    /// The error of a call whose arguments fit no overload. Operators name themselves only if their first operand
    /// has no such operation at all; other functions name the types they were given.
    pub fn no_overload<'a>(&self, args: &[Value<'_>]) -> Answer<'a> {
        const PLAIN: &str = "no such overload";
        let name = self.function;
        let Some(first) = args.first() else {
            return failed(PLAIN);
        };
        match has_operation(name, first) {
            Some(true) => failed(PLAIN),
            Some(false) => failed(format!("{PLAIN}: {name}")),
            None => {
                let types: Vec<String> = args.iter().map(|a| a.type_of().name().to_owned()).collect();
                failed(format!("{PLAIN}: {name}({})", types.join(", ")))
            }
        }
    }
}

/// Whether a value has the operation of an operator; None for functions that are no operators.
fn has_operation(function: &str, value: &Value<'_>) -> Option<bool> {
    let number = matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    let time = matches!(value, Value::Duration(_) | Value::Timestamp(_));
    let text = matches!(value, Value::String(_) | Value::Bytes(_));
    Some(match function {
        "_+_" => number || time || text || value.is_list(),
        "_-_" => number || time,
        "_*_" | "_/_" => number,
        "_%_" => matches!(value, Value::Int(_) | Value::Uint(_)),
        "_<_" | "_<=_" | "_>_" | "_>=_" => number || time || text || matches!(value, Value::Bool(_)),
        "size" => text || value.is_list() || value.is_map(),
        "matches" => matches!(value, Value::String(_)),
        "contains" | "startsWith" | "endsWith" | "!_" | "-_" | "@in" => true,
        _ => return None,
    })
}

pub(crate) fn failed<'a>(message: impl Into<String>) -> Answer<'a> {
    Err(EvalError::failed(message))
}

type Registry = HashMap<&'static str, Function>;

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(declarations::all)
}

pub(crate) fn function(name: &str) -> Option<&'static Function> {
    registry().get(name)
}

const OPAQUE_TYPES: [&str; 2] = ["net.IP", "net.CIDR"];
/// Object types of the libraries; they have no fields.
const OBJECT_TYPES: [&str; 9] = [
    "kubernetes.URL",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => Type::type_of(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        "optional_type" => Type::optional(Type::Dyn),
        _ => {
            if let Some(name) = OPAQUE_TYPES.iter().find(|n| **n == name) {
                return Some(Type::opaque(name, Vec::new()));
            }
            Type::object(OBJECT_TYPES.iter().find(|n| **n == name)?)
        }
    })
}

//! The variables and types of admission expressions, and compiling against them.

use std::sync::Arc;

use corten_cel::{Env, Program, Type, TypeProvider};
use serde_json::Value;

/// Which variables an expression sees besides `object`, `oldObject`, `request` and `namespaceObject`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sees {
    pub params: bool,
    pub authorizer: bool,
    /// `Object{}`, `JSONPatch{}`.
    pub patches: bool,
}

impl Sees {
    fn environment(self) -> Env {
        let mut builder = Env::builder()
            .provider(Arc::new(RequestTypes))
            .var("object", Type::Dyn)
            .var("oldObject", Type::Dyn)
            .var("namespaceObject", Type::object("kubernetes.Namespace"))
            .var("request", Type::object("kubernetes.AdmissionRequest"));
        if self.params {
            builder = builder.var("params", Type::Dyn);
        }
        if self.authorizer {
            let check = Type::object("kubernetes.authorization.ResourceCheck");
            builder = builder
                .var("authorizer", Type::object("kubernetes.authorization.Authorizer"))
                .var("authorizer.requestResource", check);
        }
        if self.patches {
            builder = builder.mutation();
        }
        builder.build()
    }
}

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
        Self::compile(&sees.environment(), source, returns)
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
        Self::in_environment(sees.environment(), variables)
    }

    /// The same where the types of some variables are known.
    pub fn typed(sees: Sees, variables: &Value, typed: &Typed) -> Self {
        let mut builder = sees.environment().extend().provider(typed.provider.clone());
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
        let env = sees.environment().extend().variables(self.types.clone()).build();
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

/// `request` and `namespaceObject` (upstream's `BuildRequestType` and `BuildNamespaceType`).
struct RequestTypes;

impl TypeProvider for RequestTypes {
    fn has_type(&self, name: &str) -> bool {
        matches!(
            name,
            "kubernetes.AdmissionRequest"
                | "kubernetes.GroupVersionKind"
                | "kubernetes.GroupVersionResource"
                | "kubernetes.UserInfo"
                | "kubernetes.Namespace"
                | "kubernetes.NamespaceMetadata"
                | "kubernetes.NamespaceSpec"
                | "kubernetes.NamespaceStatus"
                | "kubernetes.NamespaceCondition"
        )
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        let texts = || Type::list(Type::String);
        let short = type_name.strip_prefix("kubernetes.")?;
        Some(match (short, field) {
            ("AdmissionRequest", "kind" | "requestKind") => Type::object("kubernetes.GroupVersionKind"),
            ("AdmissionRequest", "resource" | "requestResource") => {
                Type::object("kubernetes.GroupVersionResource")
            }
            (
                "AdmissionRequest",
                "subResource" | "requestSubResource" | "name" | "namespace" | "operation",
            ) => Type::String,
            ("AdmissionRequest", "userInfo") => Type::object("kubernetes.UserInfo"),
            ("AdmissionRequest", "dryRun") => Type::Bool,
            ("AdmissionRequest", "options") => Type::Dyn,
            ("GroupVersionKind", "group" | "version" | "kind") => Type::String,
            ("GroupVersionResource", "group" | "version" | "resource") => Type::String,
            ("UserInfo", "username" | "uid") => Type::String,
            ("UserInfo", "groups") => texts(),
            ("UserInfo", "extra") => Type::map(Type::String, texts()),
            ("Namespace", "metadata") => Type::object("kubernetes.NamespaceMetadata"),
            ("Namespace", "spec") => Type::object("kubernetes.NamespaceSpec"),
            ("Namespace", "status") => Type::object("kubernetes.NamespaceStatus"),
            ("NamespaceMetadata", "name" | "generateName" | "namespace" | "UID" | "resourceVersion") => {
                Type::String
            }
            ("NamespaceMetadata", "labels" | "annotations") => Type::map(Type::String, Type::String),
            ("NamespaceMetadata", "creationTimestamp" | "deletionTimestamp") => Type::Timestamp,
            ("NamespaceMetadata", "deletionGracePeriodSeconds" | "generation") => Type::Int,
            ("NamespaceMetadata" | "NamespaceSpec", "finalizers") => texts(),
            ("NamespaceStatus", "phase") => Type::String,
            ("NamespaceStatus", "conditions") => Type::list(Type::object("kubernetes.NamespaceCondition")),
            ("NamespaceCondition", "status" | "type" | "message" | "reason") => Type::String,
            ("NamespaceCondition", "lastTransitionTime") => Type::Timestamp,
            _ => return None,
        })
    }
}

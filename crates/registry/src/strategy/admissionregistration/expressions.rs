//! Whether the expressions of a policy or webhook compile, said when they are written.

use corten_cel::Type;
use corten_cel::environments::{AdmissionVariables, admission};

use super::super::rules::{At, ErrorList};

/// Compiles the expressions of one object.
pub(super) struct Compiler {
    /// The policy has a parameter kind.
    pub params: bool,
    /// Variables that have been compiled, with their types; None where there can be none.
    variables: Option<Vec<(String, Type)>>,
}

/// What an expression has to evaluate to.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Bool,
    Text,
    TextOrNull,
    Patches,
    Object,
    Anything,
}

impl Wanted {
    fn types(self) -> Vec<Type> {
        match self {
            Wanted::Bool => vec![Type::Bool],
            Wanted::Text => vec![Type::String],
            Wanted::TextOrNull => vec![Type::String, Type::Null],
            Wanted::Patches => vec![Type::list(Type::object("JSONPatch"))],
            Wanted::Object => vec![Type::object("Object")],
            Wanted::Anything => Vec::new(),
        }
    }

    /// What is wrong with a result of this type.
    fn complaint(self, ty: &Type) -> Option<String> {
        let types = self.types();
        if types.is_empty() || types.contains(ty) {
            return None;
        }
        let names: Vec<String> = types.iter().map(Type::declared).collect();
        Some(match &names[..] {
            [one] => format!("must evaluate to {one} but got {}", ty.declared()),
            all => format!(
                "must evaluate to one of [{}] but got {}",
                all.join(" "),
                ty.declared()
            ),
        })
    }
}

impl Compiler {
    /// For expressions that see no variables of the policy.
    pub(super) fn plain(params: bool) -> Self {
        Self {
            params,
            variables: None,
        }
    }

    pub(super) fn with_variables(params: bool) -> Self {
        Self {
            params,
            variables: Some(Vec::new()),
        }
    }

    /// An expression that sees the authorizer.
    pub(super) fn check(
        &self,
        at: &At<'_, '_>,
        source: &str,
        wanted: Wanted,
        errors: &mut ErrorList,
    ) -> Option<Type> {
        let patches = matches!(wanted, Wanted::Patches | Wanted::Object);
        self.compile(
            at,
            source,
            wanted,
            AdmissionVariables {
                params: self.params,
                authorizer: true,
                patches,
            },
            errors,
        )
    }

    /// An expression that makes a message; it may not ask for authorization.
    pub(super) fn message(&self, at: &At<'_, '_>, errors: &mut ErrorList) {
        let variables = AdmissionVariables {
            params: self.params,
            ..AdmissionVariables::default()
        };
        self.compile(at, at.str(), Wanted::Text, variables, errors);
    }

    /// A variable of the policy. The expressions after it see it, as dynamic if it does not compile.
    pub(super) fn variable(&mut self, name: &str, at: &At<'_, '_>, errors: &mut ErrorList) {
        let ty = self
            .check(at, at.str(), Wanted::Anything, errors)
            .map_or(Type::Dyn, |ty| composed(&ty));
        let variables = self.variables.get_or_insert_default();
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), ty));
    }

    fn compile(
        &self,
        at: &At<'_, '_>,
        source: &str,
        wanted: Wanted,
        variables: AdmissionVariables,
        errors: &mut ErrorList,
    ) -> Option<Type> {
        let mut env = admission(variables);
        if let Some(composed) = &self.variables {
            env = env.variables(composed.iter().cloned());
        }
        let complaint = match env.build().compile(source) {
            Ok(program) => match wanted.complaint(program.result_type()) {
                None => return Some(program.result_type().clone()),
                Some(complaint) => complaint,
            },
            Err(mistakes) => format!("compilation failed: {mistakes}"),
        };
        at.invalid_as(errors, source, &complaint);
        None
    }
}

/// The type with which other expressions see a variable: objects and types of the libraries become dynamic.
fn composed(ty: &Type) -> Type {
    match ty {
        Type::List(list) => Type::list(composed(&list.element)),
        Type::Map(map) => Type::map(composed(&map.0), composed(&map.1)),
        Type::Object(_) | Type::Opaque(_) | Type::Type(_) | Type::Param(_) | Type::Error => Type::Dyn,
        scalar => scalar.clone(),
    }
}

//! What an expression can see: variables, object types and libraries.

use crate::check;
use crate::errors::CompileErrors;
use crate::library::{self, Function};
use crate::parse;
use crate::program::Program;
use crate::provider::TypeProvider;
use crate::types::Type;
use crate::value::VARIABLES;
use std::sync::Arc;

/// Compiles expressions. Cheap to make and to clone; libraries are shared by all.
#[derive(Clone)]
pub struct Env {
    shared: Arc<Shared>,
}

/// Builds an [`Env`]. Without additions it is upstream's base environment for v1.36.
#[derive(Default)]
pub struct EnvBuilder {
    variables: Vec<(Arc<str>, Type)>,
    providers: Vec<Arc<dyn TypeProvider>>,
    options: parse::Options,
    json_patch: bool,
}

/// What programs keep of their environment.
pub(crate) struct Shared {
    variables: Vec<(Arc<str>, Type)>,
    providers: Vec<Arc<dyn TypeProvider>>,
    options: parse::Options,
    json_patch: bool,
}

impl Env {
    pub fn builder() -> EnvBuilder {
        EnvBuilder::default()
    }

    /// A builder that starts with what this environment has.
    pub fn extend(&self) -> EnvBuilder {
        EnvBuilder {
            variables: self.shared.variables.clone(),
            providers: self.shared.providers.clone(),
            options: self.shared.options,
            json_patch: self.shared.json_patch,
        }
    }

    /// Parses and checks.
    ///
    /// # Errors
    /// Everything that is wrong with the expression, in cel-go's words.
    pub fn compile(&self, source: &str) -> Result<Program, CompileErrors> {
        let parsed =
            parse::parse(source, self.shared.options).map_err(|found| CompileErrors::new(source, found))?;
        check::check(&self.shared, source, parsed)
    }
}

impl EnvBuilder {
    /// Declares a variable; a later declaration of the same name replaces it.
    #[must_use]
    pub fn var(mut self, name: &str, ty: Type) -> Self {
        self.variables.retain(|(n, _)| &**n != name);
        self.variables.push((name.into(), ty));
        self
    }

    /// Adds object types.
    #[must_use]
    pub fn provider(mut self, provider: Arc<dyn TypeProvider>) -> Self {
        self.providers.push(provider);
        self
    }

    /// Enables `cel.bind`, which device selectors have and policies have not.
    #[must_use]
    pub fn bindings(mut self) -> Self {
        self.options.bind = true;
        self
    }

    /// Enables `Object{..}`, `JSONPatch{..}` and `jsonpatch.escapeKey`, for mutating policies.
    #[must_use]
    pub fn mutation(mut self) -> Self {
        self.json_patch = true;
        self.provider(Arc::new(library::mutation::MutationTypes))
    }

    /// Declares `variables`, an object with these fields; see [`crate::Activation::variables`].
    #[must_use]
    pub fn variables(self, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        let fields = Composed(fields.into_iter().collect());
        self.provider(Arc::new(fields))
            .var("variables", Type::object(VARIABLES))
    }

    pub fn build(self) -> Env {
        Env {
            shared: Arc::new(Shared {
                variables: self.variables,
                providers: self.providers,
                options: self.options,
                json_patch: self.json_patch,
            }),
        }
    }
}

/// The fields of `variables`.
struct Composed(Vec<(String, Type)>);

impl TypeProvider for Composed {
    fn has_type(&self, name: &str) -> bool {
        name == VARIABLES
    }

    fn field(&self, _: &str, field: &str) -> Option<Type> {
        self.0
            .iter()
            .find(|(name, _)| name == field)
            .map(|(_, ty)| ty.clone())
    }
}

impl Shared {
    pub fn variable(&self, name: &str) -> Option<&(Arc<str>, Type)> {
        self.variables.iter().find(|(n, _)| &**n == name)
    }

    pub fn provider_of(&self, type_name: &str) -> Option<&dyn TypeProvider> {
        self.providers
            .iter()
            .find(|p| p.has_type(type_name))
            .map(|p| &**p)
    }

    /// The type of a field that an object of a declared type has.
    pub fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        self.provider_of(type_name)?.field(type_name, field)
    }

    pub fn function(&self, name: &str) -> Option<&'static Function> {
        let function = library::function(name)?;
        (self.json_patch || function.name != "jsonpatch.escapeKey").then_some(function)
    }

    /// Types that expressions can name.
    pub fn type_named(&self, name: &str) -> Option<Type> {
        library::type_named(name).or_else(|| self.provider_of(name).map(|_| Type::object(name)))
    }
}

//! The seam for `x-kubernetes-validations`: who knows CEL implements these, and this crate needs not.

use corten_meta::field::{ErrorList, Path};
use serde_json::Value;

use crate::structural::Structural;

/// Makes the rules of a schema executable.
pub trait Compiler: Send + Sync {
    /// The rules of a schema; `None` when it has none. `resource_root` says that it is of whole resources.
    fn compile(&self, schema: &Structural, resource_root: bool) -> Option<Box<dyn Rules>>;

    /// Faults of the rules in a definition's schema, which is structural: expressions that do not compile, that cost too
    /// much, or that use `oldSelf` where there is none. `path` is where the schema is in the definition; `old` is the
    /// version's schema before an update.
    fn check(&self, schema: &Structural, path: &Path, old: Option<&Structural>) -> ErrorList;
}

/// The rules of one schema.
pub trait Rules: Send + Sync {
    /// Broken rules of an object that is valid otherwise. `old` is the object before an update.
    fn validate(&self, schema: &Structural, object: &Value, old: Option<&Value>) -> ErrorList;
}

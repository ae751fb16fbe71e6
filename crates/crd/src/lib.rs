//! Custom resources without I/O: structural schemas, what they do to objects, and the rules of a
//! `CustomResourceDefinition` itself (upstream's apiextensions-apiserver).
//!
//! Owns: the compact schema tree, pruning, defaulting, validation, columns, scale and selectable fields of custom
//! objects; the validation, defaulting and conditions of definitions. Must never know: storage, HTTP, the clock.
//!
//! Read first: `structural/mod.rs` for the tree, then `resource/mod.rs` for what a served version can do.

//!
//! The seams (landing file by file):
//!
//! ```text
//! // One served version of an established definition. `rules` plugs in CEL; None leaves x-kubernetes-validations out.
//! resource::Version::new(definition: &Value, version: &str, rules: Option<&dyn rules::Compiler>) -> Option<Version>
//!   fields: gvk, list_kind, plural, namespaced, served, storage, has_status, scale: Option<scale::Paths>, columns, selectable,
//!           schema: Option<Arc<Structural>>, deprecated: Option<String> (the warning header)
//!   .decode(&self, &mut Value, report_unknown: bool) -> Result<Vec<String>, Status>   // coerce, prune, drop nulls; unknown paths
//!   .decode_stored(&self, &mut Value)                 // the same for stored objects; never fails
//!   .default(&self, &mut Value)                       // after decode, and on every read of the store
//!   .prepare_for_create(&mut Value) / .prepare_for_update(&mut Value, old) / .prepare_for_status_update(&mut Value, old)
//!   .validate(&Value) / .validate_update(&Value, old) / .validate_status_update(&Value, old) -> ErrorList  // metadata is the registry's
//!   .warnings(&Value, old: Option<&Value>) -> Vec<String>
//!   .field_values(&Value) -> Vec<String>              // in the order of .selectable (names without the leading dot)
//!   .columns: Vec<columns::Column{name, kind, format, description, priority}>;  .cells(&Value, now) -> Vec<Value>
//!   .scale_of(&Value) -> Result<Value, Status>;  .apply_scale(&mut Value, &Value /* Scale */) -> Result<(), Status>
//!   .reset_fields(subresource) -> &'static [FieldPath];  corten_schema::apply::Write gets `custom: Some(&version)`
//! // A definition (v1 JSON, normalized).
//! definition::prepare_for_create(&mut Value) / prepare_for_update(&mut Value, old) / prepare_for_status_update(&mut Value, old)
//! definition::validate(&Value, rules) / validate_update(&Value, old, rules) / validate_status_update(&Value, old) -> ErrorList
//! definition::warnings(&Value, old: Option<&Value>) -> Vec<String>
//! definition::non_structural(&Value) -> Option<Value /* condition without lastTransitionTime */>
//! definition::api_approved(&Value) -> Option<Value /* condition */>
//! // OpenAPI of one version: definitions by name, and paths.
//! openapi::v2(&Value, version) -> Fragment { definitions, paths };  openapi::v3(&Value, version) -> Fragment
//! ```

pub mod apply;
pub mod cel;
pub mod definition;
pub(crate) mod format;
pub mod jsonpath;
pub(crate) mod number;
pub mod object;
pub mod openapi;
mod place;
pub mod resource;
pub mod rules;
pub mod structural;
pub mod validate;

pub use resource::Version;
pub use structural::Structural;

//! What happens to a custom object between its bytes and its rules: unknown fields go, nulls that mean nothing go,
//! metadata takes its proper form, defaults come in.

mod default;
mod embedded;
mod metadata;
mod prune;

pub use default::{default, drop_nulls};
pub use embedded::validate as validate_embedded;
pub(crate) use embedded::validate_at as validate_embedded_at;
pub use metadata::{CoerceError, coerce, coerce_embedded};
pub use prune::prune;

/// Members every object has, wherever it is embedded.
pub(crate) fn is_meta_field(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

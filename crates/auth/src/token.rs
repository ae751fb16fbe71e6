//! Service-account tokens: JWTs signed by the cluster, bound to objects, checked on every request.

mod bootstrap;
mod claims;
mod key;
pub mod legacy;
mod sign;
mod verify;

pub use bootstrap::BootstrapToken;
pub use claims::{Claims, Kubernetes, Reference};
pub use key::{KeyError, PublicKey, SigningKey};
pub use sign::{Bound, Issued, Issuer, TokenSpec};
pub use verify::{BoundObject, TokenError, Verified, Verifier};

/// Issuer of tokens kept in Secrets of type `kubernetes.io/service-account-token`.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Expiry that kubelets ask for when they mount the default token; such tokens live for
/// [`EXTENDED_EXPIRATION_S`] and are reported as stale after this.
pub const WARN_ONLY_EXPIRATION_S: i64 = 60 * 60 + 7;

/// One year.
pub const EXTENDED_EXPIRATION_S: i64 = 365 * 24 * 60 * 60;

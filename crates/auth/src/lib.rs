//! Who is asking, and may they: authentication, authorization, service-account tokens and the cluster's certificates.
//!
//! Owns: the PKI on disk, kubeconfig files, JWT signing and checking, RBAC evaluation with upstream's default
//! policy, the node authorizer's graph.
//!
//! Must never know: HTTP, the store, the registry. Objects reach it as values that someone else has read; it performs
//! no I/O except on the PKI directory and kubeconfig files it is pointed at.
//!
//! Read first: `authz.rs` (the question and the answer) and `rbac/index.rs` (how most answers are found).

pub mod authn;
pub mod authz;
pub mod kubeconfig;
pub mod node;
pub mod oidc;
pub mod pki;
mod private_key;
pub mod rbac;
pub mod request_header;
pub mod token;
mod user;

pub use authz::{Attributes, Authorizer, Decision};
pub use user::{UserInfo, groups, service_account_username, split_service_account, users};

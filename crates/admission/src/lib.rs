//! Dynamic admission: webhooks and policies that clients configure (admissionregistration.k8s.io).
//!
//! Owns: which webhook or policy a request concerns, what it is told, and what its answer means. Reads configuration from
//! the registry's caches and keeps it compiled until it changes; without configuration a request costs one load per kind of
//! it. Must never know: HTTP (that is `corten-webhook`'s), or what a plug-in in the process does.
//!
//! Read first: `request.rs` (what a request looks like from here), then `webhooks/mod.rs` and `policies/mod.rs`.

mod configured;
mod expressions;
mod matching;
mod policies;
mod request;
mod rounds;
pub mod typecheck;
mod webhooks;

use std::sync::Arc;

use corten_auth::authz::Authorizer;
use corten_registry::{Admission, Registry};
use corten_webhook::Caller;

/// What dynamic admission needs besides the registry.
pub struct Parts {
    /// Calls webhooks.
    pub caller: Arc<Caller>,
    /// Answers the `authorizer` variable of CEL expressions.
    pub authorizer: Arc<dyn Authorizer>,
}

/// The plug-ins in upstream's order, for [`Registry::set_dynamic_admission`].
pub fn plugins(registry: &Registry, parts: &Parts) -> Vec<Arc<dyn Admission>> {
    fn some(plugin: Option<impl Admission + 'static>) -> Option<Arc<dyn Admission>> {
        plugin.map(|plugin| Arc::new(plugin) as Arc<dyn Admission>)
    }
    let plugins = [
        some(policies::Mutating::new(registry, parts)),
        some(webhooks::Mutating::new(registry, parts)),
        some(policies::Validating::new(registry, parts)),
        some(webhooks::Validating::new(registry, parts)),
    ];
    plugins.into_iter().flatten().collect()
}

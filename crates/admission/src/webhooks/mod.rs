//! Admission webhooks: which are called for a request, in what order, and what their answers do.
//! Rules and texts: upstream's apiserver/pkg/admission/plugin/webhook.

mod call;
mod hook;
mod mutating;
mod review;
mod validating;

pub(crate) use mutating::Mutating;
pub(crate) use validating::Validating;

//! CEL in admission: what expressions of webhooks and policies can see, and what evaluating them costs and gives.
//! Rules and texts: upstream's apiserver/pkg/admission/plugin/cel.

mod authority;
mod conditions;
mod environment;
mod evaluation;

pub(crate) use authority::Authority;
pub(crate) use conditions::{Conditions, Matched};
pub(crate) use environment::{Expression, Sees, Typed, Variables};
pub(crate) use evaluation::{BUDGET, Evaluation, Input, OUT_OF_BUDGET};

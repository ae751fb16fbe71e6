//! Admission policies in CEL: what validating and mutating ones have in common. A policy says what to do, its bindings say
//! where, and parameters fill in the values. Rules and texts: upstream's apiserver/pkg/admission/plugin/policy.

mod decisions;
mod mutating;
mod params;
mod patch;
mod selection;
mod validating;

pub(crate) use mutating::Mutating;
pub(crate) use validating::Validating;

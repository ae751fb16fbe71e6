//! The scheduler: which node each pod goes to. A pure core over columns of node state, and thin wiring.
//!
//! Owns: filtering, scoring, the scheduling queue, preemption, binding. Must never know: how pods are run, how objects
//! are stored. Extension points and plugins have upstream's names. Read first: `core.rs`, `class.rs`.

mod class;
mod core;
mod fit_error;
mod plugins;
mod pod_info;
mod preempt;
mod queue;
mod resources;
mod run;
mod snapshot;

pub use crate::core::{Core, Outcome};
pub use fit_error::FitError;
pub use pod_info::PodInfo;
pub use preempt::{Budget, Preemption};
pub use queue::{Cause, SchedulingQueue};
pub use run::{Config, run};
pub use snapshot::Snapshot;

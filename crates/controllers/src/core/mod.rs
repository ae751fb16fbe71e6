//! What every controller stands on: actions as values, their execution, what was written but not yet seen, claims.

pub mod action;
pub mod claim;
pub mod context;
pub mod crew;
pub mod discovery;
pub mod execute;
pub mod expect;
pub mod history;
pub mod pod;
pub mod reconcile;

pub use action::{Action, Note, Verb, Write, transcript};
pub use context::Context;
pub use execute::Executor;
pub use expect::{Expectations, LAGGING, Shown};
pub use reconcile::{Reconcile, drive};

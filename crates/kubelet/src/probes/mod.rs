//! Probes: which are due and what their results mean (pure), and how each kind is carried out.

pub mod grpc;
pub mod http;
pub mod run;
mod table;

#[cfg(test)]
pub use table::ProbeKind;
pub use table::{Due, Outcome, Report, Results, Table};

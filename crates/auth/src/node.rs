//! Kubelets may read what their own pods refer to and nothing else.

mod authorizer;
mod graph;
mod pods;
mod references;

pub use authorizer::NodeAuthorizer;
pub use graph::Graph;

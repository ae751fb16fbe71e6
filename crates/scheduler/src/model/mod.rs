//! Nodes and pods as the algorithm sees them: parsed once, when they change.

mod cluster;
mod node;
mod pod;
mod resources;
mod terms;

pub use cluster::Cluster;
pub use node::{HostPort, NodeInfo};
pub use pod::PodInfo;
pub use resources::Resources;
pub use terms::{NodeTerms, PodTerm, SpreadConstraint, TermContext};

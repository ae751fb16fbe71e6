//! The pod network, the service proxy and the network of a many-nodes-on-one-machine cluster.
//!
//! Owns: pod interfaces and addresses, routes between nodes, masquerading, the nf_tables of both, the namespaces
//! of `corten up --nodes N`, and the choice of address ranges. Speaks netlink itself; runs no command.
//!
//! Must never know: the Kubernetes API. It receives desired-state values ([`proxy::ServiceMap`],
//! [`node::NodeRoutes`]) and makes the kernel look like them.
//!
//! Read first: `node/mod.rs` (one node's pods) and `proxy/layout.rs` (how a packet finds its endpoint).

pub mod cidr;
pub mod cluster;
mod conntrack;
mod error;
pub mod ids;
mod netlink;
pub mod netns;
mod nft;
pub mod node;
pub mod proxy;
mod rt;

pub use error::{Error, Result};
pub use ids::ClusterId;

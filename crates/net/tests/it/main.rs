//! Real packets in throw-away network namespaces. Needs root; nothing here has a route to the outside.
#![allow(clippy::unwrap_used)]

mod cluster;
mod lab;
mod listing;
mod node;
mod node_port;
mod planner;
mod proxy;
mod scope;
mod services;
mod uplink;

//! From what the API says to what the node's network is told: services to the proxy, nodes to routes, both to DNS.
//! Informers only mark what changed; one task per feed works it off, so that a burst costs one application.

mod dirty;
mod health;
mod host_ports;
pub(crate) mod names;
pub(crate) mod routes;
pub(crate) mod services;
mod topology;

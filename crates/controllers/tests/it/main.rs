//! Controllers against the server in memory: what they write, event by event.
#![allow(clippy::unwrap_used)]

mod cluster;
mod deployments;
mod garbage;
mod nodes;
mod services;
mod upkeep;

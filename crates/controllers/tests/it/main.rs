//! Controllers against the server in memory: what they write, event by event.
#![allow(clippy::unwrap_used)]

mod cluster;
mod deployments;
mod footprint;
mod garbage;
mod housekeeping;
mod idle;
mod jobs;
mod nodes;
mod services;
mod sets;
mod simulation;
mod transcript;
mod upkeep;

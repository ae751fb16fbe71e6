//! Informers, events and elections against the server in memory.
#![allow(clippy::unwrap_used)]

mod footprint;
mod informers;
mod leaders;
mod recorded;

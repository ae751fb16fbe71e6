//! Informers, events and elections against the server in memory.
#![allow(clippy::unwrap_used)]

mod informers;
mod leaders;
mod recorded;

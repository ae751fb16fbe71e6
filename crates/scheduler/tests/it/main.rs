//! The scheduler's core by table, and the whole against the server in memory.
#![allow(clippy::unwrap_used)]

mod footprint;
mod placing;
mod serving;

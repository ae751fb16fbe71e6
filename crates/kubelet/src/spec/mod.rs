//! From a pod's spec to what the runtime is asked for. Pure: everything that is read from disk or the API comes in
//! as an argument.

pub mod container;
pub mod dns;
pub mod hosts;
pub mod labels;
pub mod resources;
pub mod sandbox;
pub mod security;

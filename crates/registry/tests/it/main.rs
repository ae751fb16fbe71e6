//! The registry over the embedded store.
#![allow(clippy::unwrap_used)]

mod crud;
mod deletion;
mod fixture;
mod lists;
mod oracle;
mod namespaces;
mod restart;
mod watches;

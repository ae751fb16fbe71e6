//! The registry over the embedded store.
#![allow(clippy::unwrap_used)]

mod crud;
mod deletion;
mod fixture;
mod lists;
mod namespaces;
mod oracle;
mod quotas;
mod pod_security;
mod restart;
mod services;
mod time;
mod watches;

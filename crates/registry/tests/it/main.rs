//! The registry over the embedded store.
#![allow(clippy::unwrap_used)]

mod converted;
mod crud;
mod deletion;
mod fixture;
mod lists;
mod namespaces;
mod oracle;
mod pod_security;
mod quotas;
mod resize;
mod restart;
mod services;
mod time;
mod updates;
mod versions;
mod warnings;
mod watches;

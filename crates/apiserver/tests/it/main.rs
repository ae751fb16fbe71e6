//! The server over real TLS on loopback, with a store of its own in a temporary directory.
#![allow(clippy::unwrap_used)]

mod conversion;
mod crud;
mod custom;
mod front;
mod grants;
mod harness;
mod hook_server;
mod reads;
mod tunnels;
mod watches;
mod webhook_failures;
mod webhooks;

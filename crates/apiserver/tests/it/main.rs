//! The server over real TLS on loopback, with a store of its own in a temporary directory.
#![allow(clippy::unwrap_used)]

mod aggregation;
mod applying;
mod audit;
mod conversion;
mod converted;
mod crud;
mod custom;
mod custom_promises;
mod ends;
mod flow;
mod front;
mod fuzzing;
mod grants;
mod harness;
mod hook_server;
mod legacy_tokens;
mod migration;
mod mutating_policies;
mod operations;
mod patches;
mod policies;
mod promises;
mod reads;
mod recorded;
mod refusals;
mod routes;
mod selectable;
mod store_health;
mod tunnels;
mod watches;
mod webhook_configurations;
mod webhook_failures;
mod webhook_objects;
mod webhook_requests;
mod webhooks;

//! The HTTP front of the API: listening, filters, routing, negotiation, verbs, watches, subresources, discovery, reviews,
//! passing requests on to kubelets and pods, and what a fresh cluster is given (`bootstrap`).
//!
//! Owns: HTTP, and everything a client sees that is not the object itself. Must never know: the store, or any rule of a kind
//! that its schema or registry strategy can hold.
//!
//! Read first: `front.rs` (the filters, in order), then `resources.rs` (from path to verb).

mod accept;
mod aggregator;
mod apply;
pub mod audit;
pub mod authn;
mod authz;
pub mod body;
pub mod bootstrap;
mod call;
mod catalog;
pub mod coalesce;
mod codec;
mod congestion;
pub mod connect;
mod convert;
pub mod custom;
mod discovery;
mod flowcontrol;
mod follow;
mod front;
mod grants;
mod gzip;
pub mod health;
mod impersonate;
mod items;
mod legacy_tokens;
pub mod limits;
mod list_body;
mod listener;
mod listing;
pub mod metrics;
mod metrics_page;
pub mod negotiate;
mod observe;
mod oidc;
mod openapi;
mod options;
mod peer;
mod protobuf;
mod query;
mod request_info;
mod resources;
mod respond;
mod reviews;
mod routes;
mod server;
mod shape;
mod standard;
mod subresources;
pub mod tls;
mod unread;
mod verbs;
mod webhooks;
mod websocket;

pub use body::Body;
pub use connect::{Backends, BoxIo, DirectDialer, KubeletDialer, KubeletTls, Target};
pub use listener::serve;
pub use peer::Peer;
pub use server::{ApiServer, Config, InProcess, Inner, Options};
pub use standard::{Features, Standard, StartError};

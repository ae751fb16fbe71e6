//! Calling webhooks: one JSON document posted over HTTPS to a URL or a Service, one JSON document back.
//!
//! Owns: `clientConfig` of webhook configurations and CRD conversion, trust in a `caBundle`, connections kept for the next
//! call, deadlines, and the words for what goes wrong (Go's, because clients see them). Must never know: what is asked, or
//! where a Service's endpoints are ([`Dialer`] does).
//!
//! Read first: `caller.rs`, then `config.rs`.

mod caller;
mod config;
mod connect;
mod error;
mod tls;
pub mod trust;

pub use caller::Caller;
pub use config::{ClientConfig, ConfigError, Endpoint};
pub use connect::{BoxIo, Dialer, Io};
pub use error::{CallError, dial_text};

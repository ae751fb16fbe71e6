//! The kubelet's HTTPS server.

use async_trait::async_trait;

/// Who may call.
#[async_trait]
pub trait Access: Send + Sync {}
/// Streams.
pub trait Upgrades: Send + Sync {}

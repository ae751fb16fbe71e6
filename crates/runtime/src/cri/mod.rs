//! CRI v1: its messages (generated, wire-compatible) and its calls as traits.

mod error;
mod service;

pub use error::{Code, Error, Result};
pub use service::{
    Cri, Duplex, ExecIo, ImageService, PodIps, PodNetwork, Reader, RuntimeService, Streaming, TerminalSize,
    Writer,
};
pub use v1::*;

#[allow(clippy::all, clippy::pedantic)]
#[path = "../generated/cri_v1.rs"]
mod v1;

impl std::fmt::Debug for AuthConfig {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

//! What names get, as text, and the server on loopback with a name server of its own behind it.
#![allow(clippy::unwrap_used)]

mod names;
mod server;
mod zone;

//! SPDY/3.1 as far as Kubernetes uses it: many streams over one upgraded connection, opened by the client.

mod connection;
mod dictionary;
mod frame;
mod headers;

pub(crate) use connection::{Connection, Resetter, Stream};
#[cfg(test)]
pub(crate) use frame::{Frame, Reader, Writer};
#[cfg(test)]
pub(crate) use headers::HeaderBlock;

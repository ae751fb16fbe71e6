//! Custom resources as upstream treats them, cases restated from its tests.
#![allow(clippy::unwrap_used)]

mod definitions;
mod objects;
mod properties;
mod versions;

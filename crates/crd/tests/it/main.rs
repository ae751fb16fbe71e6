//! Custom resources as upstream treats them, cases restated from its tests.
#![allow(clippy::unwrap_used)]

mod apply;
mod definitions;
mod objects;
mod openapi;
mod properties;
mod rules;
mod spoiled;
mod versions;

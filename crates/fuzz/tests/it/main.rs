//! Every target for a short time, and the patches against small models.
#![allow(clippy::unwrap_used)]

mod apply;
mod merges;
mod targets;

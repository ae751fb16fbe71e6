//! The engine against the facts of upstream: golden objects and recorded answers.
#![allow(clippy::unwrap_used)]

mod defaulting;
mod facts;
mod golden;
mod openapi;
mod ownership;
mod refusals;

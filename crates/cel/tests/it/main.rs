//! The engine against upstream's answers.
#![allow(clippy::unwrap_used)]

mod hostile;
mod structural;
mod table;

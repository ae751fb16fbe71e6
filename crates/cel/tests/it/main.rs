//! The engine against upstream's answers.
#![allow(clippy::unwrap_used)]

mod environments;
mod hostile;
mod structural;
mod table;

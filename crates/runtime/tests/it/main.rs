//! The runtime against the real kernel: root, namespaces, control groups. Each test has directories, a control group and
//! a keeper of its own, and checks that nothing of them is left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;
mod images;
mod isolation;
mod lifecycle;
mod node;
mod recovery;
mod registry;
mod spoiled;
mod streaming;

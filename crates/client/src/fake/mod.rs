//! An API server in memory for tests: the storage semantics controllers rely on (revisions, conflicts, generateName,
//! finalizers, graceful deletion, watches that resume, break and expire) and none of the rest.

mod clock;
pub mod footprint;
mod serve;
mod state;

pub use clock::TokioClock;
pub use state::{Change, Door, Fake, Request, Write};

//! Fuzzing without a compiler's help: seeded mutations of good input, given to whatever reads bytes from outside.
//!
//! Owns: the mutations and the list of targets. Must never know: what an answer should be; a target only must not panic,
//! hang or disagree with itself.
//!
//! Read first: `mutate.rs` (how input is spoiled) and `targets.rs` (who is given it). `cargo test -p corten-fuzz` takes
//! seconds; `cargo run -p corten-fuzz -- ROUNDS [TARGET [SEED]]` takes as long as it is told to.

use std::io::Write as _;

mod corpus;
mod mutate;
mod targets;

pub use corpus::objects;
pub use mutate::{Random, bytes, value};
pub use targets::{ALL, Target};

/// Rounds of each target where nobody says how many.
pub const ROUNDS: u64 = 3_000;

/// Runs a target for a number of rounds. A panic says which round it was, and its input.
pub fn run(target: &Target, rounds: u64, seed: u64) {
    let corpus = (target.corpus)();
    for round in 0..rounds {
        let mut random = Random::new(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let input = bytes(&mut random, &corpus);
        let told = Told {
            name: target.name,
            seed,
            round,
            input: &input,
        };
        (target.run)(&input);
        std::mem::forget(told);
    }
}

/// Says what was being tried when the stack is unwound.
struct Told<'a> {
    name: &'a str,
    seed: u64,
    round: u64,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self {
            name,
            seed,
            round,
            input,
        } = self;
        let input = String::from_utf8_lossy(input);
        // Where even this fails there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{name}: seed {seed}, round {round}: {input:?}");
    }
}

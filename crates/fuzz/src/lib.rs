//! Fuzzing without a compiler's help: seeded mutations of good input, given to whatever reads bytes from outside.
//!
//! Owns: the mutations and the list of targets. Must never know: what an answer should be; a target only must not panic,
//! hang or disagree with itself.
//!
//! Read first: `mutate.rs` (how input is spoiled) and `targets.rs` (who is given it). Readers inside other crates are
//! spoiled by tests there, by way of [`spoil`]; their names begin with `spoiled_`. All of it takes seconds; for longer:
//! `CORTEN_FUZZ_ROUNDS=1000000 cargo nextest run -E 'test(spoiled_) or package(corten-fuzz)'`, or, one target with another
//! seed, `cargo run -p corten-fuzz -- ROUNDS [TARGET [SEED]]`.

use std::io::Write as _;

mod corpus;
mod mutate;
mod targets;

pub use corpus::objects;
pub use mutate::{Random, bytes, value};
pub use targets::{ALL, Target};

/// Rounds of each target where nobody says how many.
pub const ROUNDS: u64 = 3_000;

/// The rounds asked for with `CORTEN_FUZZ_ROUNDS`, or [`ROUNDS`].
pub fn rounds() -> u64 {
    let asked = std::env::var("CORTEN_FUZZ_ROUNDS");
    asked.ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// Runs a target for a number of rounds. A panic says which round it was, and its input.
pub fn run(target: &Target, rounds: u64, seed: u64) {
    each(target.name, rounds, seed, &(target.corpus)(), |_, input| {
        (target.run)(input);
    });
}

/// Tests of a crate's own: spoils the corpus in [`rounds`] rounds.
pub fn spoil(name: &'static str, corpus: &[Vec<u8>], mut test: impl FnMut(&[u8])) {
    each(name, rounds(), 36, corpus, |_, input| test(input));
}

/// The same, for tests that spoil more than bytes: with the numbers of the round.
pub fn each(
    name: &'static str,
    rounds: u64,
    seed: u64,
    corpus: &[Vec<u8>],
    mut test: impl FnMut(&mut Random, &[u8]),
) {
    for round in 0..rounds {
        let mut random = Random::new(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let input = bytes(&mut random, corpus);
        let told = Told {
            name,
            seed,
            round,
            input: &input,
        };
        test(&mut random, &input);
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

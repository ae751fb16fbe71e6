//! All controllers at once, and everything that can go wrong between them and the server: watches that break, expire,
//! lag or overtake each other, writes that fail, answers that are lost, processes that die between any two writes, and
//! two processes at work at the same time.

mod balancers;
mod ledger;
mod objects;
mod upkeep;
mod world;

use std::env;

use ledger::Ledger;
use world::World;

/// Seeds per test. More on demand: `SIMULATION_SEEDS=200`, or one: `SIMULATION_SEED=17`.
/// `SIMULATION_TRACE=1` prints every fault and every change of the server.
const SEEDS: u64 = 3;
const STEPS: u64 = 60;

fn seeds() -> Vec<u64> {
    let number = |name: &str| env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIMULATION_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

async fn simulate(seed: u64, processes: usize) {
    let mut world = World::new(seed, processes);
    let (mut ledger, alone) = (Ledger::default(), processes == 1);
    objects::make(&world.fake);
    for step in 0..STEPS {
        let when = format!("seed {seed} step {step}");
        world.heartbeat();
        world.fault();
        objects::change(&mut world, step).await;
        for _ in 0..1 + world.random.below(3) {
            world.kubelet();
            let millis = 1 + world.random.below(40);
            world.pass(millis).await;
            ledger.take(world.fake.take_changes(), alone, &when);
        }
        let long = world.random.below(4) == 0;
        if long {
            world.pass(6000).await;
        }
        if world.random.below(3) > 0 {
            world.mend();
        }
        ledger.take(world.fake.take_changes(), alone, &when);
    }
    world.calm();
    let mut missing = String::new();
    // Longer than the longest back-off that the faults can have led to.
    for _ in 0..4000 {
        world.heartbeat();
        world.kubelet();
        world.pass(100).await;
        ledger.take(
            world.fake.take_changes(),
            alone,
            &format!("seed {seed} at the end"),
        );
        missing = objects::missing(&world.fake, &ledger, alone);
        if missing.is_empty() {
            return;
        }
    }
    panic!("seed {seed} with {processes} processes does not converge: {missing}");
}

/// Whatever goes wrong, everything gets where it should, and nothing is ever made twice.
#[tokio::test(start_paused = true)]
async fn controllers_converge_and_make_nothing_twice() {
    for seed in seeds() {
        simulate(seed, 1).await;
    }
}

/// Two leaders at once fight over what the server names, but never over what they name themselves, and get there too.
#[tokio::test(start_paused = true)]
async fn two_at_once_converge() {
    for seed in seeds() {
        simulate(seed, 2).await;
    }
}

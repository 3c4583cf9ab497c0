//! Simulated worlds: exactly once, nothing lost, nothing seen in part, all nodes equal.
//!
//! `SEED=123 cargo test -p tt-tests --test simulation` replays one world; `WORLDS=10000` runs more; the
//! binary `tt-sim` is for long runs.
//!
//! * `regressions`: seeds that once failed

#[path = "simulation/regressions.rs"]
mod regressions;

use tt_tests::sim::{pure, run};

const THREADS: usize = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn check(kind: &str, worlds: u64, world: fn(u64)) {
    if let Some(seed) = number("SEED") {
        return world(seed);
    }
    let range = 0..number("WORLDS").unwrap_or(worlds);
    println!("{kind}: seeds {}..{}", range.start, range.end);
    let failed = run::seeds(range, THREADS, world);
    for (seed, cause) in &failed {
        println!("seed {seed}: {cause}\nagain: SEED={seed} cargo test -p tt-tests --test simulation {kind}");
    }
    assert!(failed.is_empty(), "{} worlds failed", failed.len());
}

#[test]
fn worlds_with_files() {
    check("worlds_with_files", 1_000, run::world);
}

#[test]
fn worlds_whose_hub_is_put_back() {
    check("worlds_whose_hub_is_put_back", 120, run::world_restored);
}

#[test]
fn worlds_of_sessions() {
    check("worlds_of_sessions", 20_000, pure::world);
}

//! One seed from beginning to end; and a shorter script for one that fails.

use super::super::random::Random;
use super::generate::{Family, script};
use super::play::{Outcome, play};
use super::script::{Script, Step};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a script is played for.
type Check = fn(&Script, u64);

/// Everything about one seed.
///
/// # Panics
/// When something is not as the model says; with the seed, the script and a shorter one.
pub fn world(seed: u64) {
    check(seed, Family::Rows, played_twice);
    if seed.is_multiple_of(4) {
        check(seed, Family::Orderly, played_in_both_orders);
    }
}

/// A script comes out as the model says, and the same with restarts.
fn played_twice(script: &Script, seed: u64) {
    let plain = play(script, None);
    let restarted = play(script, Some(Random::new(!seed)));
    assert_same(&plain, &restarted, "with restarts");
}

/// What devices wrote apart comes out the same whoever meets the hub first.
fn played_in_both_orders(script: &Script, _: u64) {
    let meets = |order: &mut dyn Iterator<Item = usize>| {
        let mut script = script.clone();
        script.steps.extend(order.map(Step::Meet));
        play(&script, None)
    };
    let (first, mut second) = (meets(&mut (1..=script.devices)), meets(&mut (1..=script.devices).rev()));
    // How often a row is listed can depend on the order; which rows are listed must not.
    let mut first = first;
    first.entries.dedup();
    second.entries.dedup();
    assert_same(&first, &second, "in the other order");
}

fn assert_same(one: &Outcome, other: &Outcome, how: &str) {
    let only = |a: &Outcome, b: &Outcome| a.rows.difference(&b.rows).cloned().collect::<Vec<_>>();
    assert!(one.rows == other.rows, "{how}: {:#?} instead of {:#?}", only(other, one), only(one, other));
    assert_eq!(one.entries, other.entries, "{how}, the conflict list");
}

fn check(seed: u64, family: Family, check: Check) {
    let whole = script(seed, family);
    let Err(cause) = attempt(&whole, seed, check) else { return };
    let shorter = shrink(&whole, seed, check);
    let again = attempt(&shorter, seed, check).err().unwrap_or_default();
    panic!("{family:?} {seed}: {cause}\n--- the shortest script that fails:\n{shorter}--- {again}");
}

fn attempt(script: &Script, seed: u64, check: Check) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check(script, seed)))
        .map_err(|cause| super::super::run::sentence(cause.as_ref()))
}

/// Leaves out steps and statements one by one, as long as it still fails.
fn shrink(script: &Script, seed: u64, check: Check) -> Script {
    let mut shortest = script.clone();
    loop {
        let mut candidates: Vec<Script> =
            (0..shortest.steps.len()).rev().map(|step| shortest.without(step)).collect();
        for step in (0..shortest.steps.len()).rev() {
            candidates.extend((0..8).filter_map(|op| shortest.without_op(step, op)));
        }
        match candidates.into_iter().find(|candidate| attempt(candidate, seed, check).is_err()) {
            Some(shorter) => shortest = shorter,
            None => return shortest,
        }
    }
}

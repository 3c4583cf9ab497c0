//! One seed from beginning to end; and a shorter script for one that fails.

use super::super::random::Random;
use super::generate::{Family, script};
use super::play::{Outcome, play};
use super::script::{Script, Step};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a script is played for.
type Check = fn(&Script, u64);

/// Everything about one seed. The model looks at every version of the hub, so that one play says all about
/// a script; every fourth is played twice, to be compared, and some have a world of another family beside it.
///
/// # Panics
/// When something is not as the model says; with the seed, the script and a shorter one.
pub fn world(seed: u64) {
    check(seed, Family::Rows, if seed % 4 == 1 { played_twice } else { played_once });
    match seed % 8 {
        0 | 4 => check(seed, Family::Orderly, played_in_both_orders),
        2 => super::references::world(seed),
        _ => {}
    }
}

/// A script comes out as the model says: every second with restarts.
fn played_once(script: &Script, seed: u64) {
    let restarts = (!seed.is_multiple_of(2)).then(|| Random::new(!seed));
    play(script, restarts);
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
    let attempt = |script: &Script| attempt(|| check(script, seed));
    let Err(cause) = attempt(&whole) else { return };
    let shorter = shortest(whole, shorter, |script| attempt(script).is_err());
    let again = attempt(&shorter).err().unwrap_or_default();
    panic!("{family:?} {seed}: {cause}\n--- the shortest script that fails:\n{shorter}--- {again}");
}

/// What a check says, if it fails.
pub(super) fn attempt(check: impl Fn()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).map_err(|cause| super::super::run::sentence(cause.as_ref()))
}

/// Leaves out one part after the other, as long as it still fails.
pub(super) fn shortest<S>(whole: S, shorter: impl Fn(&S) -> Vec<S>, fails: impl Fn(&S) -> bool) -> S {
    let mut shortest = whole;
    while let Some(found) = shorter(&shortest).into_iter().find(&fails) {
        shortest = found;
    }
    shortest
}

/// The script without one step, and without one statement of a transaction.
fn shorter(script: &Script) -> Vec<Script> {
    let steps = || (0..script.steps.len()).rev();
    let mut shorter: Vec<Script> = steps().map(|step| script.without(step)).collect();
    for step in steps() {
        shorter.extend((0..8).filter_map(|op| script.without_op(step, op)));
    }
    shorter
}

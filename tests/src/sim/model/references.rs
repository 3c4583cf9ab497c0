//! Scripted worlds with foreign keys: programs write what they like, and no single entry is predicted. All
//! promises hold, and restarts of the daemons anywhere change nothing in the outcome.
//!
//! A step of a program has a seed of its own, so that a script is the same with a step left out.

use super::super::checks;
use super::super::ledger::{Ledger, Rows, rows};
use super::super::program::{Programs, Temper};
use super::super::random::Random;
use super::super::schemas::{ALL, Shape};
use super::super::world::World;
use tt_hub::store::conflict;

const DEVICES: u16 = 3;
/// Steps of a daemon after which a device must be in step.
const STEPS_MAX: usize = 2_000;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A program on this node commits a transaction of this seed.
    Program(usize, u64),
    /// This device links until it is in step.
    Meet(usize),
    /// So many milliseconds pass.
    Pass(i64),
}

/// What a world comes to: the hub's rows, and kind and table of what is listed.
type Outcome = (Rows, Vec<String>);

/// The world of a seed, played with and without restarts. A shorter script that fails is part of the cause.
///
/// # Panics
/// When a promise is broken, or restarts change the outcome.
pub fn world(seed: u64) {
    let mut random = Random::new(seed);
    let shape: &Shape = &random.pick(ALL);
    let steps: Vec<Step> = (0..12 + random.below(20)).map(|_| step(&mut random)).collect();
    let attempt = |steps: &[Step]| super::run::attempt(|| played_twice(shape, steps, seed));
    let Err(cause) = attempt(&steps) else { return };
    let shorter = super::run::shortest(
        steps,
        |steps| (0..steps.len()).rev().map(|at| [&steps[..at], &steps[at + 1..]].concat()).collect(),
        |steps| attempt(steps).is_err(),
    );
    panic!(
        "References {seed}, schema {}: {cause}\n--- the shortest script that fails: {shorter:#?}",
        shape.name
    );
}

fn step(random: &mut Random) -> Step {
    let device = 1 + usize::try_from(random.below(u64::from(DEVICES))).expect("small");
    match random.below(10) {
        0..=2 => Step::Meet(device),
        3 => Step::Pass(random.pick(&[1, 1_000, 86_400_000])),
        4 => Step::Program(0, random.next()),
        _ => Step::Program(device, random.next()),
    }
}

fn played_twice(shape: &Shape, steps: &[Step], seed: u64) {
    let plain = play(shape, steps, None);
    let restarted = play(shape, steps, Some(Random::new(!seed)));
    assert_eq!(plain, restarted, "restarts changed the outcome");
}

fn play(shape: &Shape, steps: &[Step], mut restarts: Option<Random>) -> Outcome {
    let mut world = World::new(shape, shape.policy(), DEVICES);
    let mut ledger = Ledger::new(shape, &rows(world.program(0), shape));
    let mut next_tag = 0;
    for step in steps {
        match *step {
            Step::Program(node, seed) => {
                let mut programs = Programs { node, shape, temper: Temper::Wild, next_tag: &mut next_tag };
                programs.transaction(world.program(node), &mut Random::new(seed), &mut ledger);
                world.step_hub();
            }
            Step::Meet(node) => meet(&mut world, node, &mut restarts),
            Step::Pass(milliseconds) => world.pass(milliseconds),
        }
    }
    for _ in 0..2 {
        (1..=usize::from(DEVICES)).for_each(|node| meet(&mut world, node, &mut restarts));
    }
    world.settle();
    checks::converged(&world);
    checks::exactly_once(&world, &ledger);
    checks::nothing_unsent(&world);
    checks::ids_fit(&ledger);
    (0..=usize::from(DEVICES)).for_each(|node| checks::consistent_cut(&world, node));
    checks::no_echo(&mut world);
    let entries = conflict::list(world.program(0), true, |device| device.to_string()).expect("reads");
    let mut listed: Vec<String> =
        entries.iter().map(|entry| format!("{} {}", entry["kind"], entry["table"])).collect();
    listed.sort();
    (rows(world.program(0), shape), listed)
}

/// Only this device has a link, until it is in step.
fn meet(world: &mut World, node: usize, restarts: &mut Option<Random>) {
    let edge = node - 1;
    world.link(edge);
    for _ in 0..STEPS_MAX {
        world.step_edge(edge);
        if world.is_in_step(edge) {
            return world.unlink(edge);
        }
        world.deliver_up(edge, false);
        world.step_hub();
        let Some(random) = restarts else { continue };
        match random.below(24) {
            0 => {
                world.crash_edge(edge);
                world.start_edge(edge);
            }
            1 => {
                world.crash_hub();
                world.start_hub();
            }
            _ => continue,
        }
        world.link(edge);
    }
    panic!("device {node} does not come to rest");
}

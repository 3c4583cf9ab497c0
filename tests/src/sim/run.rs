//! One seed from beginning to end, and many of them on several threads.

use super::checks;
use super::ledger::{Ledger, rows};
use super::operator;
use super::program::{Programs, Temper};
use super::random::Random;
use super::schemas::{ALL, Shape};
use super::world::World;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const DAY_MS: i64 = 86_400_000;

/// Runs the world of one seed and checks all promises.
///
/// # Panics
/// When one is broken.
pub fn world(seed: u64) {
    lived(seed, false);
}

/// As [`world`], but every node is looked at after every step, to find the step that broke a promise.
///
/// # Panics
/// When one is broken.
pub fn world_watched(seed: u64) {
    lived(seed, true);
}

fn lived(seed: u64, watched: bool) {
    let Born { mut random, shape, temper, mut world, mut ledger } = born(seed);
    let mut replays = Replays::new(&mut world, seed);
    let mut next_tag = 0;
    for _ in 0..2 {
        let steps = 60 + random.below(200);
        let told = (shape, &mut next_tag, &mut replays);
        live(&mut world, &mut random, temper, &mut ledger, told, (steps, watched));
        world.settle();
        checks::converged(&world);
        checks::nothing_healed(&world);
        checks::exactly_once(&world, &ledger);
        checks::nothing_unsent(&world);
    }
    checks::ids_fit(&ledger);
    (0..4).for_each(|node| checks::consistent_cut(&world, node));
    checks::sound(&world, usize::try_from(seed % 4).expect("small"));
    if temper == Temper::Quiet {
        checks::no_false_alarm(&world);
    }
    checks::no_echo(&mut world);
    operator::decides(&mut world, seed);
    replays.check(&mut world);
}

/// Whether the journal of this world is replayed, and when the world looks at itself for that. It has dice of its
/// own: what happens in a world does not depend on it.
struct Replays {
    random: Random,
    here: bool,
}

impl Replays {
    fn new(world: &mut World, seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x006a_6f75_726e_616c);
        let here = random.once_in(4);
        if here {
            world.remember_snapshot();
        }
        Self { random, here }
    }

    fn look(&mut self, world: &mut World) {
        if self.here && self.random.once_in(50) {
            world.remember_next();
        }
        if self.here && self.random.once_in(200) {
            world.remember_snapshot();
        }
    }

    fn check(&mut self, world: &mut World) {
        if self.here {
            world.check_replay(&mut self.random);
        }
    }
}

/// The world of one seed, in which the hub's file is put back once or twice: the programs of devices write all
/// the time, those at the hub only what a backup holds. Checks all promises.
///
/// # Panics
/// When one is broken.
pub fn world_restored(seed: u64) {
    restored(seed, false);
}

/// As [`world_restored`], but every node is looked at after every step.
///
/// # Panics
/// When a promise is broken.
pub fn world_restored_watched(seed: u64) {
    restored(seed, true);
}

fn restored(seed: u64, watched: bool) {
    let Born { mut random, shape, temper, mut world, mut ledger } = born(seed);
    let mut next_tag = 0;
    let mut live = |world: &mut World, random: &mut Random, ledger: &mut Ledger, first: usize, most: u64| {
        let steps = 20 + random.below(most);
        let told = (shape, &mut next_tag, None);
        live_among(world, random, (temper, first..4), ledger, told, (steps, watched));
    };
    live(&mut world, &mut random, &mut ledger, 0, 150);
    for _ in 0..=random.below(2) {
        if random.once_in(2) {
            world.settle();
        }
        let backup = world.copy_hub();
        live(&mut world, &mut random, &mut ledger, 1, 150);
        if random.once_in(3) {
            world.settle();
            live(&mut world, &mut random, &mut ledger, 1, 30);
        }
        if random.once_in(2) {
            world.forget_history();
            live(&mut world, &mut random, &mut ledger, 1, 30);
        }
        world.restore_hub(&backup);
        world.start_hub();
        live(&mut world, &mut random, &mut ledger, 0, 60);
        if random.once_in(3) {
            world.forget_history();
        }
    }
    world.settle();
    assert!(world.seeds >= 3, "{} devices were reseeded", world.seeds);
    checks::converged(&world);
    checks::nothing_healed(&world);
    checks::exactly_once(&world, &ledger);
    checks::nothing_unsent(&world);
    checks::ids_fit(&ledger);
    (0..4).for_each(|node| checks::consistent_cut(&world, node));
    checks::sound(&world, usize::try_from(seed % 4).expect("small"));
    checks::no_echo(&mut world);
}

/// A world at its beginning.
struct Born {
    random: Random,
    shape: &'static Shape,
    temper: Temper,
    world: World,
    ledger: Ledger,
}

fn born(seed: u64) -> Born {
    let mut random = Random::new(seed);
    let shape: &'static Shape = &ALL[usize::try_from(random.below(ALL.len() as u64)).expect("few")];
    let clash_free = !shape.sql.contains("CHECK") && random.once_in(3);
    let temper = if clash_free { Temper::Quiet } else { Temper::Wild };
    let mut world = World::new(shape, shape.policy(), 3);
    for edge in &mut world.edges {
        edge.clock_ms = random.pick(&[0, 0, 0, 700, -DAY_MS, DAY_MS, -1_800_000_000_000]);
    }
    let ledger = Ledger::new(shape, &rows(world.program(0), shape));
    Born { random, shape, temper, world, ledger }
}

fn live(
    world: &mut World,
    random: &mut Random,
    temper: Temper,
    ledger: &mut Ledger,
    (shape, next_tag, replays): (&Shape, &mut u64, &mut Replays),
    (steps, watched): (u64, bool),
) {
    let told = (shape, next_tag, Some(replays));
    live_among(world, random, (temper, 0..4), ledger, told, (steps, watched));
}

/// Only programs on these nodes write.
fn live_among(
    world: &mut World,
    random: &mut Random,
    (temper, writers): (Temper, Range<usize>),
    ledger: &mut Ledger,
    (shape, next_tag, mut replays): (&Shape, &mut u64, Option<&mut Replays>),
    (steps, watched): (u64, bool),
) {
    for step in 0..steps {
        if random.once_in(5) {
            let node = usize::try_from(random.below(4)).expect("small").max(writers.start);
            let mut programs = Programs { node, shape, temper, next_tag };
            programs.transaction(world.program(node), random, ledger);
        }
        world.chance(random);
        if let Some(replays) = &mut replays {
            replays.look(world);
        }
        if watched {
            println!("step {step} of {steps}");
            (0..4).for_each(|node| checks::consistent_cut(world, node));
        }
        if random.once_in(6) {
            checks::consistent_cut(world, usize::try_from(random.below(4)).expect("small"));
        }
    }
}

/// Runs every seed of a range on this many threads. Returns those that failed, with what was broken.
///
/// # Panics
/// When a thread of the runner itself dies.
pub fn seeds(range: Range<u64>, threads: usize, run: impl Fn(u64) + Sync) -> Vec<(u64, String)> {
    let next = AtomicU64::new(range.start);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= range.end {
                        return;
                    }
                    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        println!("seed {seed} failed");
                        failed.lock().expect("no thread dies with it").push((seed, sentence(cause.as_ref())));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no thread died with it");
    failed.sort();
    failed
}

/// What a panic said.
pub(crate) fn sentence(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().cloned();
    text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

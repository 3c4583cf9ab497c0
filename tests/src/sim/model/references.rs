//! Scripted worlds with foreign keys: programs write what they like, and no single entry is predicted. All
//! promises hold, and restarts of the daemons anywhere change nothing in the outcome.
//!
//! Every third world has a table that only the hub may write and bounds for deletes. There the counts are not
//! booked: what is refused or held is on the list as changes, and not as rows.
//!
//! A step of a program has a seed of its own, so that a script is the same with a step left out.

use super::super::checks;
use super::super::ledger::{Ledger, Rows, rows};
use super::super::program::{Programs, Temper};
use super::super::random::Random;
use super::super::schemas::{ALL, KeyKind, Shape};
use super::super::world::World;
use tt_hub::store::conflict;
use tt_migrations::quote::{ident, text};
use tt_protocol::policy::{HoldDeletes, Policy};

const DEVICES: u16 = 3;
const FAMILIES: u64 = 0x6661_6d69;
/// Steps of a daemon after which a device must be in step.
const STEPS_MAX: usize = 2_000;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A program on this node commits a transaction of this seed.
    Program(usize, u64),
    /// A program on this node makes a row with one of two unique values, and a child of it.
    Family(usize, u64),
    /// A program on this node deletes all rows of a table that may go.
    Sweep(usize, u64),
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
    let mut steps: Vec<Step> = (0..12 + random.below(20)).map(|_| step(&mut random)).collect();
    // Chance of its own, so that these leave the rest of a seed's script as it is.
    let mut second = Random::new(seed ^ FAMILIES);
    for _ in 0..second.below(5) {
        let at = usize::try_from(second.below(steps.len() as u64)).expect("few");
        let node = usize::try_from(second.below(u64::from(DEVICES) + 1)).expect("small");
        let chance = second.next();
        steps.insert(
            at,
            if second.once_in(4) { Step::Sweep(node, chance) } else { Step::Family(node, chance) },
        );
    }
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
    let governed = Random::new(seed ^ FAMILIES).once_in(3);
    let plain = play(shape, steps, governed, None);
    let restarted = play(shape, steps, governed, Some(Random::new(!seed)));
    assert_eq!(plain, restarted, "restarts changed the outcome");
}

/// The shape's policy; governed, with a table for the hub alone and bounds for deletes of all others.
fn policy(shape: &Shape, governed: bool) -> Policy {
    let mut policy = shape.policy();
    for (place, table) in shape.tables.iter().enumerate().filter(|_| governed) {
        let rule = policy.tables.entry(table.name.to_owned()).or_default();
        rule.hold_deletes = HoldDeletes { rows: 1, share: 0.3 };
        if place == 0 {
            rule.writers = vec!["hub".to_owned()];
        }
    }
    policy
}

/// SQL that makes a row of a table with a unique column, and a child of it. None where the shape has none.
fn family(shape: &Shape, random: &mut Random, tag: &str) -> Option<String> {
    let parents: Vec<usize> = (0..shape.tables.len()).filter(|at| shape.tables[*at].code.is_some()).collect();
    let at = random.pick(&parents);
    let table = &shape.tables[at];
    let code = text(random.pick(&["x", "y"]));
    let mut columns = vec!["tag".to_owned(), ident(table.code?), ident(table.counters[0])];
    let mut values = vec![text(tag), code.clone(), random.below(5).to_string()];
    for (name, _) in table.key.iter().filter(|(_, kind)| *kind != KeyKind::Automatic) {
        columns.push(ident(name));
        values.push(text(tag));
    }
    let name = ident(table.name);
    let mut sql = format!("INSERT INTO {name}({}) VALUES ({});", columns.join(", "), values.join(", "));
    for child in shape.tables {
        let Some(parent) = child.parent.filter(|parent| parent.table == at) else { continue };
        let mut columns = vec!["tag".to_owned(), ident(child.counters[0])];
        let mut values = vec![text(&format!("{tag}-{}", child.name)), random.below(5).to_string()];
        for (column, of) in parent.columns.iter().zip(parent.parent_columns) {
            columns.push(ident(column));
            values.push(ident(of));
        }
        for (name, kind) in child.key {
            if *kind != KeyKind::Automatic && !parent.columns.contains(name) {
                columns.push(ident(name));
                values.push(text(random.pick(&["a", "b"])));
            }
        }
        let (child, columns, values) = (ident(child.name), columns.join(", "), values.join(", "));
        let code_column = ident(table.code?);
        sql += &format!(
            "INSERT INTO {child}({columns}) SELECT {values} FROM {name} WHERE {code_column} = {code};"
        );
    }
    Some(sql)
}

/// Commits it, unless a constraint refuses a part of it.
fn commit(world: &World, node: usize, sql: &str, ledger: &mut Ledger) {
    let (conn, shape) = (world.program(node), world.shape());
    let before = rows(conn, shape);
    conn.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes now");
    let done = conn.execute_batch(sql).is_ok();
    let after = rows(conn, shape);
    if done && conn.execute_batch("COMMIT").is_ok() {
        ledger.book(&before, &after);
    } else {
        conn.execute_batch("ROLLBACK").expect("rolls back");
    }
}

fn play(shape: &Shape, steps: &[Step], governed: bool, mut restarts: Option<Random>) -> Outcome {
    let mut world = World::new(shape, policy(shape, governed), DEVICES);
    world.remember_snapshot();
    let mut ledger = Ledger::new(shape, &rows(world.program(0), shape));
    let mut next_tag = 0;
    for step in steps {
        match *step {
            Step::Program(node, seed) => {
                let mut programs = Programs { node, shape, temper: Temper::Wild, next_tag: &mut next_tag };
                programs.transaction(world.program(node), &mut Random::new(seed), &mut ledger);
                world.step_hub();
            }
            Step::Family(node, seed) => {
                next_tag += 1;
                if let Some(sql) = family(shape, &mut Random::new(seed), &format!("n{node}-{next_tag}")) {
                    commit(&world, node, &sql, &mut ledger);
                }
                world.step_hub();
            }
            Step::Sweep(node, seed) => {
                let table = ident(Random::new(seed).pick(shape.tables).name);
                commit(&world, node, &format!("DELETE FROM {table}"), &mut ledger);
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
    if !governed {
        checks::exactly_once(&world, &ledger);
    }
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

//! Plays a script in a world of real files, and tells the model what happens when.
//!
//! After every version of the hub its tables and its conflict list must be what the model says, and
//! before every program's transaction so must the node's. Restarts come between any two steps of a daemon.

use super::super::checks;
mod compare;
mod execute;

use super::super::random::Random;
use super::super::world::World;
use super::merge::{Model, Place, Rows};
use super::script::{Label, Op, Script, Step, place_of};
use super::tables::{Table, policy, shape};
use super::values::{Row, literal};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use tt_migrations::value::copy;

/// Steps of a daemon after which a device must have done what it was linked for.
const STEPS_MAX: usize = 400;

/// What a device is linked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Cut,
    Merged,
    InStep,
}

/// What all nodes have in the end: rows and conflict list as lines, ids as labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Rows.
    pub rows: BTreeSet<String>,
    /// Entries: kind, table, row.
    pub entries: Vec<String>,
}

/// A script under way.
struct Play<'s> {
    script: &'s Script,
    world: World,
    model: Model,
    keys: BTreeMap<Label, Row>,
    now: i64,
    version: u64,
    seqs: Vec<u64>,
    cursors: Vec<u64>,
    restarts: Option<Random>,
}

/// Plays a script, with restarts by this chance if there is one, and checks everything.
///
/// # Panics
/// When something is not as the model says.
pub fn play(script: &Script, restarts: Option<Random>) -> Outcome {
    let mut world = World::new(&shape(&script.tables), policy(&script.tables), devices(script));
    // How its rows come out the model says; of some it is proven at the end that the journal gives the same.
    if script.steps.len().is_multiple_of(4) {
        world.remember_snapshot();
    }
    let version = world.hub_store().version().0;
    let mut play = Play {
        model: Model::new(&script.tables, script.devices, version),
        script,
        keys: BTreeMap::new(),
        now: 0,
        version,
        seqs: vec![0; script.devices],
        cursors: vec![version; script.devices],
        restarts,
        world,
    };
    for step in &script.steps {
        play.step(step);
    }
    play.end()
}

fn devices(script: &Script) -> u16 {
    u16::try_from(script.devices).expect("few")
}

impl Play<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Program(node, ops) => self.program(*node, ops),
            Step::Cut(node) => self.visit(*node, Until::Cut),
            Step::Push(node) => self.visit(*node, Until::Merged),
            Step::Meet(node) => self.visit(*node, Until::InStep),
            Step::Clock(node, milliseconds) => {
                // The daemon runs, so that every write is a write of the true time.
                self.world.step_edge(node - 1);
                self.look_at_device(*node);
                self.world.set_clock(node - 1, *milliseconds);
                self.world.step_edge(node - 1);
                self.look_at_device(*node);
            }
            Step::Pass(milliseconds) => {
                self.now += milliseconds;
                self.world.pass(*milliseconds);
            }
        }
    }

    /// All devices meet the hub until nothing moves; then once more, and nothing may move.
    fn end(mut self) -> Outcome {
        for _ in 0..2 {
            (1..=self.script.devices).for_each(|node| self.visit(node, Until::InStep));
        }
        let version = self.version;
        (0..=self.script.devices).for_each(|node| self.look(node));
        for node in 1..=self.script.devices {
            assert_eq!(self.read(node), self.model.hub, "device {node} is not as the hub");
        }
        for node in 1..=self.script.devices {
            self.world.crash_edge(node - 1);
            self.world.start_edge(node - 1);
            self.visit(node, Until::InStep);
        }
        assert_eq!(self.version, version, "an echo: a round with nothing new made a version");
        checks::nothing_unsent(&self.world);
        self.sound();
        self.outcome()
    }

    fn sound(&self) {
        for node in 0..=self.script.devices {
            let conn = self.world.program(node);
            let answer: String =
                conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("reads");
            assert_eq!(answer, "ok", "node {node}: integrity");
        }
    }

    fn read(&self, node: usize) -> Rows {
        rows(self.world.program(node), &self.script.tables)
    }

    /// The node has what the model says.
    fn look(&self, node: usize) {
        let (found, expected) = (self.read(node), self.model.rows(node));
        if found != *expected {
            panic!("node {node}: {}", self.difference(&found, expected));
        }
    }

    fn difference(&self, found: &Rows, expected: &Rows) -> String {
        let text = |rows: &Rows, place: &Place| {
            rows.get(place)
                .map_or_else(|| "nothing".to_owned(), |row| line(&self.script.tables[place.0], row))
        };
        let places: BTreeSet<&Place> = found.keys().chain(expected.keys()).collect();
        let differ = places.into_iter().filter(|place| found.get(*place) != expected.get(*place));
        let lines = differ
            .map(|place| format!("has {}, the model says {}", text(found, place), text(expected, place)));
        lines.collect::<Vec<_>>().join("; ")
    }

    fn program(&mut self, node: usize, ops: &[Op]) {
        self.look(node);
        let mut touched = BTreeSet::new();
        self.world.program(node).execute_batch("BEGIN IMMEDIATE").expect("nobody else writes now");
        for op in ops {
            self.operate(node, op, &mut touched);
        }
        self.world.program(node).execute_batch("COMMIT").expect("commits");
        let (now, at) = (self.read(node), self.now);
        let known = self.model.rows(node);
        touched.retain(|place| known.contains_key(place) || now.contains_key(place));
        self.model.wrote(node, now, &touched, at);
        if node == 0 {
            self.step_hub();
        }
    }

    /// A device links, alone, until what it is linked for has happened. The link goes then.
    fn visit(&mut self, node: usize, until: Until) {
        let edge = node - 1;
        self.world.link(edge);
        let (seq, version) = (self.seqs[edge], self.version);
        for _ in 0..STEPS_MAX {
            self.world.step_edge(edge);
            self.look_at_device(node);
            let is_cut = until == Until::Cut && self.seqs[edge] > seq;
            if is_cut || self.world.is_in_step(edge) {
                break;
            }
            self.world.deliver_up(edge, false);
            self.step_hub();
            if until == Until::Merged && self.version > version {
                break;
            }
            self.restart(edge);
        }
        let done = until != Until::InStep || self.world.is_in_step(edge);
        assert!(done, "device {node} does not come to rest");
        self.world.unlink(edge);
    }

    fn restart(&mut self, edge: usize) {
        let Some(random) = &mut self.restarts else { return };
        match random.below(24) {
            0 => {
                self.world.crash_edge(edge);
                self.world.start_edge(edge);
            }
            1 => {
                self.world.crash_hub();
                self.world.start_hub();
            }
            _ => return,
        }
        self.world.link(edge);
    }

    fn look_at_device(&mut self, node: usize) {
        let edge = node - 1;
        let store = self.world.edge_store(edge);
        let seq = store.last_cut().expect("reads").0.0;
        let cursor = store.cursor().expect("reads").0;
        if seq > self.seqs[edge] {
            self.seqs[edge] = seq;
            self.model.cut(node);
        }
        if cursor > self.cursors[edge] {
            self.cursors[edge] = cursor;
            self.model.applied(node, cursor);
        }
    }

    fn step_hub(&mut self) {
        self.world.step_hub();
        let version = self.world.hub_store().version().0;
        if version == self.version {
            return;
        }
        let sql = "SELECT version, edge FROM _sync_merged WHERE version > ?1";
        let mut merged: BTreeMap<u64, usize> = BTreeMap::new();
        let conn = self.world.program(0);
        let mut statement = conn.prepare_cached(sql).expect("the hub's table");
        let mut found = statement.query([self.version.cast_signed()]).expect("reads");
        while let Some(row) = found.next().expect("reads") {
            merged.insert(
                row.get::<_, i64>(0).expect("a number").unsigned_abs(),
                usize::from(row.get::<_, u16>(1).expect("a number")),
            );
        }
        for version in self.version + 1..=version {
            match merged.get(&version) {
                Some(node) => self.model.merged(*node, version, self.now),
                None => self.model.is_version(version),
            }
        }
        self.version = version;
        self.look(0);
        self.look_at_list();
    }
}

fn line(table: &Table, row: &Row) -> String {
    format!("{} {}", table.name, line_from(table, row, 0))
}

fn line_from(table: &Table, row: &Row, skipped: usize) -> String {
    let values = table.columns.iter().zip(row).skip(skipped);
    values.map(|(column, value)| format!("{}={}", column.name, literal(value))).collect::<Vec<_>>().join(" ")
}

/// All rows of a file.
fn rows(conn: &Connection, tables: &[Table]) -> Rows {
    let mut all = Rows::new();
    for (place, table) in tables.iter().enumerate() {
        let sql = format!("SELECT {} FROM {}", table.list(), table.name);
        let mut statement = conn.prepare_cached(&sql).expect("the table fits");
        let mut found = statement.query([]).expect("reads");
        while let Some(row) = found.next().expect("reads") {
            let row = copy(row, 0, table.columns.len()).expect("reads");
            all.insert(place_of(tables, place, &row), row);
        }
    }
    all
}

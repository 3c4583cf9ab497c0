//! Scripts by chance. Few keys, few values, few rows: so that devices meet each other's changes.

use super::super::random::Random;
use super::script::{Label, Op, Script, Step, chooses_key, is_counted, step_of};
use super::tables::{self, Domain, KeyKind, Rule, Table};
use tt_protocol::clock::CLOCK_TOLERANCE_MS;
use tt_protocol::value::Value;

/// What the steps of a script may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Everything that the model can predict.
    Rows,
    /// Only what comes out the same in whatever order devices meet the hub.
    Orderly,
}

const DAY_MS: i64 = 86_400_000;
/// A clock that is a little off: more than a device lets pass until it is measured against the hub's.
const CLOCK_MS: i64 = CLOCK_TOLERANCE_MS + 700;
const GOVERNED: u64 = 0x6b65_7973;

struct Generator<'r> {
    random: &'r mut Random,
    family: Family,
    tables: Vec<Table>,
    labels: Vec<usize>,
    /// Inserts so far, to make the same row twice.
    made: Vec<(usize, Vec<(usize, Value)>)>,
}

/// The script of a seed.
#[must_use]
pub fn script(seed: u64, family: Family) -> Script {
    let mut random = Random::new(seed);
    let mut tables = tables::schema(&mut random);
    // Chance of its own, so that what is governed leaves the rest of a seed's script as it is.
    let mut second = Random::new(seed ^ GOVERNED);
    tables.iter_mut().for_each(|table| table.govern(&mut second));
    let mut devices = 2 + usize::try_from(random.below(2)).expect("small");
    if family == Family::Orderly {
        devices = 2;
        tables.iter_mut().for_each(Table::without_limits);
    }
    let mut generator =
        Generator { random: &mut random, family, tables, labels: Vec::new(), made: Vec::new() };
    let mut steps = generator.beginning(devices);
    let count = 5 + generator.random.below(9);
    for _ in 0..count {
        generator.some(devices, &mut steps);
    }
    if family == Family::Rows {
        generator.random = &mut second;
        for _ in 0..generator.random.below(4) {
            generator.once_more(devices, &mut steps);
        }
    }
    let Generator { tables, labels, .. } = generator;
    steps.iter_mut().for_each(|step| without_moves(&tables, &labels, step));
    Script { tables, devices, steps, labels }
}

impl Generator<'_> {
    /// Rows that all know, and clocks that are wrong.
    fn beginning(&mut self, devices: usize) -> Vec<Step> {
        let count = 3 * u64::try_from(self.tables.len()).expect("few");
        let mut ops = Vec::new();
        for place in 0..count {
            let table = usize::try_from(place).expect("few") % self.tables.len();
            ops.push(self.insert(table, false));
        }
        let mut steps = vec![Step::Program(0, ops)];
        steps.extend((1..=devices).map(Step::Meet));
        for node in 1..=devices {
            let milliseconds = self.random.pick(&[0, 0, 0, CLOCK_MS, -DAY_MS, DAY_MS, -1_800_000_000_000]);
            if milliseconds != 0 {
                steps.push(Step::Clock(node, milliseconds));
            }
        }
        steps
    }

    fn some(&mut self, devices: usize, steps: &mut Vec<Step>) {
        let milliseconds = self.random.pick(&[0, 1, 400, 1_000, DAY_MS]);
        if milliseconds > 0 {
            steps.push(Step::Pass(milliseconds));
        }
        let node = 1 + self.random.below(devices as u64);
        let node = usize::try_from(node).expect("small");
        if self.family == Family::Orderly {
            return steps.push(self.program(node));
        }
        steps.push(match self.random.below(20) {
            0..=3 => Step::Meet(node),
            4 => Step::Cut(node),
            5 => Step::Push(node),
            6 => Step::Clock(node, self.random.pick(&[0, CLOCK_MS, -DAY_MS, DAY_MS])),
            7 | 8 => self.program(0),
            _ => self.program(node),
        });
    }

    /// Puts a step for its own sake between the others: the same row made on two nodes, rows replaced under
    /// other keys, many deletes at once.
    fn once_more(&mut self, devices: usize, steps: &mut Vec<Step>) {
        let first = 1 + devices;
        let mut put = |random: &mut Random, step: Step| {
            let at = first + usize::try_from(random.below((steps.len() - first + 1) as u64)).expect("few");
            steps.insert(at, step);
        };
        let node = |random: &mut Random| usize::try_from(random.below(devices as u64 + 1)).expect("few");
        let table = usize::try_from(self.random.below(self.tables.len() as u64)).expect("few");
        match self.random.below(3) {
            0 => {
                let values = self.values(table);
                for _ in 0..2 {
                    let label = self.new_label(table);
                    let ops = vec![Op::Insert(label, table, values.clone(), false)];
                    let step = Step::Program(node(self.random), ops);
                    put(self.random, step);
                }
            }
            1 => {
                let ops = (0..2).map(|_| self.insert(table, true)).collect();
                let step = Step::Program(node(self.random), ops);
                put(self.random, step);
            }
            _ => {
                let own = (0..self.labels.len()).filter(|label| self.labels[*label] == table);
                let ops =
                    own.take(4).filter_map(|label| Label::try_from(label).ok()).map(Op::Delete).collect();
                let step = Step::Program(node(self.random), ops);
                put(self.random, step);
            }
        }
    }

    fn program(&mut self, node: usize) -> Step {
        let count = 1 + self.random.below(3);
        Step::Program(node, (0..count).map(|_| self.op()).collect())
    }

    fn op(&mut self) -> Op {
        let label = self.label();
        let table = self.labels[label as usize];
        match self.random.below(if self.family == Family::Orderly { 16 } else { 24 }) {
            0..=2 => {
                let amount = self.random.below(12).cast_signed() - 2;
                let counters: Vec<usize> = self.tables[table].places(Rule::Counter).collect();
                let column = self.random.pick(&counters);
                Op::Add(label, column, step_of(self.tables[table].columns[column].domain, amount))
            }
            3..=11 => self.set(label, table, false),
            12..=14 if self.family == Family::Orderly && !chooses_key(&self.tables[table]) => {
                self.set(label, table, false)
            }
            12..=14 => self.insert(table, false),
            15 | 16 => Op::Delete(label),
            17 | 18 => self.insert(table, false),
            19 => self.insert(table, true),
            20 => self.set(label, table, true),
            21 | 22 => self.rotate(label, table),
            _ => self.rekey(label, table),
        }
    }

    fn label(&mut self) -> Label {
        let place = self.random.below(self.labels.len() as u64);
        Label::try_from(place).expect("few")
    }

    fn new_label(&mut self, table: usize) -> Label {
        self.labels.push(table);
        Label::try_from(self.labels.len() - 1).expect("few")
    }

    fn insert(&mut self, table: usize, replace: bool) -> Op {
        let label = self.new_label(table);
        let earlier: Vec<usize> = (0..self.made.len()).filter(|place| self.made[*place].0 == table).collect();
        let mut values = if !earlier.is_empty() && self.random.once_in(3) {
            self.made[self.random.pick(&earlier)].1.clone()
        } else {
            self.values(table)
        };
        if self.family == Family::Orderly {
            let unique = |place: &usize| self.is_unique(table, *place);
            let taken: Vec<usize> = (0..self.tables[table].columns.len()).filter(unique).collect();
            values.retain(|(place, _)| !taken.contains(place));
        }
        self.made.push((table, values.clone()));
        Op::Insert(label, table, values, replace)
    }

    fn values(&mut self, table: usize) -> Vec<(usize, Value)> {
        let table = &self.tables[table];
        let skipped = usize::from(chooses_key(table));
        let mut values = Vec::new();
        for (place, column) in table.columns.iter().enumerate().skip(skipped) {
            if column.rule == Rule::Key {
                values.push((place, key_value(column.domain, table.key, self.random)));
            } else if column.rule == Rule::Now || !self.random.once_in(4) {
                values.push((place, column.domain.pick(self.random)));
            }
        }
        values
    }

    fn is_unique(&self, table: usize, place: usize) -> bool {
        let table = &self.tables[table];
        let name = table.columns[place].name;
        table.uniques.iter().any(|unique| unique.columns.contains(&name) || unique.only_where == Some(name))
    }

    /// A counter is set only where its rule needs it: in an orderly script programs add.
    fn set(&mut self, label: Label, table: usize, replace: bool) -> Op {
        let orderly = self.family == Family::Orderly;
        let usable = |place: &usize| {
            let table_of = &self.tables[table];
            let name = table_of.columns[*place].name;
            let free = !self.is_unique(table, *place) && !is_counted(table_of, *place);
            !orderly || (free && name != "low" && name != "high")
        };
        let keys = self.tables[table].keys();
        let places: Vec<usize> = (keys..self.tables[table].columns.len()).filter(usable).collect();
        let mut sets = Vec::new();
        for _ in 0..=self.random.below(2) {
            let place = self.random.pick(&places);
            let domain = self.tables[table].columns[place].domain;
            if sets.iter().all(|(have, _)| *have != place) {
                sets.push((place, domain.pick(self.random)));
            }
        }
        Op::Set(label, sets, replace)
    }

    fn rotate(&mut self, label: Label, table: usize) -> Op {
        let Some(column) =
            self.tables[table].uniques.first().and_then(|unique| self.tables[table].place(unique.columns[0]))
        else {
            return self.set(label, table, false);
        };
        let own: Vec<Label> = (0..self.labels.len())
            .filter(|place| self.labels[*place] == table)
            .filter_map(|place| Label::try_from(place).ok())
            .collect();
        let mut labels = vec![label];
        for _ in 0..=self.random.below(2) {
            let next = self.random.pick(&own);
            if !labels.contains(&next) {
                labels.push(next);
            }
        }
        Op::Rotate(labels, column)
    }

    fn rekey(&mut self, label: Label, table: usize) -> Op {
        if chooses_key(&self.tables[table]) {
            return Op::Delete(label);
        }
        let to = self.new_label(table);
        let table = &self.tables[table];
        let columns = &table.columns[..table.keys()];
        let key = columns.iter().map(|column| key_value(column.domain, table.key, self.random)).collect();
        Op::Rekey(label, to, key)
    }
}

/// A REPLACE gives a row another key only where SQLite chooses it: one that a program chose can be a row's that
/// moved away from it, and then what a change means depends on all that happened before. For the same reason no row
/// takes a key that has several spellings where unique values say what a row is.
fn without_moves(tables: &[Table], labels: &[usize], step: &mut Step) {
    let Step::Program(_, ops) = step else { return };
    for op in ops {
        match op {
            Op::Insert(_, table, _, replace) => {
                *replace &= tables[*table].uniques.is_empty() || chooses_key(&tables[*table]);
            }
            Op::Rekey(label, ..) => {
                let table = &tables[labels[*label as usize]];
                if table.key == KeyKind::Nocase && !table.uniques.is_empty() {
                    *op = Op::Delete(*label);
                }
            }
            _ => {}
        }
    }
}

fn key_value(domain: Domain, kind: KeyKind, random: &mut Random) -> Value {
    if kind == KeyKind::Number && random.once_in(4) {
        return Value::Integer(random.pick(&[i64::MAX, i64::MIN, -1, 0, 1 << 53]));
    }
    match domain {
        Domain::Small => Value::Integer(1 + random.below(4).cast_signed()),
        domain => domain.pick(random),
    }
}

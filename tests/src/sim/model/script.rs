//! A script: what happens in a world, as data. It can be printed for a person, played twice, and played
//! with a step left out.
//!
//! Rows have labels, because nobody knows the ids beforehand that SQLite will choose. A step about a row
//! that the node does not have does nothing.

use super::tables::{Domain, KeyKind, Rule, Table};
use super::values::{key_of, literal};
use std::fmt::{Display, Formatter, Result};
use tt_protocol::value::Value;

/// Names a row for the length of a script.
pub type Label = u32;

/// One statement, or a few that belong together. Columns are places in the table.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new row, or with `true` one in place of all that it clashes with: label, table, values.
    Insert(Label, usize, Vec<(usize, Value)>, bool),
    /// Columns get values; with `true` rows in the way go.
    Set(Label, Vec<(usize, Value)>, bool),
    /// A number is added to a column.
    Add(Label, usize, Value),
    /// The row goes.
    Delete(Label),
    /// Rows pass their values of a column on, each to the next.
    Rotate(Vec<Label>, usize),
    /// The row gets another key: from then on it is another row, under the second label.
    Rekey(Label, Label, Vec<Value>),
}

/// One thing that happens. Node 0 is the hub.
#[derive(Clone, Debug)]
pub enum Step {
    /// A program commits a transaction. A statement that fails is left out, as careless programs do.
    Program(usize, Vec<Op>),
    /// A device links, cuts what its programs wrote, and the link goes before the hub has merged it.
    Cut(usize),
    /// A device links, its changeset is merged, and the link goes before the device has a feed.
    Push(usize),
    /// A device links until it is in step.
    Meet(usize),
    /// A device's clock is wrong by this many milliseconds from now on.
    Clock(usize, i64),
    /// So many milliseconds pass.
    Pass(i64),
}

/// Tables, the rows with which every node begins, and what happens.
#[derive(Clone, Debug)]
pub struct Script {
    /// The tables.
    pub tables: Vec<Table>,
    /// Number of devices.
    pub devices: usize,
    /// What happens.
    pub steps: Vec<Step>,
    /// Which table each label belongs to.
    pub labels: Vec<usize>,
}

impl Script {
    /// The same without one step.
    #[must_use]
    pub fn without(&self, step: usize) -> Self {
        let mut less = self.clone();
        less.steps.remove(step);
        less
    }

    /// The same without one statement of a transaction.
    #[must_use]
    pub fn without_op(&self, step: usize, op: usize) -> Option<Self> {
        let mut less = self.clone();
        let Step::Program(_, ops) = less.steps.get_mut(step)? else {
            return None;
        };
        if ops.len() < 2 || op >= ops.len() {
            return None;
        }
        ops.remove(op);
        Some(less)
    }
}

impl Display for Script {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        write!(out, "{}", super::tables::shape(&self.tables).sql)?;
        for table in &self.tables {
            let Table { name, natural, hub_only, holds_deletes, .. } = table;
            writeln!(out, "{name}: key {natural:?}, hub only {hub_only}, holds deletes {holds_deletes:?}")?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            write!(out, "{at:>3} ")?;
            match step {
                Step::Program(node, ops) => {
                    let ops: Vec<String> = ops.iter().map(|op| self.text(op)).collect();
                    writeln!(out, "node {node}: {}", ops.join("; "))?;
                }
                Step::Cut(node) => writeln!(out, "device {node} cuts and loses its link")?,
                Step::Push(node) => writeln!(out, "device {node} is merged and loses its link")?,
                Step::Meet(node) => writeln!(out, "device {node} meets the hub")?,
                Step::Clock(node, milliseconds) => {
                    writeln!(out, "the clock of device {node} is wrong by {milliseconds} ms")?;
                }
                Step::Pass(milliseconds) => writeln!(out, "{milliseconds} ms pass")?,
            }
        }
        Ok(())
    }
}

impl Script {
    fn text(&self, op: &Op) -> String {
        let table_of = |label: &Label| &self.tables[self.labels[*label as usize]];
        let sets = |table: &Table, sets: &[(usize, Value)]| {
            let one = |(place, value): &(usize, Value)| {
                format!("{} = {}", table.columns[*place].name, literal(value))
            };
            sets.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let or_replace = |replace: &bool| if *replace { " or replace" } else { "" };
        match op {
            Op::Insert(label, table, values, replace) => {
                let table = &self.tables[*table];
                format!("insert{} {} #{label} {}", or_replace(replace), table.name, sets(table, values))
            }
            Op::Set(label, list, replace) => {
                let table = table_of(label);
                format!("update{} {} #{label} {}", or_replace(replace), table.name, sets(table, list))
            }
            Op::Add(label, column, amount) => {
                let table = table_of(label);
                format!(
                    "add {} to {} of {} #{label}",
                    literal(amount),
                    table.columns[*column].name,
                    table.name
                )
            }
            Op::Delete(label) => format!("delete {} #{label}", table_of(label).name),
            Op::Rotate(labels, column) => {
                let table = table_of(&labels[0]);
                format!("rotate {} of {} #{labels:?}", table.columns[*column].name, table.name)
            }
            Op::Rekey(label, to, key) => {
                let key: Vec<String> = key.iter().map(literal).collect();
                format!("give {} #{label} the key {}, now #{to}", table_of(label).name, key.join(", "))
            }
        }
    }
}

/// The key of a row of this table, as the model finds it.
#[must_use]
pub fn place_of(tables: &[Table], table: usize, row: &[Value]) -> (usize, Vec<u8>) {
    (table, key_of(&tables[table], row))
}

/// True for columns to which programs add.
#[must_use]
pub fn is_counted(table: &Table, place: usize) -> bool {
    table.columns[place].rule == Rule::Counter
}

/// What programs add to a column.
#[must_use]
pub const fn step_of(domain: Domain, amount: i64) -> Value {
    match domain {
        Domain::Quarters => Value::Real(amount as f64 / 4.0),
        _ => Value::Integer(amount),
    }
}

/// True where SQLite chooses the key.
#[must_use]
pub fn chooses_key(table: &Table) -> bool {
    table.key == KeyKind::Automatic
}

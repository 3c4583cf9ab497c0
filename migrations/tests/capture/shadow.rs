//! The tables as of the last cut, and the rules that a cut must keep towards them:
//!
//! * what it reports, applied to the shadow, gives the live tables, byte for byte and class for class;
//! * an update names exactly the columns that differ, and every base equals the shadow's row;
//! * no row is reported twice. Only a key whose spelling changed is a delete and then an insert.

use rusqlite::{Connection, Result};
use std::collections::BTreeMap;
use tt_migrations::capture::collect::Sink;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::value::copy;
use tt_protocol::value::{Value, ValueRef};

/// Rows of one table by a form of their key in which equal keys are equal bytes.
type Rows = BTreeMap<Vec<u8>, Vec<Value>>;

/// One reported difference.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert(Vec<Value>),
    Update { changed: Vec<usize>, base: Vec<Value>, live: Vec<Value> },
    Delete(Vec<Value>),
}

/// A sink that remembers.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) changes: Vec<(String, Change, i64)>,
}

impl Sink for Recorder {
    fn insert(&mut self, tracked: &Tracked, row: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.changes.push((tracked.table.name.clone(), Change::Insert(owned(row)), time));
        Ok(())
    }

    fn update(
        &mut self,
        tracked: &Tracked,
        changed: &[usize],
        base: &[ValueRef<'_>],
        live: &[ValueRef<'_>],
        time: i64,
    ) -> Result<()> {
        let change = Change::Update { changed: changed.to_vec(), base: owned(base), live: owned(live) };
        self.changes.push((tracked.table.name.clone(), change, time));
        Ok(())
    }

    fn delete(&mut self, tracked: &Tracked, base: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.changes.push((tracked.table.name.clone(), Change::Delete(owned(base)), time));
        Ok(())
    }
}

/// All replicated tables as of the last cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    tables: BTreeMap<String, Rows>,
}

impl Shadow {
    /// Copies the live tables. Rows with NULL in their key are nobody's.
    pub(crate) fn of(conn: &Connection, replica: &Replica) -> Self {
        let tables = replica.tables.values().map(|tracked| {
            let mut statement = conn.prepare(&tracked.select_all()).expect("select");
            let mut rows = statement.query([]).expect("rows");
            let mut found = Rows::new();
            while let Some(row) = rows.next().expect("row") {
                let values = copy(row, 0, tracked.names.len()).expect("values");
                if values[..tracked.keys()].iter().any(Value::is_null) {
                    continue;
                }
                let twin = found.insert(key(tracked, &values), values);
                assert!(twin.is_none(), "two rows with one key in {}", tracked.table.name);
            }
            (tracked.table.name.clone(), found)
        });
        Self { tables: tables.collect() }
    }

    /// A row that the daemon itself applied: it belongs to the state of the last cut.
    pub(crate) fn add(&mut self, tracked: &Tracked, row: Vec<Value>) {
        let rows = self.tables.entry(tracked.table.name.clone()).or_default();
        rows.insert(key(tracked, &row), row);
    }

    /// Applies what a cut reported and checks each report on the way.
    pub(crate) fn apply(
        &mut self,
        replica: &Replica,
        recorder: &Recorder,
    ) -> std::result::Result<(), String> {
        let mut seen: BTreeMap<(String, Vec<u8>), &Change> = BTreeMap::new();
        for (table, change, _) in &recorder.changes {
            let tracked = replica.get(table).expect("known table");
            let place = match change {
                Change::Insert(row) | Change::Delete(row) => key(tracked, row),
                Change::Update { live, .. } => key(tracked, live),
            };
            if let Some(before) = seen.insert((table.clone(), place.clone()), change) {
                respelled(tracked, before, change)
                    .ok_or(format!("{table}: twice: {before:?} and {change:?}"))?;
            }
            let rows = self.tables.entry(table.clone()).or_default();
            apply_one(tracked, rows, place, change).map_err(|what| format!("{table}: {what}: {change:?}"))?;
        }
        Ok(())
    }

    /// The first difference between two copies.
    pub(crate) fn difference(&self, live: &Self) -> Option<String> {
        for (table, rows) in &live.tables {
            let empty = Rows::new();
            let mine = self.tables.get(table).unwrap_or(&empty);
            for (key, row) in rows {
                match mine.get(key) {
                    None => return Some(format!("{table}: not reported: {row:?}")),
                    Some(known) if known != row => {
                        return Some(format!("{table}: {known:?} should be {row:?}"));
                    }
                    Some(_) => {}
                }
            }
            if let Some((_, row)) = mine.iter().find(|(key, _)| !rows.contains_key(*key)) {
                return Some(format!("{table}: deletion not reported: {row:?}"));
            }
        }
        None
    }
}

fn apply_one(
    tracked: &Tracked,
    rows: &mut Rows,
    place: Vec<u8>,
    change: &Change,
) -> std::result::Result<(), String> {
    match change {
        Change::Insert(row) => match rows.insert(place, row.clone()) {
            Some(known) => Err(format!("inserted over {known:?}")),
            None => Ok(()),
        },
        Change::Delete(base) => match rows.remove(&place) {
            Some(known) if known == *base => Ok(()),
            known => Err(format!("deleted, but the shadow holds {known:?}")),
        },
        Change::Update { changed, base, live } => {
            let known = rows.insert(place, live.clone());
            if known.as_ref() != Some(base) {
                return Err(format!("updated, but the shadow holds {known:?}"));
            }
            let differs: Vec<usize> = (0..tracked.names.len()).filter(|at| base[*at] != live[*at]).collect();
            if differs.is_empty() || differs != *changed {
                Err("names the wrong columns".to_owned())
            } else {
                Ok(())
            }
        }
    }
}

fn respelled(tracked: &Tracked, before: &Change, after: &Change) -> Option<()> {
    let (Change::Delete(old), Change::Insert(new)) = (before, after) else {
        return None;
    };
    (old[..tracked.keys()] != new[..tracked.keys()]).then_some(())
}

/// Keys that SQLite takes for one key give the same bytes.
fn key(tracked: &Tracked, row: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (value, (_, collation)) in row.iter().zip(&tracked.table.key) {
        let same = match value {
            Value::Text(text) if collation == "NOCASE" => Value::Text(text.to_ascii_lowercase()),
            Value::Text(text) if collation == "RTRIM" => Value::Text(text.trim_ascii_end().to_vec()),
            #[expect(clippy::cast_possible_truncation, reason = "the keys of these tests are small numbers")]
            Value::Real(number) if number.fract() == 0.0 => Value::Integer(*number as i64),
            other => other.clone(),
        };
        same.as_ref().write_canonical(&mut bytes);
    }
    bytes
}

fn owned(row: &[ValueRef<'_>]) -> Vec<Value> {
    row.iter().copied().map(ValueRef::to_owned).collect()
}

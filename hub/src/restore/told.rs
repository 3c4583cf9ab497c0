//! What the journal tells of one version, row by row, against the rows as they are there.
//!
//! * What a program at the hub did is told as the hub's cut found it: the row must have exactly these values.
//! * What a device did went through a merge. Where the hub had what the device had seen, nobody else had changed the
//!   row: its value is there, or the change was refused as a whole and the row is as before. Nothing else can be.
//!   Rows that others had changed too, and tables with twins, are left to the comparison of all tables.

use crate::journal::history::{Event, Line, Row};
use crate::journal::record::{Entry, What};
use crate::restore::RestoreError;
use crate::store::{HubStore, StoreError, alias};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{self, Key};
use tt_protocol::change::decode_piece;
use tt_protocol::value::Value;

/// So many rows of one version are compared.
const ROWS_MAX: usize = 256;

/// Rows of one version, as they are told and as they were before.
pub(super) struct Told {
    rows: Vec<ToldRow>,
    /// A program at the hub wrote them.
    at_hub: bool,
}

struct ToldRow {
    table: String,
    key: Key,
    line: Line,
    before: Option<Vec<Value>>,
}

impl Told {
    /// What these entries, which are all of one version, tell. The store is at the version before.
    pub(super) fn read(store: &mut HubStore, entries: &[Entry]) -> Result<Self, RestoreError> {
        let mut told = Self { rows: Vec::new(), at_hub: false };
        let mut writing = entries.iter().filter(|entry| {
            !matches!(entry.what, What::Devices(_) | What::Forgotten(_) | What::PassedOver { .. })
        });
        // What went in besides (rows that had waited, a decision) may have changed the same rows.
        let (Some(entry), None) = (writing.next(), writing.next()) else { return Ok(told) };
        let pieces = match &entry.what {
            What::Local(local) => &local.pieces,
            What::Changeset { pieces, .. } => pieces,
            _ => return Ok(told),
        };
        told.at_hub = matches!(entry.what, What::Local(_));
        let replica = Arc::clone(store.replica());
        let conn = store.connection();
        let mut found: BTreeMap<(String, Vec<u8>), ToldRow> = BTreeMap::new();
        for piece in pieces {
            let changes = decode_piece(piece).map_err(|error| RestoreError::Broken(error.to_string()))?;
            for change in &changes {
                let Some(tracked) = replica.get(&change.table) else { continue };
                if !tracked.key_is(&change.columns[..change.keys]) {
                    continue;
                }
                for index in 0..change.rows.rows().min(ROWS_MAX) {
                    let key: Key = change.key(index).map(|value| value.to_owned()).collect();
                    told_row(conn, tracked, key, entry, &mut found)?;
                }
            }
        }
        told.rows = found.into_values().take(ROWS_MAX).collect();
        Ok(told)
    }

    /// Gives the number of rows that are as they are told; the error names the first that is not. The store is at
    /// their version.
    pub(super) fn compare(&self, store: &mut HubStore) -> Result<Result<usize, String>, RestoreError> {
        let replica = Arc::clone(store.replica());
        let conn = store.connection();
        let mut count = 0;
        for told in &self.rows {
            let Some(tracked) = replica.get(&told.table) else { continue };
            if !self.at_hub && !told.is_undisputed(conn, &replica).map_err(StoreError::from)? {
                continue;
            }
            let now = row::read(conn, tracked, &told.key).map_err(StoreError::from)?;
            if let Some(column) = told.differing(tracked, now.as_deref(), self.at_hub) {
                return Ok(Err(format!("{column} of a row of {} is not what the journal tells", told.table)));
            }
            count += 1;
        }
        Ok(Ok(count))
    }
}

/// A row that several pieces tell of has the last line, and no more than one.
fn told_row(
    conn: &Connection,
    tracked: &Tracked,
    key: Key,
    entry: &Entry,
    found: &mut BTreeMap<(String, Vec<u8>), ToldRow>,
) -> Result<(), RestoreError> {
    let place = (tracked.table.name.clone(), row::key_bytes(&key));
    if found.len() >= ROWS_MAX || found.contains_key(&place) {
        return Ok(());
    }
    let asked = Row { tracked, key, conflicts: Vec::new() };
    let lines = asked.told_by(entry).map_err(|error| RestoreError::Broken(error.to_string()))?;
    if let [line] = lines.as_slice() {
        let before = row::read(conn, tracked, &asked.key).map_err(StoreError::from)?;
        let table = tracked.table.name.clone();
        found.insert(place, ToldRow { table, key: asked.key, line: line.clone(), before });
    }
    Ok(())
}

impl ToldRow {
    /// Nobody else had changed what is told.
    fn is_undisputed(&self, conn: &Connection, replica: &Replica) -> rusqlite::Result<bool> {
        let Some(tracked) = replica.get(&self.table) else { return Ok(false) };
        if alias::any(conn, tracked)? {
            return Ok(false);
        }
        let before = self.before.as_deref();
        Ok(match self.line.event {
            Event::Made => before.is_none(),
            _ => {
                self.line.columns.iter().all(|told| value(tracked, before, &told.name) == told.from.as_ref())
            }
        })
    }

    /// The first column that is otherwise, if there is one.
    fn differing(&self, tracked: &Tracked, now: Option<&[Value]>, exactly: bool) -> Option<&str> {
        let before = self.before.as_deref();
        if self.line.event == Event::Deleted {
            let is_right = now.is_none() || !exactly && now == before;
            return (!is_right).then(|| self.line.columns.first().map_or("the key", |told| &told.name));
        }
        let is_right = |name: &str, to: Option<&Value>| {
            let now = value(tracked, now, name);
            now == to || !exactly && now == value(tracked, before, name)
        };
        let wrong = self.line.columns.iter().find(|told| !is_right(&told.name, told.to.as_ref()));
        wrong.map(|told| told.name.as_str())
    }
}

fn value<'r>(tracked: &Tracked, row: Option<&'r [Value]>, name: &str) -> Option<&'r Value> {
    row?.get(tracked.place(name)?)
}

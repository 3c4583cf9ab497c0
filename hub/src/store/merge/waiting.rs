//! Rows that wait for the schema: the hub does not have their table, or one of their columns.
//!
//! * Each is held whole, with the change that releases it. What the same edge changes in it later is
//!   added to that: a row is never merged in part.
//! * A row whose parent waits, waits with it. The edge keeps its copies: nobody told it otherwise.

use super::update::amend;
use super::{Merge, MergeError, fits, zip_owned};
use crate::store::conflict::{self, Entry, Kind};
use crate::store::same;
use std::collections::HashMap;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{Key, key_bytes};
use tt_migrations::shape::ForeignKey;
use tt_protocol::change::{Kind as ChangeKind, TableChange, decode_piece, encode_piece};
use tt_protocol::value::{Value, ValueRef};

/// Table in lower case and key, with the entry.
pub(super) type Unplaced = HashMap<(String, Vec<u8>), i64>;

impl Merge<'_> {
    /// Reads which rows of this edge wait already.
    pub(super) fn read_unplaced(&mut self) -> Result<(), MergeError> {
        let sql = "SELECT id, tab, named_key FROM _sync_conflict
                   WHERE kind = 'schema' AND state = 'open' AND work IS NOT NULL AND lost_from = ?1";
        let mut statement = self.context.conn.prepare_cached(sql)?;
        let mut rows = statement.query([self.context.edge.0])?;
        while let Some(row) = rows.next()? {
            let (id, table): (i64, String) = (row.get(0)?, row.get(1)?);
            let named: Vec<(String, Value)> = conflict::decode(&row.get::<_, Vec<u8>>(2)?)?;
            let key: Key = named.into_iter().map(|(_, value)| value).collect();
            self.unplaced.insert(self.slot(&table, &key), id);
        }
        Ok(())
    }

    fn slot(&self, table: &str, key: &Key) -> (String, Vec<u8>) {
        let bytes = match self.context.replica.get(table) {
            Some(tracked) if tracked.keys() == key.len() => same::key_bytes(tracked, key),
            _ => key_bytes(key),
        };
        (table.to_ascii_lowercase(), bytes)
    }

    /// Holds all rows of a change.
    pub(super) fn wait_for_schema(&mut self, change: &TableChange) -> Result<(), MergeError> {
        if matches!(change.kind, ChangeKind::Put | ChangeKind::Gone) {
            return Err(tt_protocol::change::PieceError::Shape.into());
        }
        (0..change.rows.rows()).try_for_each(|index| self.wait_one(change, index))
    }

    /// Takes the rows out that wait already, and adds what now happened to them.
    pub(super) fn without_unplaced(
        &mut self,
        tracked: &Arc<Tracked>,
        change: TableChange,
    ) -> Result<TableChange, MergeError> {
        if self.unplaced.is_empty() {
            return Ok(change);
        }
        let mut rest = TableChange::new(&change.table, change.kind, change.keys, change.columns.clone());
        for index in 0..change.rows.rows() {
            let key: Key = change.key(index).map(ValueRef::to_owned).collect();
            if self.unplaced.contains_key(&self.slot(&tracked.table.name, &key)) {
                self.wait_one(&change, index)?;
            } else {
                rest.rows.push(change.rows.slice(index, 0, change.rows.width()));
            }
        }
        Ok(rest)
    }

    /// True when the parent that a row points at by its primary key waits.
    pub(super) fn is_unplaced(&self, foreign: &ForeignKey, values: &Key) -> bool {
        let parent = self.context.replica.get(&foreign.parent);
        let by_key = parent.is_some_and(|parent| parent.key_is(&foreign.parent_columns));
        by_key && self.unplaced.contains_key(&self.slot(&foreign.parent, values))
    }

    /// Holds one row, or adds to what is held of it.
    pub(super) fn wait_one(&mut self, change: &TableChange, index: usize) -> Result<(), MergeError> {
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        let slot = self.slot(&change.table, &key);
        if let Some(id) = self.unplaced.get(&slot) {
            return self.add_to(*id, change, index);
        }
        let row = match change.kind {
            ChangeKind::Update => {
                let new = (0..change.others()).map(|place| change.pair(index, place).1);
                zip_owned(&change.columns, change.key(index).chain(new))
            }
            _ => zip_owned(&change.columns, change.values(index)),
        };
        let action = match fits(self.context.replica, change) {
            Some(_) => "held whole: the row that it points at waits for the hub's schema",
            None => "held whole: the hub does not have this table or column",
        };
        let named = zip_owned(&change.columns, change.key(index));
        let lost = self.stamp(change.time(index));
        let entry = Entry::new(Kind::Schema, &change.table, named, lost, action);
        let work = Some(vec![encode_piece(&[single(change, index)])]);
        let id = self.list(Entry { row: Some(row), work, ..entry })?;
        self.unplaced.insert(slot, id);
        Ok(())
    }

    fn add_to(&self, id: i64, change: &TableChange, index: usize) -> Result<(), MergeError> {
        let sql = "SELECT row, work FROM _sync_conflict WHERE id = ?1";
        let (row, work): (Vec<u8>, Vec<u8>) =
            self.context.conn.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut row: Vec<(String, Value)> = conflict::decode(&row)?;
        let mut work: Vec<Vec<u8>> = conflict::decode(&work)?;
        if change.kind == ChangeKind::Update {
            amend(&mut row, change, index);
        }
        match made_here(&work)? {
            // A row that nobody else has seen: as if it had been made like this.
            Some(insert) if change.kind == ChangeKind::Update => {
                work = vec![encode_piece(&[insert_of(&insert, &row, change.time(index))])];
            }
            _ => work.push(encode_piece(&[single(change, index)])),
        }
        let sql = "UPDATE _sync_conflict SET row = ?2, work = ?3 WHERE id = ?1";
        let (row, work) = (conflict::encode(&row), conflict::encode(&work));
        self.context.conn.prepare_cached(sql)?.execute((id, row, work))?;
        Ok(())
    }
}

/// The insert that is all that is held.
fn made_here(work: &[Vec<u8>]) -> Result<Option<TableChange>, MergeError> {
    let [piece] = work else { return Ok(None) };
    Ok(decode_piece(piece)?.into_iter().next().filter(|change| change.kind == ChangeKind::Insert))
}

/// A changeset of one row of another.
pub(super) fn single(change: &TableChange, index: usize) -> TableChange {
    let mut one = TableChange::new(&change.table, change.kind, change.keys, change.columns.clone());
    one.rows.push(change.rows.slice(index, 0, change.rows.width()));
    one
}

fn insert_of(insert: &TableChange, row: &[(String, Value)], at: i64) -> TableChange {
    let columns = row.iter().map(|(name, _)| name.clone()).collect();
    let mut one = TableChange::new(&insert.table, ChangeKind::Insert, insert.keys, columns);
    one.rows.push(row.iter().map(|(_, value)| value.as_ref()).chain([ValueRef::Integer(at)]));
    one
}

//! Children whose parent cannot be had: held whole, or their reference goes back to what it was.

use super::pointing::reference;
use super::repair::select_children;
use super::{Merge, MergeError};
use crate::store::conflict::Kind;
use crate::store::{alias, same, trash};
use rusqlite::params_from_iter;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Row, refusal};
use tt_migrations::shape::ForeignKey;
use tt_migrations::value::{bound, copy};
use tt_protocol::change::{Kind as ChangeKind, TableChange};
use tt_protocol::merge::{Clash, Stamp};
use tt_protocol::value::{Value, ValueRef};

/// Rows that were given another parent, as they were at the hub before, the first change first.
pub(super) type Reparented = HashMap<(String, Vec<u8>), VecDeque<Row>>;

fn slot(tracked: &Tracked, key: &[Value]) -> (String, Vec<u8>) {
    (tracked.table.name.clone(), same::key_bytes(tracked, key))
}

impl Merge<'_> {
    /// Keeps what a row was before it got another parent.
    pub(super) fn is_reparented(&mut self, tracked: &Tracked, key: &[Value], before: &Row) {
        self.reparented.entry(slot(tracked, key)).or_default().push_back(before.clone());
    }

    /// Holds the rows of this changeset that point at a parent which nobody has.
    pub(super) fn hold_children(
        &mut self,
        child: &Arc<Tracked>,
        place: usize,
        values: &Key,
    ) -> Result<(), MergeError> {
        for (change, index) in self.pointing_at(child, place, values)? {
            self.hold_child(child, &child.table.foreign_keys[place], values, (&change, index))?;
        }
        Ok(())
    }

    fn hold_child(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        values: &Key,
        (change, index): (&TableChange, usize),
    ) -> Result<(), MergeError> {
        let sent: Key = change.key(index).map(ValueRef::to_owned).collect();
        let Some((key, present)) = self.where_it_is(child, sent, change.kind)? else {
            return Ok(());
        };
        if !reference(child, &present, foreign).is_some_and(|held| self.same_parent(foreign, &held, values)) {
            return Ok(());
        }
        if change.kind == ChangeKind::Insert && self.is_unplaced(foreign, values) {
            // Its parent waits for the schema: so does the row, and the device keeps both.
            row::delete(self.context.conn, child, &key)?;
            self.vacate(child, &present, None);
            return self.wait_one(change, index);
        }
        let held = match change.kind {
            ChangeKind::Insert => true,
            ChangeKind::Update => !self.take_back(child, foreign, change, index, (&key, values))?,
            _ => false,
        };
        if held {
            let at = change.time(index);
            self.hold_out(child, &key, &present, self.stamp(at))?;
        }
        Ok(())
    }

    /// The row of a change: under its key, or, where it vanished into its twin, under the survivor's.
    pub(super) fn where_it_is(
        &mut self,
        tracked: &Arc<Tracked>,
        key: Key,
        kind: ChangeKind,
    ) -> Result<Option<(Key, Row)>, MergeError> {
        let conn = self.context.conn;
        if let Some(present) = row::read(conn, tracked, &key)? {
            return Ok(Some((key, present)));
        }
        if kind != ChangeKind::Update || !self.is_aliased(tracked)? {
            return Ok(None);
        }
        let Some(alias) = alias::find(conn, tracked, &key)? else {
            return Ok(None);
        };
        let survivor = self.survivor(tracked, &alias)?;
        Ok(survivor.map(|row| (row[..tracked.keys()].to_vec(), row)))
    }

    /// Holds every row that points at a parent which nobody has, whoever made it.
    pub(super) fn hold_all_children(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        values: &Key,
    ) -> Result<(), MergeError> {
        for present in self.children(child, foreign, values)? {
            let key: Key = present.iter().take(child.keys()).cloned().collect();
            let author = trash::stamp(self.context.conn, child, &key)?;
            self.hold_out(child, &key, &present, author.unwrap_or(self.stamp(self.at)))?;
        }
        Ok(())
    }

    /// Rows of the child that point at these values of the parent.
    pub(super) fn children(
        &self,
        child: &Tracked,
        foreign: &ForeignKey,
        values: &Key,
    ) -> Result<Vec<Row>, MergeError> {
        let Some(parent) = self.context.replica.get(&foreign.parent) else {
            return Ok(Vec::new());
        };
        let sql = select_children(child, foreign, parent, &child.names);
        let mut statement = self.context.conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(bound(values.iter().map(Value::as_ref))), |row| {
            copy(row, 0, child.names.len())
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn hold_out(
        &mut self,
        child: &Arc<Tracked>,
        key: &Key,
        present: &Row,
        lost: Stamp,
    ) -> Result<(), MergeError> {
        row::delete(self.context.conn, child, key)?;
        self.vacate(child, present, None);
        let action = "held whole: its parent is not at the hub";
        self.hold_row(Kind::Parent, child, trash::named(child, present), lost, action)
    }

    pub(super) fn same_parent(&self, foreign: &ForeignKey, one: &Key, other: &Key) -> bool {
        self.parent_bytes(foreign, one) == self.parent_bytes(foreign, other)
    }

    /// An update that points at a parent which nobody has: the hub's old reference comes back, and the new
    /// one is listed. False when the old one is no better.
    fn take_back(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        change: &TableChange,
        index: usize,
        (key, values): (&Key, &Key),
    ) -> Result<bool, MergeError> {
        let Some(before) = self.reparented.get_mut(&slot(child, key)).and_then(VecDeque::pop_front) else {
            return Ok(false);
        };
        let Some(present) = row::read(self.context.conn, child, key)? else {
            return Ok(true);
        };
        let places = || foreign.columns.iter().filter_map(|name| child.place(name));
        let set: Vec<(String, Value)> =
            places().map(|place| (child.names[place].clone(), before[place].clone())).collect();
        let old: Key = set.iter().map(|(_, value)| value.clone()).collect();
        if self.same_parent(foreign, &old, values) {
            return Ok(false);
        }
        match row::update(self.context.conn, child, key, &set) {
            Err(error) if refusal(&error).is_some() => return Ok(false),
            outcome => outcome?,
        }
        if let Some(after) = row::read(self.context.conn, child, key)? {
            self.vacate(child, &present, Some(&after));
            self.need_parents(child, &child.names, |place| after[place].clone());
        }
        self.log.changed(child, key);
        let clash = |place: usize| Clash {
            name: child.names[place].clone(),
            base: before[place].clone(),
            kept: before[place].clone(),
            lost: present[place].clone(),
        };
        let clashes = places().filter(|place| before[*place] != present[*place]).map(clash).collect();
        let sides = (None, self.stamp(change.time(index)));
        let action = "the old reference stays: the new parent is not at the hub";
        self.list_clashes(Kind::Parent, child, key, clashes, sides, action)?;
        Ok(true)
    }

    /// Holds rows that came back in this merge and whose own parent cannot come back.
    pub(super) fn hold_brought_back(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        values: &Key,
    ) -> Result<(), MergeError> {
        if self.brought_back.is_empty() {
            return Ok(());
        }
        for present in self.children(child, foreign, values)? {
            let key: Key = present.iter().take(child.keys()).cloned().collect();
            let back = (child.table.name.clone(), key.clone());
            if self.brought_back.contains(&back) {
                self.hold_out(child, &key, &present, self.stamp(self.at))?;
            }
        }
        Ok(())
    }
}

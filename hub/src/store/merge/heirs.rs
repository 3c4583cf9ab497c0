//! Who named a row that vanished into its twin: its children follow the survivor, and later changes of
//! it go there.

use super::twin::Vanishing;
use super::update::row_update;
use super::{Merge, MergeError};
use crate::store::alias::{self, Alias, NewAlias};
use crate::store::conflict::{self, Kind, Named};
use crate::store::{same, trash};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Refusal, Row, refusal};
use tt_migrations::shape::ForeignKey;
use tt_protocol::change::{Kind as ChangeKind, TableChange};
use tt_protocol::merge::{Column, counter_sum, merge_row};
use tt_protocol::value::{Value, ValueRef};

/// Survivors that vanished in turn: more than this is no story of a warehouse.
const STEPS_MAX: usize = 16;

impl Merge<'_> {
    /// Children whose parent vanished into its twin follow to the survivor. False when it did not.
    pub(super) fn follow_twin(
        &mut self,
        child: &Arc<Tracked>,
        place: usize,
        values: &Key,
    ) -> Result<bool, MergeError> {
        let Some(foreign) = child.table.foreign_keys.get(place) else {
            return Ok(false);
        };
        let Some((alias, to)) = self.parent_now(foreign, values)? else {
            return Ok(false);
        };
        for present in self.children(child, foreign, values)? {
            self.repoint(child, place, present, (&to, alias))?;
        }
        let slot = (child.table.name.clone(), place);
        self.parents.entry(slot).or_default().entry(row::key_bytes(&to)).or_insert(to);
        Ok(true)
    }

    /// The values by which the survivor of a vanished parent is pointed at, and its alias.
    fn parent_now(&mut self, foreign: &ForeignKey, values: &Key) -> Result<Option<(i64, Key)>, MergeError> {
        let Some(parent) = self.context.replica.get(&foreign.parent).cloned() else {
            return Ok(None);
        };
        if !self.is_aliased(&parent)? {
            return Ok(None);
        }
        let found = alias::of_values(self.context.conn, &parent, &foreign.parent_columns, values)?;
        let Some(alias) = found else {
            return Ok(None);
        };
        let Some(survivor) = self.survivor(&parent, &alias)? else {
            return Ok(None);
        };
        let value = |name: &String| parent.place(name).and_then(|place| survivor.get(place)).cloned();
        let to: Option<Key> = foreign.parent_columns.iter().map(value).collect();
        // A row that went and came back under the same values is followed by nobody.
        let to = to.filter(|to| !self.same_parent(foreign, to, values));
        Ok(to.map(|to| (alias.id, to)))
    }

    /// The row with the parents that it has at the hub: those that vanished are their survivors.
    pub(super) fn with_parents_here(
        &mut self,
        tracked: &Tracked,
        mut row: Named,
    ) -> Result<Named, MergeError> {
        for foreign in &tracked.table.foreign_keys {
            let value = |name: &String| {
                let found = row.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            let values: Option<Key> = foreign.columns.iter().map(value).collect();
            let Some(values) = values.filter(|values| !values.iter().any(Value::is_null)) else {
                continue;
            };
            if let Some((_, to)) = self.parent_now(foreign, &values)? {
                for (name, value) in foreign.columns.iter().zip(to) {
                    set(&mut row, name, value);
                }
            }
        }
        Ok(row)
    }

    /// The row that a vanished one is now: at the hub, or deleted there since.
    pub(super) fn survivor(&self, tracked: &Tracked, alias: &Alias) -> Result<Option<Row>, MergeError> {
        let conn = self.context.conn;
        let mut key = alias.survivor.clone();
        for _ in 0..STEPS_MAX {
            if let Some(row) = row::read(conn, tracked, &key)? {
                return Ok(Some(row));
            }
            match alias::find(conn, tracked, &key)? {
                Some(next) => key = next.survivor,
                None => return Ok(trash::find(conn, tracked, &key)?.map(|image| image.row(tracked))),
            }
        }
        Ok(None)
    }

    /// True when rows of the table vanished at all.
    pub(super) fn is_aliased(&mut self, tracked: &Tracked) -> Result<bool, MergeError> {
        if let Some(known) = self.aliased.get(&tracked.table.name) {
            return Ok(*known);
        }
        let any = alias::any(self.context.conn, tracked)?;
        self.aliased.insert(tracked.table.name.clone(), any);
        Ok(any)
    }

    /// Gives a child its parent's survivor. Where it is itself the twin of a child there, it vanishes.
    fn repoint(
        &mut self,
        child: &Arc<Tracked>,
        place: usize,
        present: Row,
        (to, alias): (&Key, i64),
    ) -> Result<(), MergeError> {
        let conn = self.context.conn;
        let foreign = &child.table.foreign_keys[place];
        let set: Named = foreign.columns.iter().cloned().zip(to.iter().cloned()).collect();
        let mut after = present.clone();
        for (name, value) in &set {
            if let Some(slot) = child.place(name).and_then(|place| after.get_mut(place)) {
                slot.clone_from(value);
            }
        }
        let (key, new): (Key, Key) = (present[..child.keys()].to_vec(), after[..child.keys()].to_vec());
        match row::update(conn, child, &key, &set) {
            Ok(()) => {
                self.log.changed(child, &key);
                self.vacate(child, &present, Some(&after));
                if same::key_bytes(child, &key) != same::key_bytes(child, &new) {
                    self.log.changed(child, &new);
                    let (row, brought) = (&trash::named(child, &present), &Named::new());
                    let moved = NewAlias {
                        row,
                        survivor: &new,
                        brought,
                        via: Some(alias),
                        conflict: None,
                        moved: true,
                    };
                    alias::add(conn, self.context.version, child, &moved)?;
                    self.aliased.clear();
                }
                Ok(alias::follow(conn, alias, child, place, &new)?)
            }
            Err(error) => match refusal(&error) {
                None => Err(error.into()),
                Some(why) => self.vanish(child, &present, &after, (alias, why)),
            },
        }
    }

    /// A child that cannot stand beside the survivor's own: it is the same thing, or it is held.
    fn vanish(
        &mut self,
        child: &Arc<Tracked>,
        present: &Row,
        after: &Row,
        (alias, why): (i64, Refusal),
    ) -> Result<(), MergeError> {
        let key: Key = present[..child.keys()].to_vec();
        row::delete(self.context.conn, child, &key)?;
        self.vacate(child, present, None);
        let (row, here) = (trash::named(child, present), trash::named(child, after));
        let new = Vanishing { row: &row, here, at: self.at, via: Some(alias), work: None };
        if why != Refusal::Rule {
            let under_key = row::read(self.context.conn, child, &after[..child.keys()])?;
            if let Some(survivor) = under_key {
                let kind = self.kind_of_twin(child, &new.here, &survivor);
                return self.join(child, &new, &survivor, kind);
            }
            if self.join_twin(child, &new)? {
                return Ok(());
            }
        }
        let action = "held whole: it cannot follow its parent, which was the same row as another one";
        let lost = self.stamp(self.at);
        self.hold_row(Kind::Parent, child, row.clone(), lost, action)
    }

    /// A change of a row that vanished goes to the survivor. False when it did not vanish.
    pub(super) fn update_of_vanished(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
        key: &Key,
    ) -> Result<bool, MergeError> {
        if !self.is_aliased(tracked)? {
            return Ok(false);
        }
        let Some(mut alias) = alias::find(self.context.conn, tracked, key)? else {
            return Ok(false);
        };
        let Some(survivor) = self.survivor(tracked, &alias)? else {
            return Ok(false);
        };
        let to: Key = survivor[..tracked.keys()].to_vec();
        let edge = self.stamp(change.time(index));
        if row::read(self.context.conn, tracked, &to)?.is_none()
            && !self.revive(tracked, &to, edge, "changed", &[])?
        {
            return Ok(false);
        }
        let listed = match alias.conflict {
            Some(id) => conflict::open_columns(self.context.conn, id)?,
            None => Vec::new(),
        };
        let rule = self.context.policy.table(&tracked.table.name);
        let is_listed = |name: &str| listed.iter().any(|column| column.eq_ignore_ascii_case(name));
        // Columns that only make sense as one value are listed as one.
        let held = |name: &str| {
            let group = rule.group(name);
            is_listed(name) || group.is_some_and(|group| group.iter().any(|name| is_listed(name)))
        };
        let sent: Vec<(&String, ValueRef<'_>, ValueRef<'_>)> = change
            .columns
            .iter()
            .skip(change.keys)
            .enumerate()
            .map(|(place, name)| (name, change.pair(index, place).0, change.pair(index, place).1))
            .collect();
        let columns = sent.iter().filter(|(name, ..)| !held(name)).filter_map(|(name, base, new)| {
            let hub = survivor.get(tracked.place(name)?)?.as_ref();
            Some(Column { name, base: *base, new: *new, hub })
        });
        let columns: Vec<Column<'_>> = columns.collect();
        let last = trash::stamp(self.context.conn, tracked, &to)?;
        let mut plan = merge_row(rule, &columns, edge, last);
        plan.as_sent = false;
        self.log.changed(tracked, key);
        match row_update(self, tracked, &to, &plan) {
            Ok(()) => self.updated(tracked, &to, &survivor, plan, (edge, last))?,
            Err(error) => self.refused_update(tracked, &to, &survivor, plan, edge, error)?,
        }
        for (name, _, new) in &sent {
            set(&mut alias.row, name, ValueRef::to_owned(*new));
        }
        if let Some(id) = alias.conflict.filter(|_| !listed.is_empty()) {
            conflict::amend(self.context.conn, id, &alias.row)?;
        }
        let now = row::read(self.context.conn, tracked, &to)?.unwrap_or_else(|| survivor.clone());
        let counters = tracked.names.iter().enumerate().filter(|(_, name)| rule.is_counter(name));
        // A row that moved to another key brought nothing: what is counted on it is the row's own.
        for (place, name) in counters.filter(|_| !alias.moved) {
            bring(&mut alias.brought, name, &survivor[place], &now[place]);
        }
        alias::amend(self.context.conn, &alias)?;
        Ok(true)
    }

    /// The values of a change's base in the words of the hub: parents that vanished are their survivors.
    /// None when nothing in it did.
    pub(super) fn in_words_of_the_hub(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
    ) -> Result<Option<TableChange>, MergeError> {
        if !matches!(change.kind, ChangeKind::Update | ChangeKind::Delete) {
            return Ok(None);
        }
        let mut touched = Vec::new();
        for foreign in &tracked.table.foreign_keys {
            let Some(parent) = self.context.replica.get(&foreign.parent).cloned() else { continue };
            let places: Option<Vec<usize>> =
                foreign.columns.iter().map(|name| place_of(change, name)).collect();
            if let Some(places) = places.filter(|places| places.iter().all(|place| *place >= change.keys))
                && self.is_aliased(&parent)?
            {
                touched.push((foreign, places));
            }
        }
        if touched.is_empty() {
            return Ok(None);
        }
        let mut told = TableChange::new(&change.table, change.kind, change.keys, change.columns.clone());
        for index in 0..change.rows.rows() {
            let width = change.rows.width();
            let mut values: Row = (0..width).map(|place| change.rows.get(index, place).to_owned()).collect();
            for (foreign, places) in &touched {
                let base: Key = places.iter().map(|place| values[*place].clone()).collect();
                if !base.iter().any(Value::is_null)
                    && let Some((_, to)) = self.parent_now(foreign, &base)?
                {
                    for (place, value) in places.iter().zip(to) {
                        values[*place] = value;
                    }
                }
            }
            told.rows.push(values.iter().map(Value::as_ref));
        }
        Ok(Some(told))
    }
}

fn set(row: &mut Named, name: &str, value: Value) {
    match row.iter_mut().find(|(have, _)| have.eq_ignore_ascii_case(name)) {
        Some((_, old)) => *old = value,
        None => row.push((name.to_owned(), value)),
    }
}

/// Adds what a counter of the survivor gained to what the vanished row brought.
fn bring(brought: &mut Named, name: &str, before: &Value, after: &Value) {
    if before == after {
        return;
    }
    let had = brought.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
    let had = had.map_or(Value::Integer(0), |(_, value)| value.clone());
    if let Some(sum) = counter_sum(before.as_ref(), after.as_ref(), had.as_ref()) {
        set(brought, name, sum);
    }
}

fn place_of(change: &TableChange, column: &str) -> Option<usize> {
    change.columns.iter().position(|name| name.eq_ignore_ascii_case(column))
}

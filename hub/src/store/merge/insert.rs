//! Inserts: the common case is one statement per row; everything else is decided after it was refused.

use super::twin::Vanishing;
use super::update::row_update;
use super::{Merge, MergeError, Waiting, zip_owned};
use crate::store::conflict::Kind;
use crate::store::{alias, trash};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Refusal, Row, refusal};
use tt_protocol::change::TableChange;
use tt_protocol::merge::{Column, merge_row};
use tt_protocol::value::{Value, ValueRef};

impl Merge<'_> {
    pub(super) fn inserts(&mut self, tracked: &Arc<Tracked>, change: &TableChange) -> Result<(), MergeError> {
        self.grown.insert(tracked.table.name.clone());
        let (natural, aliased) = (self.natural_only(tracked), self.is_aliased(tracked)?);
        for index in 0..change.rows.rows() {
            self.replaces_as_well(tracked, change, index);
            if !self.overruled.is_empty() && self.replaced_under_new_key(tracked, change, index)? {
                continue;
            }
            if natural && self.waits_for_its_twin(tracked, change, index)? {
                continue;
            }
            if aliased {
                self.is_itself_again(tracked, change, index)?;
            }
            match row::insert_named(self.context.conn, tracked, &change.columns, change.values(index)) {
                Ok(()) => self.inserted(tracked, change, index)?,
                Err(error) => self.refused_insert(tracked, change, index, error)?,
            }
        }
        Ok(())
    }

    /// No constraint keeps the natural key unique: the row is refused by its rule.
    fn waits_for_its_twin(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
    ) -> Result<bool, MergeError> {
        let row = zip_owned(&change.columns, change.values(index));
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        if row::read(self.context.conn, tracked, &key)?.is_some() {
            // Another row has its key: two rows under one key is what must be decided.
            return Ok(false);
        }
        let found = self.natural_twin(tracked, &row)?.is_some();
        if found {
            let at = change.time(index);
            self.waiting.push(Waiting::Insert { tracked: Arc::clone(tracked), row, at });
        }
        Ok(found)
    }

    /// A row under the key of one that vanished: the key means this row from now on.
    fn is_itself_again(
        &mut self,
        tracked: &Tracked,
        change: &TableChange,
        index: usize,
    ) -> Result<(), MergeError> {
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        if let Some(alias) = alias::find(self.context.conn, tracked, &key)? {
            alias::end(self.context.conn, alias.id)?;
        }
        Ok(())
    }

    fn inserted(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
    ) -> Result<(), MergeError> {
        if change.columns.len() == tracked.names.len() {
            self.log.as_sent(tracked, change.key(index));
        } else {
            // The hub filled in columns that the edge does not have yet.
            self.log.changed(tracked, &change.key(index).map(ValueRef::to_owned).collect());
        }
        let value = |place| change.rows.get(index, place).to_owned();
        self.need_parents(tracked, &change.columns, value);
        self.takes_the_place(tracked, &change.columns, value)
    }

    fn refused_insert(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
        error: rusqlite::Error,
    ) -> Result<(), MergeError> {
        let Some(refusal) = refusal(&error) else {
            return Err(error.into());
        };
        let row = zip_owned(&change.columns, change.values(index));
        let at = change.time(index);
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        if let Some(hub) = row::read(self.context.conn, tracked, &key)? {
            return match self.overruled.take(tracked, &key) {
                Some(overruled) => self.replaced(tracked, &overruled.base, &row, &hub, at),
                None => self.same_key(tracked, row, &hub, at),
            };
        }
        match refusal {
            Refusal::Rule => {
                let action = format!("held whole: a rule of the table refuses the row ({error})");
                self.hold_row(Kind::Rule, tracked, row, self.stamp(at), &action)
            }
            Refusal::Key | Refusal::Unique => {
                self.waiting.push(Waiting::Insert { tracked: Arc::clone(tracked), row, at });
                Ok(())
            }
        }
    }

    /// The changeset deleted the row and made it again (a REPLACE, or a key in another spelling), and
    /// somebody else changed it meanwhile: an update.
    pub(super) fn replaced(
        &mut self,
        tracked: &Arc<Tracked>,
        base: &[(String, Value)],
        sent: &[(String, Value)],
        hub: &Row,
        at: i64,
    ) -> Result<(), MergeError> {
        let (keys, rule) = (tracked.keys(), self.context.policy.table(&tracked.table.name));
        let column = |(name, new): &'_ (String, Value)| Some((tracked.place(name)?, new.clone()));
        let sent: Vec<(usize, Value)> = sent.iter().filter_map(column).collect();
        let old = |place: usize| {
            let name = &tracked.names[place];
            base.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
        };
        let columns: Vec<Column<'_>> = sent
            .iter()
            .filter(|(place, _)| *place >= keys)
            .filter_map(|(place, new)| {
                let (name, base, hub) = (&tracked.names[*place], old(*place)?, hub[*place].as_ref());
                Some(Column { name, base, new: new.as_ref(), hub })
            })
            .collect();
        let changed: Vec<&str> =
            columns.iter().filter(|column| column.base != column.new).map(|column| column.name).collect();
        // Columns that only make sense as one value go along.
        let goes = |column: &Column<'_>| {
            let is_changed = |name: &str| changed.iter().any(|changed| changed.eq_ignore_ascii_case(name));
            let group = rule.group(column.name);
            is_changed(column.name) || group.is_some_and(|group| group.iter().any(|name| is_changed(name)))
        };
        let columns: Vec<Column<'_>> = columns.iter().filter(|column| goes(column)).copied().collect();
        let key: Key = hub.iter().take(keys).cloned().collect();
        let (edge, last) = (self.stamp(at), trash::stamp(self.context.conn, tracked, &key)?);
        let mut plan = merge_row(rule, &columns, edge, last);
        plan.as_sent = false;
        let respelled = sent.iter().filter(|(place, new)| *place < keys && hub[*place] != *new);
        plan.set.extend(respelled.map(|(place, new)| (tracked.names[*place].clone(), new.clone())));
        match row_update(self, tracked, &key, &plan) {
            Ok(()) => {
                trash::set_stamp(self.context.conn, tracked, &key, edge)?;
                self.updated(tracked, &key, hub, plan, (edge, last))
            }
            Err(error) => self.refused_update(tracked, &key, hub, plan, edge, error),
        }
    }

    /// Two rows under one key: equal ones are one row, else the first stays and the second is held.
    fn same_key(
        &mut self,
        tracked: &Arc<Tracked>,
        sent: Vec<(String, Value)>,
        hub: &Row,
        at: i64,
    ) -> Result<(), MergeError> {
        let mut equal_but_for_time = true;
        let mut equal = true;
        for (name, value) in &sent {
            let Some(place) = tracked.place(name) else {
                continue;
            };
            if hub.get(place) != Some(value) {
                equal = false;
                equal_but_for_time &= defaults_to_now(tracked, name);
            }
        }
        if equal && sent.len() == tracked.names.len() {
            return Ok(());
        }
        let key: Key = sent.iter().take(tracked.keys()).map(|(_, value)| value.clone()).collect();
        if equal_but_for_time {
            self.log.changed(tracked, &key);
            return Ok(());
        }
        if !self.is_released_row() && self.kind_of_twin(tracked, &sent, hub) == Kind::Unique {
            let here = sent.clone();
            return self.join(
                tracked,
                &Vanishing { row: &sent, here, at, via: None, work: None },
                hub,
                Kind::Unique,
            );
        }
        let action = "held whole: another row with this key reached the hub first";
        self.hold_row(Kind::Key, tracked, sent, self.stamp(at), action)
    }
}

/// A column that is the time of writing unless the program says otherwise: two devices that make the
/// same row differ in it, and mean the same.
pub(super) fn defaults_to_now(tracked: &Tracked, column: &str) -> bool {
    let default =
        tracked.table.column(column).and_then(|column| column.default.as_deref()).unwrap_or_default();
    let upper = default.to_ascii_uppercase();
    upper.starts_with("CURRENT_") || upper.contains("'NOW'")
}

//! A row that was deleted and made again under another key in one changeset (a REPLACE): the same row with
//! a new key. Children and changes made elsewhere for the old key follow to the new one.

use super::overruled::Overruled;
use super::{Context, Merge, MergeError, zip_owned};
use crate::store::alias::{self, NewAlias};
use crate::store::conflict::Named;
use crate::store::{same, trash};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Row};
use tt_protocol::change::TableChange;
use tt_protocol::value::Value;

/// Values that a deleted row had in one of its table's keys: table, place of the key, bytes.
pub(super) type Freed = (String, usize, Vec<u8>);

impl Merge<'_> {
    /// Remembers what a deleted row leaves free.
    pub(super) fn free(&mut self, tracked: &Tracked, row: &Row) {
        for (place, bytes) in self.values_in_keys(tracked, |place| row.get(place)) {
            self.freed.insert((tracked.table.name.clone(), place, bytes), row.clone());
        }
    }

    /// A row went in: if it has what a row that this changeset deleted left free, it is that row.
    pub(super) fn takes_the_place(
        &mut self,
        tracked: &Tracked,
        names: &[String],
        value: impl Fn(usize) -> Value,
    ) -> Result<(), MergeError> {
        if self.freed.is_empty() {
            return Ok(());
        }
        let at = |name: &String| names.iter().position(|have| have.eq_ignore_ascii_case(name));
        let row: Row = tracked.names.iter().map(|name| at(name).map_or(Value::Null, &value)).collect();
        let own = (tracked.table.name.clone(), same::key_bytes(tracked, &row[..tracked.keys()]));
        if self.respelled.contains(&own) {
            // It is the row that had its key, in another spelling.
            return Ok(());
        }
        let found = self
            .values_in_keys(tracked, |place| row.get(place))
            .into_iter()
            .find_map(|(place, bytes)| self.freed.remove(&(tracked.table.name.clone(), place, bytes)));
        found.map_or(Ok(()), |old| self.now_is(tracked, &old, &row))
    }

    /// The old row is this one now.
    fn now_is(&mut self, tracked: &Tracked, old: &Row, new: &Row) -> Result<(), MergeError> {
        let survivor: Key = new[..tracked.keys()].to_vec();
        if same::key_bytes(tracked, &old[..tracked.keys()]) == same::key_bytes(tracked, &survivor) {
            return Ok(());
        }
        let (row, brought) = (&trash::named(tracked, old), &Named::new());
        let moved = NewAlias { row, survivor: &survivor, brought, via: None, conflict: None, moved: true };
        alias::add(self.context.conn, self.context.version, tracked, &moved)?;
        self.aliased.clear();
        Ok(())
    }

    /// What a row has in each key of its table other than the primary one; without those that hold a NULL.
    pub(super) fn values_in_keys<'r>(
        &self,
        tracked: &Tracked,
        value: impl Fn(usize) -> Option<&'r Value>,
    ) -> Vec<(usize, Vec<u8>)> {
        let natural = &self.context.policy.table(&tracked.table.name).key;
        let uniques = tracked.table.uniques.iter().filter(|unique| unique.predicate.is_none());
        let keys = uniques
            .filter_map(|unique| unique.columns.as_ref())
            .map(|columns| columns.iter().map(|(name, _)| name).collect::<Vec<_>>());
        let natural = (!natural.is_empty()).then(|| natural.iter().collect());
        let mut found = Vec::new();
        for (place, columns) in keys.chain(natural).enumerate() {
            let at = |name: &&String| value(tracked.place(name)?).filter(|value| !value.is_null()).cloned();
            if let Some(values) = columns.iter().map(at).collect::<Option<Key>>() {
                found.push((place, same::bytes(tracked, columns.iter().map(|name| name.as_str()), &values)));
            }
        }
        found
    }

    /// Both replaced the row: what this changeset deleted it makes again, as the twin of what is here by now.
    pub(super) fn replaces_as_well(&mut self, tracked: &Tracked, change: &TableChange, index: usize) {
        if !self.replaced.is_empty() {
            let row = tracked.row_of(change, index);
            let values = self.values_in_keys(tracked, |place| row.get(place));
            drop(self.replaced.take_twin(tracked, &row, values));
        }
    }

    /// The changeset deleted a row which somebody changed meanwhile, and made it again under another key:
    /// an update of that row, which also gives it the new key. False when that is not what it did.
    pub(super) fn replaced_under_new_key(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
    ) -> Result<bool, MergeError> {
        let sent = zip_owned(&change.columns, change.values(index));
        let row = tracked.row_of(change, index);
        let Context { conn, version, .. } = self.context;
        let new: Key = row[..tracked.keys()].to_vec();
        if row::read(conn, tracked, &new)?.is_some() {
            // Another row has the new key: two rows under one key is what must be decided.
            return Ok(false);
        }
        let values = self.values_in_keys(tracked, |place| row.get(place));
        let Some(Overruled { key: old, base, at, .. }) = self.overruled.take_twin(tracked, &row, values)
        else {
            return Ok(false);
        };
        let Some(hub) = row::read(conn, tracked, &old)? else {
            return Ok(false);
        };
        // A row with a fresh id has the time of the cut; the delete was of the same statement.
        let stamp = self.stamp(at);
        let mut moved = hub.clone();
        moved[..tracked.keys()].clone_from_slice(&new);
        row::delete(conn, tracked, &old)?;
        row::insert(conn, tracked, &moved)?;
        if let Some(last) = trash::stamp(conn, tracked, &old)? {
            // Who wrote it last, wrote it last under the new key too.
            trash::set_stamp(conn, tracked, &new, last)?;
        }
        trash::keep(conn, tracked, &hub, version, stamp)?;
        self.log.changed(tracked, &old);
        self.log.changed(tracked, &new);
        self.now_is(tracked, &hub, &moved)?;
        self.vacate(tracked, &hub, None);
        self.need_parents(tracked, &tracked.names, |place| moved[place].clone());
        self.replaced(tracked, &base, &sent, &moved, stamp.at)?;
        Ok(true)
    }
}

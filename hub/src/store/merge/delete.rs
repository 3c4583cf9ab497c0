//! Deletes: a row that nobody touched meanwhile goes; one that somebody changed lives, because a count
//! must not vanish.

use super::{Merge, MergeError, zip_owned};
use crate::store::conflict::{self, Kind, Named};
use crate::store::{alias, same, trash};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key};
use tt_protocol::change::TableChange;
use tt_protocol::merge::Clash;
use tt_protocol::value::{Value, ValueRef};

/// A delete that does not happen, unless the row is inserted again by the same changeset.
pub(super) struct Overruled {
    tracked: Arc<Tracked>,
    key: Key,
    /// The row that the edge deleted.
    base: Named,
    clashes: Vec<Clash>,
    at: i64,
}

impl Merge<'_> {
    pub(super) fn deletes(&mut self, tracked: &Arc<Tracked>, change: &TableChange) -> Result<(), MergeError> {
        for index in 0..change.rows.rows() {
            self.delete(tracked, change, index)?;
        }
        Ok(())
    }

    fn delete(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
    ) -> Result<(), MergeError> {
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        let Some(hub) = row::read(self.context.conn, tracked, &key)? else {
            if !self.is_aliased(tracked)? {
                return Ok(());
            }
            let vanished = alias::find(self.context.conn, tracked, &key)?;
            return vanished.map_or(Ok(()), |alias| self.withdraw(tracked, alias));
        };
        let clashes = differences(tracked, change, index, &hub);
        if clashes.is_empty() {
            self.log.as_sent(tracked, change.key(index));
            return self.remove(tracked, &hub, change.time(index));
        }
        let base = zip_owned(&change.columns, change.values(index));
        let super::Context { conn, edge, cursor, .. } = self.context;
        if conflict::held_unseen(conn, tracked, &key, edge, cursor)?.is_some_and(|(_, held)| held == base) {
            // The device deleted its own row, which is held, and not the one that has its key here.
            self.log.changed(tracked, &key);
            return Ok(());
        }
        let (tracked, at) = (Arc::clone(tracked), change.time(index));
        self.overruled.push(Overruled { tracked, key, base, clashes, at });
        Ok(())
    }

    /// A row that is inserted again under the key of an overruled delete: both are one update.
    pub(super) fn take_overruled(&mut self, tracked: &Tracked, key: &Key) -> Option<Named> {
        let same = |overruled: &Overruled| {
            overruled.tracked.table.name == tracked.table.name
                && same::key_bytes(tracked, &overruled.key) == same::key_bytes(tracked, key)
        };
        let place = self.overruled.iter().position(same)?;
        Some(self.overruled.swap_remove(place).base)
    }

    /// A row that is inserted again under another key, with a unique value that the deleted one had: the
    /// key and the image of that one, and when it was deleted.
    pub(super) fn take_overruled_twin(
        &mut self,
        tracked: &Tracked,
        row: &[Value],
    ) -> Option<(Key, Named, i64)> {
        let values = self.values_in_keys(tracked, |place| row.get(place));
        let place = self.overruled.iter().position(|overruled| {
            let value = |place: usize| {
                let name = &tracked.names[place];
                let found = overruled.base.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value)
            };
            let key = &row[..tracked.keys()];
            overruled.tracked.table.name == tracked.table.name
                && same::key_bytes(tracked, &overruled.key) != same::key_bytes(tracked, key)
                && self.values_in_keys(tracked, value).iter().any(|value| values.contains(value))
        })?;
        let Overruled { key, base, at, .. } = self.overruled.swap_remove(place);
        Some((key, base, at))
    }

    /// Lists the deletes that stayed overruled. What the changeset deleted under such a row comes back.
    pub(super) fn put_back_under_overruled(&mut self) -> Result<(), MergeError> {
        for Overruled { tracked, key, clashes, at, .. } in std::mem::take(&mut self.overruled) {
            self.log.changed(&tracked, &key);
            let kept = trash::stamp(self.context.conn, &tracked, &key)?;
            let sides = (kept, self.stamp(at));
            let action = "the delete was overruled: the row was changed meanwhile and stays";
            self.list_clashes(Kind::Delete, &tracked, &key, clashes, sides, action)?;
            if let Some(row) = row::read(self.context.conn, &tracked, &key)? {
                self.put_back_children(&tracked, &row, self.context.version)?;
            }
        }
        Ok(())
    }
}

/// Columns in which the hub's row is not what the edge deleted.
fn differences(tracked: &Tracked, change: &TableChange, index: usize, hub: &[Value]) -> Vec<Clash> {
    let mut found = Vec::new();
    for (name, base) in change.columns.iter().zip(change.values(index)).skip(change.keys) {
        let Some(value) = tracked.place(name).and_then(|place| hub.get(place)) else {
            continue;
        };
        if value.as_ref() != base {
            found.push(Clash {
                name: name.clone(),
                base: base.to_owned(),
                kept: value.clone(),
                lost: Value::Null,
            });
        }
    }
    found
}

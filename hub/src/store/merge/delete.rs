//! Deletes: a row that nobody touched meanwhile goes; one that somebody changed lives, because a count
//! must not vanish.

use super::overruled::Overruled;
use super::update::one_row;
use super::{Merge, MergeError, zip_owned};
use crate::store::alias::{self, Alias};
use crate::store::conflict::{self, Entry, Kind, Named};
use crate::store::{late, trash};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key};
use tt_protocol::change::TableChange;
use tt_protocol::ids::IdBlock;
use tt_protocol::merge::Clash;
use tt_protocol::number::EdgeId;
use tt_protocol::value::{Value, ValueRef};

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
            let is_aliased = self.is_aliased(tracked)?;
            let alias = is_aliased.then(|| alias::find(self.context.conn, tracked, &key)).transpose()?;
            return match alias.flatten() {
                Some(alias) if alias.moved => self.delete_of_replaced(tracked, change, index, &alias),
                Some(alias) => self.withdraw(tracked, alias),
                None => self.delete_of_nothing(tracked, change, index, &key),
            };
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
        let values = self.values_of(tracked, &base);
        let (tracked, at) = (Arc::clone(tracked), change.time(index));
        self.overruled.add(Overruled { tracked, key, base, clashes, at }, values);
        Ok(())
    }

    /// The row is not at the hub. In one that was put back it may come yet, and the delete with it; but only a
    /// row under an id that its device gave is surely the one that was deleted: other keys are used again.
    fn delete_of_nothing(
        &mut self,
        tracked: &Tracked,
        change: &TableChange,
        index: usize,
        key: &Key,
    ) -> Result<(), MergeError> {
        let super::Context { conn, version, edge, released, .. } = self.context;
        let may_come = match key[..] {
            [Value::Integer(id)] if tracked.table.rowid_key => {
                IdBlock::owner(id).is_some_and(|owner| owner != edge && owner != EdgeId::HUB)
            }
            _ => false,
        };
        if released || !may_come || !late::is_possible(conn)? {
            return Ok(());
        }
        let piece = one_row(change, index);
        if let Some((id, _)) = conflict::held(conn, tracked, key, edge)? {
            return Ok(conflict::append_when_missing(conn, id, &piece)?);
        }
        if trash::find(conn, tracked, key)?.is_some() {
            return Ok(());
        }
        let (named, lost) = (conflict::named_key(tracked, key), self.stamp(change.time(index)));
        let entry = Entry {
            row: Some(zip_owned(&change.columns, change.values(index))),
            work: Some(vec![piece]),
            ..Entry::new(Kind::Missing, &tracked.table.name, named, lost, late::DELETE_WAITS)
        };
        Ok(late::wait(conn, version, tracked, &entry)?)
    }

    /// The row has another key since somebody else replaced it: a change like any other.
    fn delete_of_replaced(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
        alias: &Alias,
    ) -> Result<(), MergeError> {
        let Some(now) = self.survivor(tracked, alias)? else {
            return Ok(());
        };
        let key: Key = now[..tracked.keys()].to_vec();
        if row::read(self.context.conn, tracked, &key)?.is_some() {
            let base = zip_owned(&change.columns, change.values(index));
            let values = self.values_of(tracked, &base);
            let (tracked, at, clashes) = (Arc::clone(tracked), change.time(index), Vec::new());
            self.replaced.add(Overruled { tracked, key, base, clashes, at }, values);
        }
        Ok(())
    }

    /// What a row by names has in the keys of its table other than the primary one.
    fn values_of(&self, tracked: &Tracked, row: &Named) -> Vec<(usize, Vec<u8>)> {
        self.values_in_keys(tracked, |place| {
            let name = &tracked.names[place];
            row.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    }

    /// Lists the deletes that stayed overruled. What the changeset deleted under such a row comes back.
    pub(super) fn put_back_under_overruled(&mut self) -> Result<(), MergeError> {
        let replaced = std::mem::take(&mut self.replaced).into_rows();
        let overruled = std::mem::take(&mut self.overruled).into_rows();
        for Overruled { tracked, key, clashes, at, .. } in overruled.chain(replaced) {
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

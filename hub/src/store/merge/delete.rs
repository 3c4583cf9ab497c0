//! Deletes: a row that nobody touched meanwhile goes; one that somebody changed lives, because a count
//! must not vanish.

use super::{Merge, MergeError};
use crate::store::conflict::Kind;
use crate::store::trash;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key};
use tt_protocol::change::TableChange;
use tt_protocol::merge::Clash;
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
            return Ok(());
        };
        let clashes = differences(tracked, change, index, &hub);
        if clashes.is_empty() {
            self.log.as_sent(tracked, change.key(index));
            return self.remove(tracked, &hub, change.time(index));
        }
        self.log.changed(tracked, &key);
        self.overruled_here(tracked, &key);
        let kept = trash::stamp(self.context.conn, tracked, &key)?;
        let lost = self.stamp(change.time(index));
        let action = "the delete was overruled: the row was changed meanwhile and stays";
        self.list_clashes(Kind::Delete, tracked, &key, clashes, (kept, lost), action)
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

//! Rows of programs that the journal must put itself: found as a cut finds them, and undone.

use super::Placed;
use rusqlite::Connection;
use std::sync::Arc;
use tt_migrations::capture::collect;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{self, Key};
use tt_protocol::value::ValueRef;

/// Programs' rows that no cut has seen: the row as it was, if it was, and the key that is there now.
#[derive(Default)]
pub(super) struct Uncut {
    there: Vec<(Arc<Tracked>, Key)>,
    was: Vec<Placed>,
    /// Places of those that were changed and not made, in order.
    changed: Vec<usize>,
}

pub(super) struct Undo<'u> {
    pub(super) replica: &'u Replica,
    pub(super) uncut: Uncut,
}

impl Uncut {
    /// Only rows that were made go.
    pub(super) fn undo_made(&self, conn: &Connection) -> rusqlite::Result<()> {
        for (place, (tracked, key)) in self.there.iter().enumerate() {
            if self.changed.binary_search(&place).is_err() {
                row::delete(conn, tracked, key)?;
            }
        }
        Ok(())
    }

    pub(super) fn undo(&self, conn: &Connection) -> rusqlite::Result<()> {
        for (tracked, key) in &self.there {
            row::delete(conn, tracked, key)?;
        }
        for (tracked, row) in &self.was {
            row::insert(conn, tracked, row)?;
        }
        Ok(())
    }
}

impl collect::Sink for Undo<'_> {
    fn insert(&mut self, tracked: &Tracked, row: &[ValueRef<'_>], _: i64) -> rusqlite::Result<()> {
        let key = row.iter().take(tracked.keys()).copied().map(ValueRef::to_owned).collect();
        let tracked = self.replica.get(&tracked.table.name).map(Arc::clone);
        self.uncut.there.extend(tracked.map(|tracked| (tracked, key)));
        Ok(())
    }

    fn update(
        &mut self,
        tracked: &Tracked,
        _: &[usize],
        base: &[ValueRef<'_>],
        live: &[ValueRef<'_>],
        time: i64,
    ) -> rusqlite::Result<()> {
        self.uncut.changed.push(self.uncut.there.len());
        self.insert(tracked, live, time)?;
        self.delete(tracked, base, time)
    }

    fn delete(&mut self, tracked: &Tracked, base: &[ValueRef<'_>], _: i64) -> rusqlite::Result<()> {
        let row = base.iter().copied().map(ValueRef::to_owned).collect();
        let tracked = self.replica.get(&tracked.table.name).map(Arc::clone);
        self.uncut.was.extend(tracked.map(|tracked| (tracked, row)));
        Ok(())
    }
}

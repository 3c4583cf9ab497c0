//! Rows that a unique constraint refused at first: tried again when all others are in.
//!
//! * Often the value has become free meanwhile: plain retries, until none succeeds any more.
//! * Values swapped or rotated among rows of one changeset: all waiting rows are taken out and put in
//!   with their new values, at once or not at all.
//! * What is still refused is held, row by row.

use super::update::refused_clashes;
use super::{Merge, MergeError, Waiting};
use crate::store::conflict::Kind;
use crate::store::trash;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Row, refusal};
use tt_protocol::value::Value;

impl Merge<'_> {
    pub(super) fn retry_waiting(&mut self) -> Result<(), MergeError> {
        loop {
            let before = self.waiting.len();
            self.retry_each()?;
            if self.waiting.is_empty() {
                return Ok(());
            }
            if self.waiting.len() == before {
                self.retry_together()?;
                return self.hold_waiting();
            }
        }
    }

    fn retry_each(&mut self) -> Result<(), MergeError> {
        for waiting in std::mem::take(&mut self.waiting) {
            match attempt(self, &waiting) {
                Ok(()) => self.went_in(&waiting)?,
                Err(error) if refusal(&error).is_some() => self.waiting.push(waiting),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes all waiting updates out and puts them in with their new values. When one of them still
    /// clashes, with a row outside, that one stays behind and the others try again without it.
    fn retry_together(&mut self) -> Result<(), MergeError> {
        let conn = self.context.conn;
        while self.waiting.len() > 1 {
            conn.execute_batch("SAVEPOINT together")?;
            for waiting in &self.waiting {
                if let Waiting::Update { tracked, key, .. } = waiting {
                    row::delete(conn, tracked, key)?;
                }
            }
            let failed = self.waiting.iter().position(|waiting| put_whole(self, waiting).is_err());
            let Some(failed) = failed else {
                conn.execute_batch("RELEASE together")?;
                for waiting in std::mem::take(&mut self.waiting) {
                    self.went_in(&waiting)?;
                }
                return Ok(());
            };
            conn.execute_batch("ROLLBACK TO together; RELEASE together")?;
            let waiting = self.waiting.remove(failed);
            self.hold(waiting)?;
        }
        Ok(())
    }

    fn hold_waiting(&mut self) -> Result<(), MergeError> {
        for waiting in std::mem::take(&mut self.waiting) {
            // Holding one row can free the value that the next one needs.
            if attempt(self, &waiting).is_ok() {
                self.went_in(&waiting)?;
            } else {
                self.hold(waiting)?;
            }
        }
        Ok(())
    }

    fn hold(&mut self, waiting: Waiting) -> Result<(), MergeError> {
        match waiting {
            Waiting::Insert { tracked, row, at } => {
                let action = "held whole: another row with this unique value reached the hub first";
                self.hold_row(Kind::Unique, &tracked, row, self.stamp(at), action)
            }
            Waiting::Update { tracked, key, before, set, at, .. } => {
                self.log.changed(&tracked, &key);
                let clashes = refused_clashes(&tracked, &before, set);
                let action = "the hub's values stay: another row has one of the unique values";
                let sides = (None, self.stamp(at));
                self.list_clashes(Kind::Unique, &tracked, &key, clashes, sides, action)
            }
        }
    }

    fn went_in(&mut self, waiting: &Waiting) -> Result<(), MergeError> {
        match waiting {
            Waiting::Insert { tracked, row, .. } => {
                let names: Vec<String> = row.iter().map(|(name, _)| name.clone()).collect();
                self.need_parents(tracked, &names, |place| row[place].1.clone());
                let key = row.iter().take(tracked.keys()).map(|(_, value)| value.clone()).collect();
                self.log.changed(tracked, &key);
                Ok(())
            }
            Waiting::Update { tracked, key, before, set, won, at } => {
                let after = after(tracked, before, set);
                self.need_parents(tracked, &tracked.names, |place| after[place].clone());
                self.vacate(tracked, before, Some(&after));
                self.reparented.push((Arc::clone(tracked), key.clone(), before.clone()));
                self.log.changed(tracked, key);
                let edge = self.stamp(*at);
                trash::set_stamp(self.context.conn, tracked, key, edge)?;
                self.list_won(tracked, key, won.0.clone(), (edge, won.1))
            }
        }
    }
}

fn attempt(merge: &Merge<'_>, waiting: &Waiting) -> rusqlite::Result<()> {
    match waiting {
        Waiting::Insert { tracked, row, .. } => insert(merge, tracked, row),
        Waiting::Update { tracked, key, set, .. } => row::update(merge.context.conn, tracked, key, set),
    }
}

fn put_whole(merge: &Merge<'_>, waiting: &Waiting) -> rusqlite::Result<()> {
    match waiting {
        Waiting::Insert { tracked, row, .. } => insert(merge, tracked, row),
        Waiting::Update { tracked, before, set, .. } => {
            row::insert(merge.context.conn, tracked, &after(tracked, before, set))
        }
    }
}

fn insert(merge: &Merge<'_>, tracked: &Tracked, row: &[(String, Value)]) -> rusqlite::Result<()> {
    let names: Vec<String> = row.iter().map(|(name, _)| name.clone()).collect();
    row::insert_named(merge.context.conn, tracked, &names, row.iter().map(|(_, value)| value.as_ref()))
}

fn after(tracked: &Tracked, before: &Row, set: &[(String, Value)]) -> Row {
    let mut row = before.clone();
    for (name, value) in set {
        if let Some(slot) = tracked.place(name).and_then(|place| row.get_mut(place)) {
            *slot = value.clone();
        }
    }
    row
}

//! Rows that a unique constraint refused at first: tried again when all others are in.
//!
//! * Often the value has become free meanwhile: plain retries, until none succeeds any more.
//! * Values swapped or rotated among rows of one changeset: all waiting rows are taken out and put in
//!   with their new values, at once or not at all.
//! * A row that was made twice joins its twin, parents before their children.
//! * What is still refused is held, row by row.

use super::twin::Vanishing;
use super::update::refused_clashes;
use super::{Merge, MergeError, Waiting};
use crate::store::conflict::Kind;
use crate::store::{same, trash};
use std::collections::HashMap;
use tt_migrations::replica::{Replica, Tracked};
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
            if self.attempt(&waiting)? {
                self.went_in(&waiting)?;
            } else {
                self.waiting.push(waiting);
            }
        }
        Ok(())
    }

    /// Takes all waiting updates out and puts them in with their new values. When one of them still
    /// clashes, with a row outside, that one stays behind and the others try again without it.
    fn retry_together(&mut self) -> Result<(), MergeError> {
        let conn = self.context.conn;
        // Places in the changeset: who came first stays first.
        let mut places: Vec<usize> = (0..self.waiting.len()).collect();
        let mut aside = Vec::new();
        while self.waiting.len() > 1 {
            conn.execute_batch("SAVEPOINT together")?;
            for waiting in &self.waiting {
                if let Waiting::Update { tracked, key, .. } = waiting {
                    row::delete(conn, tracked, key)?;
                }
            }
            let mut failed = None;
            for (place, waiting) in self.waiting.iter().enumerate() {
                if !self.put_whole(waiting)? {
                    failed = Some(place);
                    break;
                }
            }
            let Some(failed) = failed else {
                conn.execute_batch("RELEASE together")?;
                for waiting in std::mem::take(&mut self.waiting) {
                    self.went_in(&waiting)?;
                }
                break;
            };
            conn.execute_batch("ROLLBACK TO together; RELEASE together")?;
            let (place, waiting) = (places.remove(failed), self.waiting.remove(failed));
            match waiting {
                Waiting::Insert { .. } => aside.push((place, waiting)),
                Waiting::Update { .. } => self.hold(waiting)?,
            }
        }
        aside.extend(places.into_iter().zip(std::mem::take(&mut self.waiting)));
        aside.sort_by_key(|(place, _)| *place);
        self.waiting.extend(aside.into_iter().map(|(_, waiting)| waiting));
        Ok(())
    }

    fn hold_waiting(&mut self) -> Result<(), MergeError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let order = parents_first(self.context.replica);
        waiting.sort_by_key(|waiting| order.get(waiting.table()).copied().unwrap_or_default());
        for waiting in waiting {
            // Holding one row can free the value that the next one needs.
            if self.attempt(&waiting)? {
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
                let here = self.with_parents_here(&tracked, row.clone())?;
                if self.join_twin(&tracked, &Vanishing { row: &row, here, at, via: None, work: None })? {
                    return Ok(());
                }
                let action = "held whole: another row with this unique value reached the hub first";
                self.hold_row(Kind::Unique, &tracked, row, self.stamp(at), action)
            }
            Waiting::Update { tracked, key, before, set, at, .. } => {
                self.refused.insert((tracked.table.name.clone(), same::key_bytes(&tracked, &key)));
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
                self.takes_the_place(tracked, &names, |place| row[place].1.clone())?;
                let key = row.iter().take(tracked.keys()).map(|(_, value)| value.clone()).collect();
                self.log.changed(tracked, &key);
                Ok(())
            }
            Waiting::Update { tracked, key, before, set, won, at } => {
                let after = after(tracked, before, set);
                self.need_parents(tracked, &tracked.names, |place| after[place].clone());
                self.vacate(tracked, before, Some(&after));
                self.is_reparented(tracked, key, before);
                self.log.changed(tracked, key);
                let edge = self.stamp(*at);
                trash::set_stamp(self.context.conn, tracked, key, edge)?;
                self.list_won(tracked, key, won.0.clone(), (edge, won.1))
            }
        }
    }
}

impl Merge<'_> {
    fn attempt(&self, waiting: &Waiting) -> Result<bool, MergeError> {
        match waiting {
            Waiting::Insert { tracked, row, .. } => self.insert_unless_twin(tracked, row),
            Waiting::Update { tracked, key, set, .. } => {
                accepted(row::update(self.context.conn, tracked, key, set))
            }
        }
    }

    fn put_whole(&self, waiting: &Waiting) -> Result<bool, MergeError> {
        match waiting {
            Waiting::Insert { tracked, row, .. } => self.insert_unless_twin(tracked, row),
            Waiting::Update { tracked, before, set, .. } => {
                accepted(row::insert(self.context.conn, tracked, &after(tracked, before, set)))
            }
        }
    }

    fn insert_unless_twin(&self, tracked: &Tracked, row: &[(String, Value)]) -> Result<bool, MergeError> {
        if self.natural_only(tracked) && self.natural_twin(tracked, row)?.is_some() {
            return Ok(false);
        }
        let names: Vec<String> = row.iter().map(|(name, _)| name.clone()).collect();
        let values = row.iter().map(|(_, value)| value.as_ref());
        accepted(row::insert_named(self.context.conn, tracked, &names, values))
    }
}

/// Whether a statement went through; what is no answer about the row is a failure.
fn accepted(outcome: rusqlite::Result<()>) -> Result<bool, MergeError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if refusal(&error).is_some() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A number per table, lower for parents than for their children. In a circle any order is as good.
fn parents_first(replica: &Replica) -> HashMap<String, usize> {
    let mut order: HashMap<String, usize> = HashMap::new();
    for _ in 0..replica.tables.len() {
        let mut moved = false;
        for tracked in replica.tables.values() {
            let parents =
                tracked.table.foreign_keys.iter().filter_map(|foreign| replica.get(&foreign.parent));
            let above = parents.filter(|parent| parent.table.name != tracked.table.name);
            let least = above.map(|parent| order.get(&parent.table.name).copied().unwrap_or_default() + 1);
            let least = least.max().unwrap_or_default().min(replica.tables.len());
            moved |= order.insert(tracked.table.name.clone(), least) != Some(least);
        }
        if !moved {
            break;
        }
    }
    order
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

//! What each decision means for each kind of entry.
//!
//! * A row that is in the table gets the values of the loser or of the operator.
//! * A delete that was overruled happens after all, unless rows still point at the row.
//! * A row that is held whole goes in, as it is or with other values.
//! * Pieces that are held are merged as the device that sent them.

use super::subject::Subject;
use super::{Attempt, Decision, Desk, refuse, value, words};
use crate::store::conflict::Kind;
use crate::store::merge::select_children;
use rusqlite::params_from_iter;
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Row};
use tt_migrations::value::bound;
use tt_protocol::change::Kind as ChangeKind;
use tt_protocol::merge::{Clash, counter_sum};
use tt_protocol::number::EdgeId;
use tt_protocol::value::Value;

type Named = Vec<(String, Value)>;

/// What a decision came to.
#[derive(Default)]
pub(super) struct Done {
    /// The values of an edit, as they went in.
    pub(super) values: Named,
    /// What else the operator should know.
    pub(super) told: Vec<String>,
    /// Rows were touched.
    pub(super) wrote: bool,
}

impl Desk<'_> {
    pub(super) fn settle(&self, subject: &Subject, decision: &Decision) -> Attempt<Done> {
        match decision {
            Decision::TakeWinner | Decision::Dismiss => Ok(Done::default()),
            Decision::TakeLoser => self.take_loser(subject),
            Decision::Edit(values) if values.is_empty() => refuse("an edit names at least one column"),
            Decision::Edit(_) if subject.work.is_some() && subject.kind != Some(Kind::Missing) => {
                refuse(format!(
                    "it stands for {} rows and not for one that could be edited: take a side or dismiss it",
                    subject.rows
                ))
            }
            Decision::Edit(values) => match &subject.row {
                Some(held) => self.put_in(subject, held, values),
                None => self.edit_present(subject, values),
            },
        }
    }

    fn take_loser(&self, subject: &Subject) -> Attempt<Done> {
        let missing = subject.kind == Some(Kind::Missing) && self.present(subject).is_err();
        if let Some(work) = subject.work.as_ref().filter(|_| !missing) {
            let told = self.merge_work(subject.kind, subject.lost_from, work)?;
            return Ok(Done { told, wrote: true, ..Done::default() });
        }
        match (&subject.row, subject.kind) {
            (_, Some(Kind::Delete)) => self.delete_after_all(subject),
            (Some(held), _) => self.put_in(subject, held, &[]),
            (None, _) => self.take_columns(subject),
        }
    }

    fn tracked(&self, subject: &Subject) -> Attempt<&Arc<Tracked>> {
        match self.replica.get(&subject.table) {
            Some(tracked) => Ok(tracked),
            None => refuse(format!("the hub has no table `{}` that it replicates", subject.table)),
        }
    }

    /// The row that the entry is about, as it is now, with its table.
    fn present(&self, subject: &Subject) -> Attempt<(&Arc<Tracked>, Row)> {
        let tracked = self.tracked(subject)?;
        let column = |name: &String| find(&subject.key, name).cloned();
        let key: Option<Key> = tracked.names.iter().take(tracked.keys()).map(column).collect();
        let found = key.map(|key| row::read(self.conn, tracked, &key)).transpose()?.flatten();
        match found {
            Some(row) => Ok((tracked, row)),
            None => refuse(format!(
                "{} is not in the table any more: dismiss the conflict",
                words::row(&subject.table, &subject.key)
            )),
        }
    }

    fn take_columns(&self, subject: &Subject) -> Attempt<Done> {
        if subject.clashes.is_empty() {
            return refuse("it keeps no value that could be taken: edit or dismiss it");
        }
        let (tracked, present) = self.present(subject)?;
        let mut set = Named::new();
        let mut told = Vec::new();
        for clash in &subject.clashes {
            match tracked.place(&clash.name) {
                Some(place) => set.push((clash.name.clone(), self.wanted(tracked, clash, &present[place])?)),
                None => told.push(gone(&subject.table, &clash.name)),
            }
        }
        if set.is_empty() {
            return refuse(told.join("; "));
        }
        let wrote = self.set(tracked, &present, &set)?;
        Ok(Done { told, wrote, ..Done::default() })
    }

    /// The value that lost; of a counter, what it was meant to add is added to the present one.
    fn wanted(&self, tracked: &Tracked, clash: &Clash, present: &Value) -> Attempt<Value> {
        let Clash { name, base, lost, .. } = clash;
        if !self.policy.table(&tracked.table.name).is_counter(name) {
            return Ok(lost.clone());
        }
        let is_count = |value: &Value| matches!(value, Value::Integer(_) | Value::Null);
        match counter_sum(base.as_ref(), lost.as_ref(), present.as_ref()) {
            Some(sum) => Ok(sum),
            None if matches!(lost, Value::Integer(_)) && is_count(base) && is_count(present) => {
                refuse(format!(
                    "it still cannot go in: the sum of {name} has no place in 64 bits; edit it to the right count"
                ))
            }
            None => Ok(lost.clone()),
        }
    }

    fn edit_present(&self, subject: &Subject, values: &[(String, Value)]) -> Attempt<Done> {
        let (tracked, present) = self.present(subject)?;
        for (name, value) in values {
            match tracked.place(name) {
                None => return refuse(unknown(&subject.table, name)),
                Some(place) if place < tracked.keys() && present[place] != *value => {
                    return refuse(format!("{name} is part of the key, which a row in the table keeps"));
                }
                Some(_) => {}
            }
        }
        let wrote = self.set(tracked, &present, values)?;
        Ok(Done { values: values.to_vec(), wrote, ..Done::default() })
    }

    /// Sets columns of a row that is in the table. False when it has these values already.
    fn set(&self, tracked: &Tracked, present: &Row, values: &[(String, Value)]) -> Attempt<bool> {
        let changed: Vec<(usize, &Value)> = values
            .iter()
            .filter_map(|(name, value)| Some((tracked.place(name)?, value)))
            .filter(|(place, value)| present[*place] != **value)
            .collect();
        if changed.is_empty() {
            return Ok(false);
        }
        let (keys, names) = (tracked.keys(), tracked.names.iter().map(String::as_str));
        let columns = changed.iter().map(|(place, _)| tracked.names[*place].as_str());
        let columns: Vec<&str> = names.take(keys).chain(columns).collect();
        let base = changed.iter().map(|(place, _)| &present[*place]);
        let new = changed.iter().map(|(_, value)| *value);
        let row = present.iter().take(keys).chain(base).chain(new).map(Value::as_ref);
        self.merge_one(ChangeKind::Update, tracked, &columns, row)?;
        Ok(true)
    }

    fn delete_after_all(&self, subject: &Subject) -> Attempt<Done> {
        let (tracked, present) = self.present(subject)?;
        if let Some(children) = self.children(tracked, &present)? {
            return refuse(format!("{children}: delete those first, or give them another parent"));
        }
        let columns: Vec<&str> = tracked.names.iter().map(String::as_str).collect();
        self.merge_one(ChangeKind::Delete, tracked, &columns, present.iter().map(Value::as_ref))?;
        Ok(Done { wrote: true, ..Done::default() })
    }

    /// Which rows point at this one, in words. None when it has no children but itself.
    fn children(&self, tracked: &Tracked, present: &Row) -> Attempt<Option<String>> {
        let mut found = Vec::new();
        for child in self.replica.tables.values() {
            let name = &tracked.table.name;
            let to_us = child.table.foreign_keys.iter().filter(|key| key.parent.eq_ignore_ascii_case(name));
            for foreign in to_us {
                let at = |name: &String| tracked.place(name).map(|place| present[place].as_ref());
                let Some(values) = foreign.parent_columns.iter().map(at).collect::<Option<Vec<_>>>() else {
                    continue;
                };
                let keys: Vec<String> = child.names.iter().take(child.keys()).cloned().collect();
                let sql = select_children(child, foreign, tracked, &keys);
                let mut statement = self.conn.prepare_cached(&sql)?;
                let rows = statement.query_map(params_from_iter(bound(values)), |row| {
                    tt_migrations::value::copy(row, 0, keys.len())
                })?;
                let own = |key: &Key| child.table.name == *name && present.starts_with(key);
                let others = rows.filter(|key| !key.as_ref().is_ok_and(own));
                match others.collect::<rusqlite::Result<Vec<_>>>()?.len() {
                    0 => {}
                    1 => found.push(format!("1 row of {} points at it", child.table.name)),
                    count => found.push(format!("{count} rows of {} point at it", child.table.name)),
                }
            }
        }
        Ok((!found.is_empty()).then(|| found.join(", ")))
    }

    /// A row that was held whole goes in, with other values where the operator gave some.
    fn put_in(&self, subject: &Subject, held: &Named, edits: &[(String, Value)]) -> Attempt<Done> {
        let tracked = self.tracked(subject)?;
        if let Some((name, _)) = edits.iter().find(|(name, _)| tracked.place(name).is_none()) {
            return refuse(unknown(&subject.table, name));
        }
        let dropped = held.iter().filter(|(name, _)| tracked.place(name).is_none());
        let told: Vec<String> = dropped.map(|(name, _)| gone(&subject.table, name)).collect();
        if subject.kind == Some(Kind::Schema) && !told.is_empty() {
            return refuse(told.join("; "));
        }
        let edits = self.with_new_id(tracked, edits)?;
        let value = |name: &str| find(&edits, name).or_else(|| find(held, name));
        let names = || tracked.names.iter().map(String::as_str);
        if let Some(key) = names().take(tracked.keys()).find(|key| value(key).is_none_or(Value::is_null)) {
            return refuse(format!("{key} is part of the key and has no value: edit it with {key}=…"));
        }
        let column = |name: &str| Some((name.to_owned(), value(name)?.clone()));
        let row: Named = names().filter_map(column).collect();
        self.merge_held(subject.id, tracked, &row)?;
        Ok(Done { values: edits, told, wrote: true })
    }

    /// Puts the next id of the hub's own block where a new one is asked for.
    fn with_new_id(&self, tracked: &Tracked, edits: &[(String, Value)]) -> Attempt<Named> {
        let mut edits = edits.to_vec();
        for (name, value) in &mut edits {
            if tracked.table.rowid_key && tracked.place(name) == Some(0) && value::is_new(value) {
                ids::settle(self.conn, tracked, EdgeId::HUB)?;
                let place = ids::place(self.conn, tracked)?;
                if place.counter >= place.hi {
                    return refuse(format!("{} has no ids left", tracked.table.name));
                }
                *value = Value::Integer(place.counter + 1);
            }
        }
        Ok(edits)
    }
}

fn find<'v>(values: &'v [(String, Value)], name: &str) -> Option<&'v Value> {
    values.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn unknown(table: &str, column: &str) -> String {
    format!("{table} has no column `{column}`")
}

fn gone(table: &str, column: &str) -> String {
    format!("{table} has no column `{column}` any more")
}

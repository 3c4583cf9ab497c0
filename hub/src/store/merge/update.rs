//! Updates: the three-way merge of each row, and the return of a row that was deleted meanwhile.

use super::{Merge, MergeError, Waiting};
use crate::store::conflict::{self, Entry, Kind};
use crate::store::late;
use crate::store::trash;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Refusal, Row, refusal};
use tt_protocol::change::{TableChange, encode_piece};
use tt_protocol::merge::{Clash, Column, RowPlan, Stamp, merge_row};
use tt_protocol::value::{Value, ValueRef};

impl Merge<'_> {
    pub(super) fn updates(&mut self, tracked: &Arc<Tracked>, change: &TableChange) -> Result<(), MergeError> {
        for index in 0..change.rows.rows() {
            let key: Key = change.key(index).map(ValueRef::to_owned).collect();
            if self.is_for_held_row(tracked, change, index, &key)? {
                continue;
            }
            match row::read(self.context.conn, tracked, &key)? {
                Some(hub) => self.update(tracked, change, index, &key, &hub, false)?,
                None => self.update_of_nothing(tracked, change, index, &key)?,
            }
        }
        Ok(())
    }

    /// The device changed its own row before it knew that another one has the key: into the list with it,
    /// for two rows are never mixed.
    fn is_for_held_row(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
        key: &Key,
    ) -> Result<bool, MergeError> {
        let super::Context { conn, edge, cursor, .. } = self.context;
        let held = conflict::held_unseen(conn, tracked, key, edge, cursor)?;
        let Some((id, mut row)) = held.filter(|(_, row)| continues(row, change, index)) else {
            return Ok(false);
        };
        amend(&mut row, change, index);
        self.log.changed(tracked, key);
        conflict::amend(conn, id, &row)?;
        Ok(true)
    }

    fn update(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
        key: &Key,
        hub: &Row,
        revived: bool,
    ) -> Result<(), MergeError> {
        let rule = self.context.policy.table(&tracked.table.name);
        let edge = self.stamp(change.time(index));
        let last = trash::stamp(self.context.conn, tracked, key)?;
        let columns = columns(tracked, change, index, hub);
        let mut plan = merge_row(rule, &columns, edge, last);
        if revived || hub.iter().zip(key).any(|(have, sent)| have != sent) {
            // The key has another spelling here, or it was deleted: the edge that had deleted it, and all others, must see the row again.
            plan.as_sent = false;
        }
        match row_update(self, tracked, key, &plan) {
            Ok(()) => self.updated(tracked, key, hub, plan, (edge, last)),
            Err(error) => self.refused_update(tracked, key, hub, plan, edge, error),
        }
    }

    pub(super) fn updated(
        &mut self,
        tracked: &Arc<Tracked>,
        key: &Key,
        hub: &Row,
        plan: RowPlan,
        (edge, last): (Stamp, Option<Stamp>),
    ) -> Result<(), MergeError> {
        if plan.dated {
            trash::set_stamp(self.context.conn, tracked, key, edge)?;
        }
        if plan.as_sent {
            self.log.as_sent(tracked, key.iter().map(Value::as_ref));
        } else {
            self.log.changed(tracked, key);
        }
        self.look_at_references(tracked, &plan, hub);
        self.list_won(tracked, key, plan.won, (edge, last.unwrap_or(edge)))?;
        self.list_decided(tracked, key, plan.lost, plan.overflow, (last, edge))
    }

    /// Lists the columns in which the device lost, whatever becomes of the others.
    fn list_decided(
        &mut self,
        tracked: &Tracked,
        key: &Key,
        lost: Vec<Clash>,
        overflow: Vec<Clash>,
        sides: (Option<Stamp>, Stamp),
    ) -> Result<(), MergeError> {
        if !lost.is_empty() {
            let action = "the hub's value stays: it was written later";
            self.list_clashes(Kind::Column, tracked, key, lost, sides, action)?;
        }
        if !overflow.is_empty() {
            let action = "the hub's count stays: the sum has no place in 64 bits";
            self.list_clashes(Kind::Counter, tracked, key, overflow, sides, action)?;
        }
        Ok(())
    }

    /// Lists the columns in which the device won over another writer.
    pub(super) fn list_won(
        &mut self,
        tracked: &Tracked,
        key: &Key,
        won: Vec<Clash>,
        (edge, other): (Stamp, Stamp),
    ) -> Result<(), MergeError> {
        if won.is_empty() {
            return Ok(());
        }
        let action = "the device's value was taken: it was written later";
        self.list_clashes(Kind::Column, tracked, key, won, (Some(edge), other), action)
    }

    /// An update can point at another parent, or take a value away that children point at.
    fn look_at_references(&mut self, tracked: &Arc<Tracked>, plan: &RowPlan, hub: &Row) {
        let touches = |columns: &[String]| {
            plan.set.iter().any(|(name, _)| columns.iter().any(|column| column.eq_ignore_ascii_case(name)))
        };
        if tracked.table.foreign_keys.iter().any(|foreign| touches(&foreign.columns)) {
            let value = |place: usize| {
                let name = &tracked.names[place];
                let set = plan.set.iter().find(|(set, _)| set.eq_ignore_ascii_case(name));
                set.map_or_else(|| hub[place].clone(), |(_, value)| value.clone())
            };
            self.need_parents(tracked, &tracked.names, value);
            let key: Key = hub.iter().take(tracked.keys()).cloned().collect();
            self.is_reparented(tracked, &key, hub);
        }
        let mut after = hub.clone();
        for (name, value) in &plan.set {
            if let Some(slot) = tracked.place(name).and_then(|place| after.get_mut(place)) {
                slot.clone_from(value);
            }
        }
        self.vacate(tracked, hub, Some(&after));
    }

    pub(super) fn refused_update(
        &mut self,
        tracked: &Arc<Tracked>,
        key: &Key,
        hub: &Row,
        plan: RowPlan,
        edge: Stamp,
        error: rusqlite::Error,
    ) -> Result<(), MergeError> {
        match refusal(&error) {
            Some(Refusal::Key | Refusal::Unique) => {
                let last = trash::stamp(self.context.conn, tracked, key)?;
                let RowPlan { set, lost, won, overflow, .. } = plan;
                let (kept, at) = (Arc::clone(tracked), edge.at);
                let (key_kept, before, won) = (key.clone(), hub.clone(), (won, last.unwrap_or(edge)));
                self.waiting.push(Waiting::Update { tracked: kept, key: key_kept, before, set, won, at });
                self.list_decided(tracked, key, lost, overflow, (last, edge))
            }
            Some(Refusal::Rule) => self.refuse_rule(tracked, key, hub, plan, edge, &error),
            None => Err(error.into()),
        }
    }

    /// A CHECK or NOT NULL refuses the merged row. A counter whose sum breaks the rule is held, and the row's
    /// other columns go in; where that does not help, the whole update is held.
    fn refuse_rule(
        &mut self,
        tracked: &Arc<Tracked>,
        key: &Key,
        hub: &Row,
        mut plan: RowPlan,
        edge: Stamp,
        error: &rusqlite::Error,
    ) -> Result<(), MergeError> {
        let action = format!("the hub's values stay: a rule of the table refuses the others ({error})");
        let last = trash::stamp(self.context.conn, tracked, key)?;
        let rule = self.context.policy.table(&tracked.table.name);
        let (counters, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.set).into_iter().partition(|(name, _)| rule.is_counter(name));
        let (mut fitting, mut held) = (Vec::new(), Vec::new());
        for counter in counters {
            let fits = self.fits_alone(tracked, key, &counter)?;
            if fits { fitting.push(counter) } else { held.push(counter) }
        }
        plan.as_sent = false;
        while !(held.is_empty() && fitting.is_empty()) {
            plan.set = others.iter().chain(&fitting).cloned().collect();
            let outcome = row_update(self, tracked, key, &plan);
            if !matches!(&outcome, Err(error) if refusal(error) == Some(Refusal::Rule)) {
                let clashes = refused_clashes(tracked, hub, held);
                self.list_clashes(Kind::Counter, tracked, key, clashes, (None, edge), &action)?;
                return match outcome {
                    Ok(()) => self.updated(tracked, key, hub, plan, (edge, last)),
                    Err(error) => self.refused_update(tracked, key, hub, plan, edge, error),
                };
            }
            if fitting.is_empty() {
                break;
            }
            // Each sum fits alone, and all of them do not.
            held.append(&mut fitting);
        }
        let refused = refused_clashes(tracked, hub, others.into_iter().chain(held).collect());
        self.list_clashes(Kind::Rule, tracked, key, refused, (None, edge), &action)?;
        plan = RowPlan { set: Vec::new(), won: Vec::new(), dated: false, ..plan };
        self.updated(tracked, key, hub, plan, (edge, last))
    }

    /// Whether the table's rules allow one column's value beside what the hub has.
    fn fits_alone(&self, tracked: &Tracked, key: &Key, set: &(String, Value)) -> Result<bool, MergeError> {
        let conn = self.context.conn;
        conn.execute_batch("SAVEPOINT alone")?;
        let outcome = row::update(conn, tracked, key, std::slice::from_ref(set));
        conn.execute_batch("ROLLBACK TO alone; RELEASE alone")?;
        match outcome {
            Err(error) if refusal(&error).is_none() => Err(error.into()),
            outcome => Ok(outcome.is_ok()),
        }
    }

    /// The row is not at the hub: it was deleted there, or it is held, or nobody knows it.
    fn update_of_nothing(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
        key: &Key,
    ) -> Result<(), MergeError> {
        if self.update_of_vanished(tracked, change, index, key)? {
            return Ok(());
        }
        let held = conflict::held(self.context.conn, tracked, key, self.context.edge)?;
        if let Some((id, mut row)) = held.filter(|(_, row)| continues(row, change, index)) {
            amend(&mut row, change, index);
            self.log.changed(tracked, key);
            conflict::amend(self.context.conn, id, &row)?;
            return Ok(conflict::append_when_missing(self.context.conn, id, &one_row(change, index))?);
        }
        let unique = uniques_set(tracked, change, index);
        if self.revive(tracked, key, self.stamp(change.time(index)), "changed", &unique)? {
            let hub = row::read(self.context.conn, tracked, key)?;
            return match hub {
                Some(hub) => self.update(tracked, change, index, key, &hub, true),
                None => Ok(()),
            };
        }
        let new = (0..change.others()).map(|place| change.pair(index, place).1);
        let row = super::zip_owned(&change.columns, change.key(index).chain(new));
        let action = "held: the hub does not have the row that was changed";
        let lost = self.stamp(change.time(index));
        if !late::is_possible(self.context.conn)? {
            return self.hold_row(Kind::Missing, tracked, row, lost, action);
        }
        // The row may come yet, and then it is the difference that counts.
        let work = Some(vec![one_row(change, index)]);
        let named = conflict::named_key(tracked, key);
        self.log.changed(tracked, key);
        self.list(Entry {
            row: Some(row),
            work,
            ..Entry::new(Kind::Missing, &tracked.table.name, named, lost, action)
        })?;
        Ok(())
    }
}

/// Unique values that the update gives its row.
fn uniques_set(tracked: &Tracked, change: &TableChange, index: usize) -> Vec<(String, Value)> {
    let indexes = tracked.table.uniques.iter().filter_map(|unique| unique.columns.as_ref());
    let unique: Vec<&String> = indexes.flatten().map(|(name, _)| name).collect();
    let columns = change.columns.iter().skip(change.keys).enumerate();
    columns
        .filter(|(_, name)| unique.iter().any(|unique| unique.eq_ignore_ascii_case(name)))
        .map(|(place, name)| (name.clone(), change.pair(index, place).1.to_owned()))
        .collect()
}

pub(super) fn row_update(
    merge: &Merge<'_>,
    tracked: &Tracked,
    key: &Key,
    plan: &RowPlan,
) -> rusqlite::Result<()> {
    if plan.set.is_empty() {
        return Ok(());
    }
    row::update(merge.context.conn, tracked, key, &plan.set)
}

fn columns<'c>(tracked: &Tracked, change: &'c TableChange, index: usize, hub: &'c Row) -> Vec<Column<'c>> {
    let names = change.columns.iter().skip(change.keys).enumerate();
    names
        .filter_map(|(place, name)| {
            let (base, new) = change.pair(index, place);
            let hub = hub.get(tracked.place(name)?)?.as_ref();
            Some(Column { name, base, new, hub })
        })
        .collect()
}

/// Clashes for values that were refused altogether.
pub(super) fn refused_clashes(tracked: &Tracked, hub: &Row, set: Vec<(String, Value)>) -> Vec<Clash> {
    set.into_iter()
        .map(|(name, lost)| {
            let kept = tracked.place(&name).and_then(|place| hub.get(place)).cloned().unwrap_or(Value::Null);
            Clash { name, base: kept.clone(), kept, lost }
        })
        .collect()
}

/// One row of a change, as a piece.
pub(super) fn one_row(change: &TableChange, index: usize) -> Vec<u8> {
    let mut one = TableChange::new(&change.table, change.kind, change.keys, change.columns.clone());
    one.rows.push(change.rows.slice(index, 0, change.rows.width()));
    encode_piece(&[one])
}

/// True when the update starts from the row that is held: the device did not know that it is. What it
/// wrote after it had seen the hub's row under that key is about that one. Of a change that is held, only the
/// changed columns are known.
fn continues(row: &[(String, Value)], change: &TableChange, index: usize) -> bool {
    change.columns.iter().skip(change.keys).enumerate().all(|(place, name)| {
        let base = change.pair(index, place).0;
        let held = row.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
        held.is_none_or(|(_, value)| value.as_ref() == base)
    })
}

/// Puts newer values into a row that is held.
pub(super) fn amend(row: &mut Vec<(String, Value)>, change: &TableChange, index: usize) {
    for (place, name) in change.columns.iter().skip(change.keys).enumerate() {
        let new = change.pair(index, place).1.to_owned();
        match row.iter_mut().find(|(have, _)| have.eq_ignore_ascii_case(name)) {
            Some((_, value)) => *value = new,
            None => row.push((name.clone(), new)),
        }
    }
}

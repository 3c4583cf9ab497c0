//! Rows that are other rows: made twice under one natural key or unique value, or replaced under another key.

use super::super::rules::decide;
use super::super::tables::{Rule, Table};
use super::super::values::listed;
use super::super::values::{
    Row, Sum, alike, allowed, natural_of, order, stored, sum, unique_of, values_in_keys,
};
use super::{Alias, At, Candidate, Change, Entry, Model, Place, UnderWay};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use tt_protocol::value::Value;

/// What joining two rows means.
struct Joined {
    set: Vec<(usize, Value)>,
    /// Counts among them, as the other row has them.
    brought: Vec<(usize, Value)>,
    differing: Vec<(usize, Value)>,
}

impl Model {
    /// The row at the hub that is the same thing.
    pub(super) fn twin_of(&self, table: usize, row: &Row) -> Option<Place> {
        if let Some(found) = self.natural_twin(table, row) {
            return Some(found);
        }
        let shape = &self.tables[table];
        shape.uniques.iter().find_map(|unique| {
            let own = unique_of(shape, unique, row)?;
            let mut rows = self.hub.iter().filter(|(place, _)| place.0 == table);
            rows.find(|(_, there)| unique_of(shape, unique, there).as_ref() == Some(&own))
                .map(|(place, _)| place.clone())
        })
    }

    /// Of several, the one with the lowest number.
    pub(super) fn natural_twin(&self, table: usize, row: &Row) -> Option<Place> {
        let shape = &self.tables[table];
        let own = natural_of(shape, row)?;
        let rows = self.hub.iter().filter(|(place, _)| place.0 == table);
        let same = rows.filter(|(_, there)| natural_of(shape, there).as_ref() == Some(&own));
        same.min_by(|(_, one), (_, other)| order(&one[0], &other[0])).map(|(place, _)| place.clone())
    }

    /// The survivor stays; counts are added; where they differ otherwise, the other is listed whole.
    pub(super) fn join(&mut self, kind: &'static str, place: &Place, new: &Row, survivor: &Place) {
        let table = self.tables[place.0].clone();
        let hub = self.hub[survivor].clone();
        let Joined { set, mut brought, mut differing } = compared(&table, new, &hub);
        let mut row = hub.clone();
        for (at, value) in &set {
            row[*at].clone_from(value);
        }
        if kind == "role" {
            let own = set.iter().map(|(at, _)| (*at, new[*at].clone()));
            differing.extend(own);
            brought.clear();
        } else if allowed(&table, &row) {
            self.hub.insert(survivor.clone(), row);
        } else {
            differing.append(&mut brought);
        }
        let entry = (!differing.is_empty()).then(|| {
            let keys = (0..table.keys()).filter(|at| new[*at] != hub[*at]);
            let keys: Vec<_> = keys.map(|at| (at, new[at].clone())).collect();
            differing.retain(|(at, _)| *at >= table.keys());
            differing.extend(keys);
            let entry = self.columns_entry(kind, place, &hub, &differing);
            let row = Some(named(&table, new));
            self.entries.push(Entry { row, ..entry });
            self.entries.len() - 1
        });
        if place != survivor {
            let alias = Alias {
                row: new.clone(),
                survivor: survivor.clone(),
                brought: brought.into_iter().collect(),
                entry,
                moved: false,
            };
            self.aliases.insert(place.clone(), alias);
        }
    }

    /// What a row that is not at the hub is now: place and row, at the hub or deleted there.
    pub(super) fn vanished_into(&self, place: &Place) -> Option<(Place, Row)> {
        let mut place = self.aliases.get(place)?.survivor.clone();
        for _ in 0..16 {
            if let Some(row) = self.hub.get(&place) {
                return Some((place, row.clone()));
            }
            match self.aliases.get(&place) {
                Some(next) => place = next.survivor.clone(),
                None => return self.trash.get(&place).cloned().map(|row| (place, row)),
            }
        }
        None
    }

    /// A change of a row that became another one is about that one. What is listed already is changed there.
    pub(super) fn update_of_vanished(
        &mut self,
        at: At,
        change: &Change,
        base: &Row,
        new: &Row,
    ) -> Option<Candidate> {
        let (to, hub) = self.vanished_into(&change.place)?;
        if !self.hub.contains_key(&to) {
            if !self.is_free(&to, &hub) {
                self.hold_missing(at.node, change, at.version);
                return None;
            }
            self.trash.remove(&to);
            self.list_columns("delete", &to, &hub, &[]);
            self.hub.insert(to.clone(), hub.clone());
        }
        let table = self.tables[to.0].clone();
        let mut alias = self.aliases[&change.place].clone();
        let open = alias.entry.filter(|entry| !self.entries[*entry].closed);
        let listed: Vec<usize> = open.map_or_else(Vec::new, |entry| {
            let columns = &self.entries[entry].columns;
            (0..new.len()).filter(|at| columns.contains_key(table.columns[*at].name)).collect()
        });
        let group = listed.iter().any(|at| table.columns[*at].rule == Rule::Together);
        let mut from = base.clone();
        for at in 0..new.len() {
            if listed.contains(&at) || (group && table.columns[at].rule == Rule::Together) {
                from[at].clone_from(&new[at]);
            }
        }
        let later = self.stamps.get(&to).is_none_or(|stamp| (change.at, at.node) >= *stamp);
        let plan = decide(&table, &from, new, &hub, later);
        let plan = self.refuse_by_rules(&to, &hub, plan);
        let row = plan.on(&hub);
        for at in table.places(Rule::Counter) {
            let had = alias.brought.get(&at).cloned().unwrap_or(Value::Integer(0));
            // What is counted on a row that was replaced is the row's own.
            if !alias.moved
                && row[at] != hub[at]
                && let Sum::Is(total) = sum(&hub[at], &row[at], &had)
            {
                alias.brought.insert(at, total);
            }
        }
        for at in (0..new.len()).filter(|at| base[*at] != new[*at]) {
            alias.row[at].clone_from(&new[at]);
        }
        if let Some(entry) = open.filter(|_| !listed.is_empty()) {
            let entry = &mut self.entries[entry];
            entry.row = Some(named(&table, &alias.row));
            for at in listed {
                let column = entry.columns.get_mut(table.columns[at].name);
                column.into_iter().for_each(|(_, lost)| *lost = super::super::values::listed(&alias.row[at]));
            }
        }
        self.aliases.insert(change.place.clone(), alias);
        let change = Change { place: to, ..change.clone() };
        Some(Candidate { change, plan: Some(plan), row, image: None })
    }

    /// The device deleted a row that has vanished: its counts go, and its entry is settled.
    pub(super) fn withdraw(&mut self, place: &Place) {
        let Some(alias) = self.aliases.get_mut(place) else { return };
        let brought = std::mem::take(&mut alias.brought);
        let (survivor, entry) = (alias.survivor.clone(), alias.entry);
        let table = self.tables[place.0].clone();
        if let Some(hub) = self.hub.get(&survivor).cloned() {
            let mut row = hub.clone();
            for (at, value) in &brought {
                if let Sum::Is(total) = sum(value, &Value::Integer(0), &hub[*at]) {
                    row[*at] = stored(table.columns[*at].declared, total);
                }
            }
            if allowed(&table, &row) {
                self.hub.insert(survivor, row);
            } else {
                let all = |at: &usize| (*at, row[*at].clone());
                let refused: Vec<_> = brought.keys().map(all).collect();
                self.list_columns("counter", &survivor, &hub, &refused);
            }
        }
        if let Some(entry) = entry {
            self.entries[entry].closed = true;
        }
    }

    /// A row that was deleted, changed meanwhile, and is made again under another key: the same row with
    /// a new key, from when it was deleted.
    pub(super) fn replaced(
        &mut self,
        at: At,
        change: &Change,
        new: &Row,
        under_way: &mut UnderWay,
    ) -> Option<Candidate> {
        let place = &change.place;
        if self.hub.contains_key(place) {
            return None;
        }
        let table = self.tables[place.0].clone();
        let found = twin_among(&table, &under_way.overruled, place, new)?;
        let (old, base, since, _) = under_way.overruled.swap_remove(found);
        let hub = self.hub.remove(&old)?;
        let mut moved = hub.clone();
        moved[..table.keys()].clone_from_slice(&new[..table.keys()]);
        self.trash.insert(old.clone(), hub.clone());
        self.hub.insert(place.clone(), moved.clone());
        self.moved(&old, &hub, place);
        if let Some(stamp) = self.stamps.get(&old).copied() {
            self.stamps.insert(place.clone(), stamp);
        }
        let later = self.stamps.get(place).is_none_or(|stamp| (since, at.node) >= *stamp);
        let mut plan = decide(&table, &base, new, &moved, later);
        plan.dated = true;
        let plan = self.refuse_by_rules(place, &moved, plan);
        let row = plan.on(&moved);
        let change = Change { at: since, ..change.clone() };
        Some(Candidate { change, plan: Some(plan), row, image: None })
    }

    /// A row went in: if it has what one had that was deleted, it is that row.
    pub(super) fn takes_the_place(&mut self, place: &Place, row: &Row, under_way: &mut UnderWay) {
        let values = values_in_keys(&self.tables[place.0], row);
        let found =
            values.into_iter().find_map(|(key, bytes)| under_way.freed.remove(&(place.0, key, bytes)));
        if let Some((old, row)) = found.filter(|(old, _)| old != place) {
            self.moved(&old, &row, place);
        }
    }

    fn moved(&mut self, old: &Place, row: &Row, to: &Place) {
        let (row, survivor, brought) = (row.clone(), to.clone(), BTreeMap::new());
        let alias = Alias { row, survivor, brought, entry: None, moved: true };
        self.aliases.insert(old.clone(), alias);
    }
}

/// Of rows that were deleted, the one that is made again: the one that is most like the row, then the one with the
/// lowest number.
pub(super) fn twin_among(
    table: &Table,
    deleted: &[(Place, Row, i64, Entry)],
    place: &Place,
    new: &Row,
) -> Option<usize> {
    let values = values_in_keys(table, new);
    let is_twin = |(old, base, ..): &(Place, Row, i64, Entry)| {
        let had = values_in_keys(table, base);
        old.0 == place.0 && old != place && had.iter().any(|had| values.contains(had))
    };
    let twins = deleted.iter().enumerate().filter(|(_, one)| is_twin(one));
    let differing = |base: &Row| (table.keys()..new.len()).filter(|at| base[*at] != new[*at]).count();
    let (found, _) = twins.min_by(|(_, (_, one, ..)), (_, (_, other, ..))| {
        differing(one).cmp(&differing(other)).then_with(|| order(&one[0], &other[0]))
    })?;
    Some(found)
}

fn compared(table: &Table, new: &Row, hub: &Row) -> Joined {
    let mut joined = Joined { set: Vec::new(), brought: Vec::new(), differing: Vec::new() };
    for (at, column) in table.columns.iter().enumerate() {
        let (new, hub) = (&new[at], &hub[at]);
        let is_number = matches!(hub, Value::Null | Value::Integer(_) | Value::Real(_));
        match column.rule {
            Rule::Key if table.is_numbered() => {}
            Rule::Now => {}
            // No count is nothing to be added.
            Rule::Counter if new.is_null() && is_number => {}
            Rule::Counter if let Sum::Is(total) = sum(&Value::Null, new, hub) => {
                if total != *hub {
                    joined.set.push((at, stored(column.declared, total)));
                    joined.brought.push((at, new.clone()));
                }
            }
            _ if alike(column, new, hub) => {}
            Rule::Greatest => {
                if order(new, hub) == Ordering::Greater {
                    joined.set.push((at, new.clone()));
                }
            }
            _ => joined.differing.push((at, new.clone())),
        }
    }
    joined
}

pub(super) fn named(table: &Table, row: &Row) -> BTreeMap<&'static str, serde_json::Value> {
    table.columns.iter().zip(row).map(|(column, value)| (column.name, listed(value))).collect()
}

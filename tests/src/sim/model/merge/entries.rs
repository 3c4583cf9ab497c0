//! The model's conflict list.

use super::super::tables::Rule;
use super::super::values::{Row, listed};
use super::{Change, Entry, Model, Place};
use std::collections::BTreeMap;
use tt_protocol::value::Value;

impl Model {
    pub(super) fn hold(&mut self, node: usize, kind: &'static str, place: &Place, row: &Row, version: u64) {
        let table = &self.tables[place.0];
        let named = table.columns.iter().zip(row).map(|(column, value)| (column.name, listed(value)));
        let entry = Entry { row: Some(named.collect()), ..Entry::new(kind, place) };
        self.entries.push(entry);
        self.held.insert((node, place.clone()), (self.entries.len() - 1, row.clone(), version));
    }

    /// The row was deleted, and cannot come back: what was changed is kept with its key.
    pub(super) fn hold_missing(&mut self, node: usize, change: &Change, version: u64) {
        let (Some(base), Some(new)) = (&change.base, &change.new) else {
            return;
        };
        let keys = self.tables[change.place.0].keys();
        self.hold(node, "missing", &change.place, new, version);
        let names: Vec<&str> = (keys..new.len())
            .filter(|at| base[*at] == new[*at] && !self.goes_along(change.place.0, *at, base, new))
            .map(|at| self.tables[change.place.0].columns[at].name)
            .collect();
        if let Some(row) = self.entries.last_mut().and_then(|entry| entry.row.as_mut()) {
            row.retain(|name, _| !names.contains(name));
        }
    }

    pub(super) fn goes_along(&self, table: usize, at: usize, base: &Row, new: &Row) -> bool {
        let table = &self.tables[table];
        table.columns[at].rule == Rule::Together && table.places(Rule::Together).any(|at| base[at] != new[at])
    }

    pub(super) fn amend(&mut self, node: usize, place: &Place, base: &Row, new: &Row) {
        let table = self.tables[place.0].clone();
        let is_sent = |at: &usize| base[*at] != new[*at] || self.goes_along(place.0, *at, base, new);
        let sent: Vec<usize> = (0..new.len()).filter(is_sent).collect();
        let Some((entry, row, _)) = self.held.get_mut(&(node, place.clone())) else {
            return;
        };
        for at in sent {
            row[at].clone_from(&new[at]);
            if let Some(held) = self.entries[*entry].row.as_mut() {
                held.insert(table.columns[at].name, listed(&new[at]));
            }
        }
    }

    pub(super) fn list_columns_if(
        &mut self,
        kind: &'static str,
        place: &Place,
        hub: &Row,
        lost: &[(usize, Value)],
    ) {
        if !lost.is_empty() {
            self.list_columns(kind, place, hub, lost);
        }
    }

    pub(super) fn list_columns(
        &mut self,
        kind: &'static str,
        place: &Place,
        kept: &Row,
        lost: &[(usize, Value)],
    ) {
        self.entries.push(self.columns_entry(kind, place, kept, lost));
    }

    pub(super) fn columns_entry(
        &self,
        kind: &'static str,
        place: &Place,
        kept: &Row,
        lost: &[(usize, Value)],
    ) -> Entry {
        let table = &self.tables[place.0];
        let column =
            |(at, value): &(usize, Value)| (table.columns[*at].name, (listed(&kept[*at]), listed(value)));
        Entry { columns: lost.iter().map(column).collect(), ..Entry::new(kind, place) }
    }
}

impl Entry {
    /// One that says nothing yet.
    #[must_use]
    pub fn new(kind: &'static str, place: &Place) -> Self {
        Self { kind, place: place.clone(), columns: BTreeMap::new(), row: None, rows: None, closed: false }
    }
}

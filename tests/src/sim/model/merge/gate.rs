//! What is not let in: writes to tables that devices may not write, and changesets that delete too much.

use super::super::script::place_of;
use super::super::values::{Row, listed, values_in_keys};
use super::{At, Change, Entry, Model};
use std::collections::BTreeMap;
use tt_protocol::value::Value;

impl Model {
    /// A row that a device may not write: listed once, with what the device wrote last. A new row that the
    /// hub has already is listed where the two differ.
    pub(super) fn refuse(&mut self, node: usize, change: &Change) {
        let place = &change.place;
        let slot = (node, place.clone());
        if let (None, Some(new)) = (&change.base, &change.new) {
            let there = self.hub.contains_key(place).then(|| place.clone());
            if let Some(survivor) = there.or_else(|| self.twin_of(place.0, new)) {
                let before = self.entries.len();
                self.join("role", place, new, &survivor);
                if self.entries.len() > before {
                    self.refused.insert(slot, before);
                }
                return;
            }
        }
        let written = self.written(change);
        if let Some(entry) = self.refused.get(&slot) {
            return self.entries[*entry].row.iter_mut().for_each(|row| row.extend(written.clone()));
        }
        self.entries.push(Entry { row: Some(written), ..Entry::new("role", place) });
        self.refused.insert(slot, self.entries.len() - 1);
    }

    /// A row as its device sent it: an update without what stayed as it was.
    fn written(&self, change: &Change) -> BTreeMap<&'static str, serde_json::Value> {
        let table = &self.tables[change.place.0];
        let row: &Row = change.new.as_ref().or(change.base.as_ref()).expect("a change has a row");
        let sent = |at: &usize| match (&change.base, &change.new) {
            (Some(base), Some(new)) => {
                *at < table.keys() || base[*at] != new[*at] || self.goes_along(change.place.0, *at, base, new)
            }
            _ => true,
        };
        (0..row.len()).filter(sent).map(|at| (table.columns[at].name, listed(&row[at]))).collect()
    }

    /// Holds a changeset that deletes too much, and what its device made before it heard of that.
    pub(super) fn hold_whole(&mut self, at: At, changes: &[Change]) -> bool {
        let rows = self.rows_of(changes);
        let unheard = |(node, _, version): &&(usize, usize, u64)| *node == at.node && *version > at.cursor;
        if let Some((_, entry, _)) = self.held_whole.iter().rev().find(unheard) {
            let held = &mut self.entries[*entry].rows;
            *held = held.map(|held| held + rows);
            return true;
        }
        let Some(table) = (0..self.tables.len()).find(|table| self.is_too_much(*table, changes)) else {
            return false;
        };
        let nothing = vec![Value::text(""); self.tables[table].keys()];
        let place = place_of(&self.tables, table, &nothing);
        self.entries.push(Entry { rows: Some(rows), ..Entry::new("deletes", &place) });
        self.held_whole.push((at.node, self.entries.len() - 1, at.version));
        true
    }

    /// A key that is spelled otherwise is sent as a delete and an insert.
    fn rows_of(&self, changes: &[Change]) -> u64 {
        let respelled = |change: &&Change| match (&change.base, &change.new) {
            (Some(base), Some(new)) => {
                let keys = self.tables[change.place.0].keys();
                base[..keys] != new[..keys]
            }
            _ => false,
        };
        (changes.len() + changes.iter().filter(respelled).count()) as u64
    }

    /// Rows that are here, are deleted, and are not made again with a value that says they are the same.
    fn is_too_much(&self, table: usize, changes: &[Change]) -> bool {
        let shape = &self.tables[table];
        let Some((most, share)) = shape.holds_deletes else {
            return false;
        };
        let own = || changes.iter().filter(|change| change.place.0 == table);
        let made = own().filter(|change| change.base.is_none()).filter_map(|change| change.new.as_ref());
        let again: Vec<_> = made.flat_map(|row| values_in_keys(shape, row)).collect();
        let is_deleted = |change: &&Change| {
            let values = change.base.as_ref().map_or_else(Vec::new, |row| values_in_keys(shape, row));
            change.new.is_none()
                && self.hub.contains_key(&change.place)
                && !values.iter().any(|value| again.contains(value))
        };
        let deletes = own().filter(is_deleted).count() as u64;
        let rows = self.hub.keys().filter(|place| place.0 == table).count();
        deletes > most && deletes as f64 > rows as f64 * share
    }
}

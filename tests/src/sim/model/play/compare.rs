//! The hub's conflict list beside the model's, and what a world comes to.

use super::super::merge::{Entry, Place};
use super::super::script::{Label, place_of};
use super::super::tables::{KeyKind, Table};
use super::super::values::Row;
use super::{Outcome, Play, line_from};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tt_hub::store::conflict;
use tt_protocol::value::Value;

impl Play<'_> {
    pub(super) fn look_at_list(&self) {
        let found = conflict::list(self.world.program(0), true, |device| device.to_string()).expect("reads");
        let text = |entry: &Entry| {
            let table = &self.script.tables[entry.place.0];
            let columns: BTreeMap<&str, String> =
                entry.columns.iter().map(|(name, (kept, lost))| (*name, format!("{kept}/{lost}"))).collect();
            let (closed, rows) = (if entry.closed { "closed" } else { "" }, entry.rows.unwrap_or_default());
            format!(
                "{} {} {:?} {columns:?} {:?} {rows} {closed}",
                entry.kind, table.name, entry.place.1, entry.row
            )
        };
        let expected: Vec<String> = self.model.entries.iter().map(text).collect();
        let mut found: Vec<String> = found.iter().map(|entry| text(&self.entry(entry))).collect();
        let mut sorted = expected;
        sorted.sort();
        found.sort();
        let missing: Vec<_> =
            sorted.iter().filter(|line| count(&found, line) < count(&sorted, line)).collect();
        let extra: Vec<_> = found.iter().filter(|line| count(&found, line) > count(&sorted, line)).collect();
        assert!(missing.is_empty() && extra.is_empty(), "the list lacks {missing:#?} and has {extra:#?}");
    }

    /// An entry of the hub's list as the model would write it.
    pub(super) fn entry(&self, entry: &Json) -> Entry {
        let tables = &self.script.tables;
        let at = tables.iter().position(|table| entry["table"] == table.name).expect("a table of the script");
        let table: &Table = &tables[at];
        let key: Row = table
            .columns
            .iter()
            .take(table.keys())
            .map(|column| unlisted(&entry["key"][column.name]))
            .collect();
        let word = entry["kind"].as_str().unwrap_or_default();
        let kinds =
            ["column", "counter", "delete", "key", "unique", "rule", "missing", "parent", "role", "deletes"];
        let name = |name: &str| table.columns.iter().map(|column| column.name).find(|have| *have == name);
        let columns = entry["columns"].as_array().into_iter().flatten();
        let columns = columns.filter_map(|column| {
            Some((name(column["name"].as_str()?)?, (column["kept"].clone(), column["lost"].clone())))
        });
        let row = entry["row"]
            .as_object()
            .map(|row| row.iter().filter_map(|(have, value)| Some((name(have)?, value.clone()))).collect());
        let kind = kinds.into_iter().find(|kind| *kind == word).unwrap_or("unknown");
        let place = place_of(tables, at, &key);
        let rows = entry["rows"].as_u64().filter(|_| kind == "deletes");
        Entry { kind, place, columns: columns.collect(), row, rows, closed: entry["state"] == "closed" }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let tables = &self.script.tables;
        let named: BTreeMap<Place, Label> = self
            .keys
            .iter()
            .map(|(label, key)| (place_of(tables, self.script.labels[*label as usize], key), *label))
            .collect();
        let name = |place: &Place| {
            named.get(place).map_or_else(|| format!("{:?}", place.1), |label| format!("#{label}"))
        };
        let rows = self.model.hub.iter().map(|(place, row)| {
            let table = &tables[place.0];
            let skipped = usize::from(table.key == KeyKind::Automatic);
            format!("{} {} {}", table.name, name(place), line_from(table, row, skipped))
        });
        let entry = |entry: &Entry| {
            let table = &tables[entry.place.0];
            // An overruled delete names the columns that were changed before it came, not those after.
            let columns: Vec<_> = entry.columns.keys().filter(|_| entry.kind != "delete").collect();
            format!("{} {} {} {columns:?}", entry.kind, table.name, name(&entry.place))
        };
        let mut entries: Vec<String> = self.model.entries.iter().map(entry).collect();
        entries.sort();
        Outcome { rows: rows.collect(), entries }
    }
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|have| *have == line).count()
}

/// The keys of scripts are numbers and words.
fn unlisted(value: &Json) -> Value {
    value.as_i64().map_or_else(|| Value::text(value.as_str().unwrap_or_default()), Value::Integer)
}
